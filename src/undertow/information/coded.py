"""Maps, inputs and evidence as estimators encode them, each at most once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from undertow.information.backend import backend_of
from undertow.information.grids import Grid, pooled
from undertow.information.nulls import Null
from undertow.types import Estimator

__all__ = ["Chosen", "Coded", "Parts", "References"]

Chosen: TypeAlias = Int64[Tensor, "sample repeat"] | None
"""Numbers of the references of each sample; the same ones for S and for T."""
Parts: TypeAlias = Int64[Tensor, "sample part"] | None
"""Numbers that a sample's own parts have among those of the references; all, in their order."""


class Coded:
    """Maps that are averaged to a grid and encoded there at most once.

    Give the same object to :func:`source` and :func:`target`, and again for the next batch, and
    the work is not repeated.

    Args:
        values: (sample, part, row, col); ``part`` is the channel, map or class.
    """

    def __init__(self, values: Float[Tensor, "sample part row col"]) -> None:
        self.values = backend_of(values).plain(values)
        self._codes: dict[tuple[Any, ...], Any] = {}

    @property
    def grid(self) -> Grid:
        """Rows and columns of the maps as they were given."""
        return self.values.shape[-2], self.values.shape[-1]

    def on(self, grid: Grid) -> Float[Tensor, "sample part row col"]:
        """The maps, averaged to ``grid``."""
        return pooled(self.values, grid)

    def rows(self, rows: Sequence[int]) -> Coded:
        """Some of the samples, to be encoded anew."""
        return Coded(self.values[list(rows)])

    def codes(self, estimator: Estimator, grid: Grid) -> Any:
        """The maps on ``grid`` as ``estimator`` encodes them."""
        key = (estimator, grid)
        if key not in self._codes:
            self._codes[key] = estimator.encode(self.on(grid).flatten(2))
        return self._codes[key]

    def replaced(self, estimator: Estimator, grid: Grid, null: Null, *given: Any) -> Any:
        """Codes of what a null puts in their place, (sample, repeat times part); made once.

        ``given``: references and draws, the same whenever it is asked for the same null.
        """
        key = (estimator, grid, null)
        if key not in self._codes:
            made = null(self.on(grid), *given)
            self._codes[key] = estimator.encode(made.flatten(1, 2).flatten(2))
        return self._codes[key]

    def drawn(
        self, estimator: Estimator, grid: Grid, pool: Coded, chosen: Tensor, parts: Parts = None
    ) -> Any:
        """Codes of their references, other ones for each sample: (sample, repeat times part)."""
        key = (estimator, grid, "drawn")
        if key not in self._codes:
            if parts is None:
                parts = torch.arange(pool.values.shape[1], device=chosen.device)[None]
            reference = chosen.repeat_interleave(parts.shape[1], dim=1)
            part = parts.repeat(1, chosen.shape[1]).expand_as(reference)
            self._codes[key] = pool.codes(estimator, grid)[reference, part]
        return self._codes[key]

    def beside(self, estimator: Any, grid: Grid, null: Null, unrelated: Any) -> Any:
        """Codes of the maps and behind them of what a null puts in their place; made once."""
        key = (estimator, grid, null, "beside")
        if key not in self._codes:
            self._codes[key] = estimator.beside(self.codes(estimator, grid), unrelated)
        return self._codes[key]


class References(Coded):
    """The counterparts of the reference inputs: inputs for S, evidence maps for T.

    Args:
        values: (reference, channel, height, width), or (reference, class, row, col).
    """

    def stacked(self, estimator: Estimator, grid: Grid) -> Any:
        """All maps of all references as those of one sample: (1, reference times part)."""
        key = (estimator, grid)
        if key not in self._codes:
            maps = self.on(grid).flatten(2).flatten(0, 1)
            self._codes[key] = estimator.encode(maps[None])
        return self._codes[key]
