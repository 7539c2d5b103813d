"""Batch after batch through a meter: memory does not grow with the number of inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor

from undertow.data import ImageSet
from undertow.errors import BadInput
from undertow.measuring.meter import Measured, Meter, TapMatrices, by_row
from undertow.models.devices import even_parts
from undertow.progress import Progress
from undertow.types import Draws, Images

__all__ = ["BATCH", "Blocks"]

BATCH = 64
"""Rows measured at once where nobody says how many."""


class Blocks:
    """Measures batch after batch into arrays that are as large as the result.

    Args:
        meter: measures a batch.
        x: images, or a set of images that hands them out batch by batch.
        draws: random numbers of all rows; by their number where not given.
        batch: rows measured at once.
        keep: rows whose matrices are kept, ascending.
        towards: classes of each row that are measured on a model of however many.
        also: meters beside the first one, which give more profiles from the same forward pass.

    Raises:
        BadInput: if ``batch`` is below 1.
    """

    def __init__(
        self,
        meter: Meter,
        x: Images | ImageSet,
        *,
        draws: Draws | None,
        batch: int,
        keep: tuple[int, ...],
        also: Mapping[str, Meter] | None = None,
        towards: Int64[Tensor, "sample class"] | None = None,
    ) -> None:
        if batch < 1:
            raise BadInput(f"batch_size is at least 1, got {batch}")
        self.meter, self.x, self.batch, self.keep = meter, x, batch, keep
        self.towards = towards
        self.draws, self.also = by_row(0, len(x)) if draws is None else draws, also or {}

    def run(self, progress: Progress) -> Measured:
        """Everything that was found, row by row; profiles of others end in ``@NAME``."""
        total: Measured | None = None
        with progress("Measuring", len(self.x), "inputs") as advance:
            for start, stop in even_parts(0, len(self.x), self.batch):
                found = self._one(start, stop)
                total = _room(found, len(self.x)) if total is None else total
                _put(total, found, start, self.keep)
                advance(stop - start)
        assert total is not None
        return total

    def _one(self, start: int, stop: int) -> Measured:
        draws = self.draws[torch.arange(start, stop)]
        rows = [row - start for row in self.keep if start <= row < stop]
        x = self.x[start:stop]
        towards = None if self.towards is None else self.towards[start:stop]
        seen = self.meter.see(x if isinstance(x, Tensor) else x[0], towards)
        found = self.meter.found(seen, draws=draws, keep=rows)
        for name, meter in self.also.items():
            more = meter.found(seen, draws=draws).profiles
            found.profiles.update({f"{profile}@{name}": v for profile, v in more.items()})
        return found


def _room(first: Measured, rows: int) -> Measured:
    """Arrays for all rows, shaped like those of the first batch."""

    def empty(like: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.full((rows, *like.shape[1:]), np.nan, np.float32)

    classes = first.class_information
    return Measured(
        logits=empty(first.logits),
        profiles={name: empty(values) for name, values in first.profiles.items()},
        class_information=None if classes is None else empty(classes),
    )


def _put(total: Measured, found: Measured, start: int, keep: Sequence[int]) -> None:
    rows = slice(start, start + len(found.logits))
    total.logits[rows] = found.logits
    for name, values in found.profiles.items():
        total.profiles[name][rows] = values
    if total.class_information is not None and found.class_information is not None:
        total.class_information[rows] = found.class_information
    for number, both in found.kept.items():
        old = total.kept.get(number)
        total.kept[number] = (
            both if old is None else TapMatrices(_more(old.S, both.S), _more(old.T, both.T))
        )


def _more(old: Any, new: Any) -> Any:
    parts = (
        torch.cat([getattr(m, part) for m in (old, new)]) for part in ("raw", "null", "null_std")
    )
    return type(old)(*parts)
