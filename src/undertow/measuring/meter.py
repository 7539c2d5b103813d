"""A meter: a model with everything that is needed to measure on it, prepared once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor, nn

from undertow.errors import BadInput
from undertow.information import ESTIMATORS, NULLS
from undertow.information.coded import Chosen, Parts, References
from undertow.information.matrices import Matrices, chance, means, source, target
from undertow.information.nulls import mismatch, shift
from undertow.information.profiles import Part, by_name, raw_and_null
from undertow.information.readers import Readers, class_information
from undertow.measuring.among import spread
from undertow.measuring.seen import REFERENCES, Forwarded, Pool
from undertow.seeds import derive
from undertow.types import Draws, Estimator, Images, Tap

__all__ = ["PARTS", "Measured", "Meter", "TapMatrices", "by_row"]

PARTS: Final[dict[str, Part]] = {"": "net", "_raw": "raw", "_null": "null"}
"""Suffix of a profile's name to the part of the matrices that it is built from."""

_SHIFT: Final = partial(shift, repeats=4)
"""The other null that a claim on OIP must hold under."""

LEAST = 3
"""Positions below which there is no mutual information over positions."""


@dataclass(frozen=True, slots=True, eq=False)
class TapMatrices:
    """S and T of one tap for the rows asked for, (row, channel, map) and (row, map, class).

    Args:
        S: source MI.
        T: target MI; NaN at classes that were not measured.
    """

    S: Matrices
    T: Matrices


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """What was measured on one batch.

    Args:
        logits: (sample, class).
        profiles: iip, oip, ioc, (sample, tap), and flow, (sample, tap, class), with the suffixes
            of :data:`PARTS`; beside the mismatch null ``oip_shift``, OIP net of the shift null; NaN
            at taps without spatial extent, and at classes that were not measured.
        class_information: (sample, tap, class), or ``None`` without readers.
        kept: tap number to matrices of the rows that were to be kept.
    """

    logits: NDArray[np.float32]
    profiles: dict[str, NDArray[np.float32]]
    class_information: NDArray[np.float32] | None
    kept: dict[int, TapMatrices] = field(default_factory=dict)


class Meter:
    """Measures batches on one model, always in the same way.

    References are read and encoded once; hand the same meter batch after batch.

    Args:
        model: from images to logits, in evaluation mode.
        taps: where to read; the last spatial one carries the evidence maps.
        estimator: a name in :data:`undertow.information.ESTIMATORS`, or an estimator.
        null: a name in :data:`undertow.information.NULLS`.
        references: benign inputs of the same size, where the null needs them, or a pool of them.
        count: how many of them each input is held against; its own draw, where there are more.
        readers: class readers of these taps, or ``None`` for no class information.

    Raises:
        BadInput: if no tap has spatial extent, references are missing, or readers are of
            other taps.
        UnknownName: for an estimator or a null that is not registered.
    """

    def __init__(
        self,
        model: nn.Module,
        taps: Sequence[Tap],
        *,
        estimator: str | Estimator = "gaussian_copula",
        null: str = "mismatch",
        references: Images | Pool | None = None,
        count: int = REFERENCES,
        readers: Readers | None = None,
    ) -> None:
        self.model, self.taps, self.readers = model, tuple(taps), readers
        self.estimator = _estimator(estimator)
        entry = NULLS.entry(null)
        self.null_name, self.null, self.null_needs = entry.name, NULLS[entry.name], entry.needs
        if not any(tap.spatial for tap in self.taps):
            names = ", ".join(tap.name for tap in self.taps)
            raise BadInput(f"no tap has spatial extent ({names}); add one before the pooling")
        last = [tap for tap in self.taps if tap.spatial][-1]
        if last.shape[1] * last.shape[2] < LEAST:
            raise BadInput(
                f"tap '{last.name}', where the evidence maps live, has {last.shape[1]} x "
                f"{last.shape[2]} positions and {LEAST} are needed; let an earlier tap be the "
                "last, or give larger inputs"
            )
        if readers is not None and list(readers.by_tap) != [tap.name for tap in self.taps]:
            raise BadInput("the readers were fitted at other taps; fit them for these")
        self.pool: Pool | None = None
        self.count = 0
        if references is not None and len(references):
            self.count = min(count, len(references))
            pool = references if isinstance(references, Pool) else Pool(model, taps, references)
            # Other nulls take as many replacements as there are references.
            self.pool = pool if self.null is mismatch else pool.few(self.count)
        elif "references" in self.null_needs:
            raise BadInput(
                f"the {self.null_name} null needs references: give benign training inputs (8 is "
                "usual), or null='shift'"
            )

    def beside(self, estimator: str | Estimator) -> Meter:
        """The same meter with another estimator and no readers; what was read is shared."""
        other = copy(self)
        other.estimator, other.readers = _estimator(estimator), None
        return other

    @property
    def every(self) -> bool:
        """Whether all classes are measured, however many: a null of one's own gets references."""
        return self.null is not mismatch and "references" in self.null_needs

    @property
    def shifted(self) -> bool:
        """Whether OIP is measured net of the shift null, too."""
        return self.null is mismatch

    def see(self, x: Images, towards: Parts = None) -> Forwarded:
        """Run the model on a batch; :meth:`found` of this meter and those beside it takes it.

        Args:
            x: inputs in [0, 1].
            towards: classes of each input that must be measured where not all are.

        Raises:
            BadInput: if the logits are not finite.
        """
        return Forwarded.of(self.model, self.taps, x, towards, every=self.every)

    def __call__(
        self,
        x: Images,
        *,
        draws: Draws | None = None,
        keep: Collection[int] = (),
        towards: Parts = None,
    ) -> Measured:
        """Measure one batch.

        Args:
            x: inputs in [0, 1].
            draws: their random numbers; by the number of the row where not given.
            keep: rows whose S and T are kept.
            towards: classes of each input, (sample, class), that are measured in any case: on a
                model of more than 64 they are those beside the 16 likeliest and 16 by lot.
        """
        return self.found(self.see(x, towards), draws=draws, keep=keep)

    def found(
        self, seen: Forwarded, *, draws: Draws | None = None, keep: Collection[int] = ()
    ) -> Measured:
        """As for the batch itself, from what :meth:`see` saw of it."""
        found: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        kept: dict[int, TapMatrices] = {}
        draws = by_row(0, len(seen.logits)) if draws is None else draws
        chosen = None if self.pool is None else self.pool.drawn(draws, self.count)
        for number, tap in enumerate(self.taps):
            if tap.spatial:
                found[number] = self._measured(tap, seen, draws, chosen)
                if keep:
                    kept[number] = self._matrices(tap, seen, draws, chosen, list(keep))
        numbers, flow, shifted = (
            _at_all(part, list(found), len(self.taps)) for part in zip(*found.values(), strict=True)
        )
        profiles = by_name(numbers, flow)
        if self.shifted:
            profiles["oip_shift"] = shifted.float()
        return Measured(
            logits=seen.logits.cpu().numpy(),
            profiles={name: values.cpu().numpy() for name, values in profiles.items()},
            class_information=self._classes(seen.maps),
            kept=kept,
        )

    def _measured(
        self, tap: Tap, seen: Forwarded, draws: Draws, chosen: Chosen
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What :func:`raw_and_null` gives at a tap, the flow in the places of all classes.

        And OIP net of the shift null, which keeps the smoothness of the input's own evidence.
        """
        fine, shared = seen.on_both_grids(tap)
        by, pool = self.estimator, self.pool
        how: Any = {"null": self.null, "draws": draws, "chosen": chosen}
        towards = []
        try:
            inputs = None if pool is None else pool.inputs
            S = means(by, fine, seen.inputs, inputs, once=fine is not shared, **how)
            for portion in seen.portions:
                others, parts = self._others(portion.classes)
                towards.append(means(by, shared, portion.coded, others, parts=parts, **how))
        except BadInput as problem:
            raise BadInput(f"tap '{tap.name}': {problem}") from None
        numbers, flow = raw_and_null(S, towards[0])
        shifted = numbers[:, 0, 1]
        if self.shifted:
            shifted = shifted - chance(by, shared, seen.portions[0].coded, _SHIFT, draws)
        if len(towards) > 1:
            few = torch.cat([part.by_part for part in towards], dim=2)
            flow = spread(few, _numbers(seen)[:, None, :], seen.logits.shape[1])
        return numbers, flow, shifted

    def _matrices(
        self, tap: Tap, seen: Forwarded, draws: Draws, chosen: Chosen, rows: list[int]
    ) -> TapMatrices:
        """S and T of a few of the inputs, T in the places of all classes."""
        fine, shared = (coded.rows(rows) for coded in seen.on_both_grids(tap))
        by, pool = self.estimator, self.pool
        some = None if chosen is None else chosen[rows]
        how: Any = {"null": self.null, "draws": draws[torch.tensor(rows)], "chosen": some}
        S = source(by, seen.inputs.rows(rows), fine, None if pool is None else pool.inputs, **how)
        found = []
        for portion in seen.portions:
            classes = None if portion.classes is None else portion.classes[rows]
            others, parts = self._others(classes)
            found.append(target(by, shared, portion.coded.rows(rows), others, parts=parts, **how))
        if len(found) == 1:
            return TapMatrices(S, found[0])
        of, count = _numbers(seen)[rows][:, None, :], seen.logits.shape[1]
        whole = (
            spread(torch.cat([getattr(T, part) for T in found], dim=2), of, count)
            for part in ("raw", "null", "null_std")
        )
        return TapMatrices(S, Matrices(*whole))

    def _others(self, classes: Parts) -> tuple[References | None, Parts]:
        """References' evidence maps, and which of them are those of these classes."""
        return (None, None) if self.pool is None else self.pool.towards(classes)

    def _classes(self, maps: Mapping[str, Tensor]) -> NDArray[np.float32] | None:
        if self.readers is None:
            return None
        bits: NDArray[np.float32] = class_information(self.readers, maps).cpu().numpy()
        return bits


def by_row(start: int, stop: int) -> Draws:
    """Random numbers of rows that come without, by their number."""
    seeds = [derive(0, "measure", row) for row in range(start, stop)]
    return Draws(torch.tensor(seeds, dtype=torch.int64))


def _estimator(named: str | Estimator) -> Estimator:
    return ESTIMATORS[named]() if isinstance(named, str) else named


def _numbers(seen: Forwarded) -> Int64[Tensor, "sample part"]:
    """The classes of all portions, in their order."""
    return torch.cat(
        [portion.classes for portion in seen.portions if portion.classes is not None], dim=1
    )


def _at_all(found: Sequence[Tensor], where: Sequence[int], taps: int) -> Tensor:
    """What was found at some taps, in their places along axis 1; NaN at the others."""
    first = found[0]
    whole = first.new_full((len(first), taps, *first.shape[1:]), torch.nan)
    whole[:, list(where)] = torch.stack(list(found), dim=1)
    return whole
