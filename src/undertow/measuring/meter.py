"""A meter: a model with everything that is needed to measure on it, prepared once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Final, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from undertow import taps as reading
from undertow.errors import BadInput
from undertow.information import ESTIMATORS, NULLS
from undertow.information.grids import coarser, exact
from undertow.information.matrices import (
    Chosen,
    Coded,
    Matrices,
    References,
    chance,
    evidence,
    source,
    target,
)
from undertow.information.nulls import mismatch, shift
from undertow.information.profiles import all_profiles, oip
from undertow.information.readers import Readers, class_information
from undertow.models.devices import even_parts
from undertow.seeds import derive
from undertow.taps.read import Reading
from undertow.types import Draws, Estimator, Images, Tap

__all__ = ["PARTS", "REFERENCES", "Forwarded", "Measured", "Meter", "Pool", "TapMatrices", "by_row"]

PARTS = {"": "net", "_raw": "raw", "_null": "null"}
"""Suffix of a profile's name to the part of the matrices that it is built from."""

REFERENCES: Final = 8
"""References that an input is held against, of those that there are."""
_SHIFT: Final = partial(shift, repeats=4)
"""The other null that a claim on OIP must hold under."""

LEAST = 3
"""Positions below which there is no mutual information over positions."""

Profiles: TypeAlias = dict[str, Float[Tensor, " sample *class"]]


@dataclass(frozen=True, slots=True, eq=False)
class TapMatrices:
    """S and T of one tap for the rows asked for, (row, channel, map) and (row, map, class)."""

    S: Matrices
    T: Matrices


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """What was measured on one batch.

    Args:
        logits: (sample, class).
        profiles: iip, oip, ioc, (sample, tap), and flow, (sample, tap, class), with the suffixes
            of :data:`PARTS`; beside the mismatch null ``oip_shift``, OIP net of the shift null; NaN
            at taps without spatial extent.
        class_information: (sample, tap, class), or ``None`` without readers.
        kept: tap number to matrices of the rows that were to be kept.
    """

    logits: NDArray[np.float32]
    profiles: dict[str, NDArray[np.float32]]
    class_information: NDArray[np.float32] | None
    kept: dict[int, TapMatrices] = field(default_factory=dict)


class Forwarded:
    """What one forward pass over a batch showed, ready for any number of estimators.

    Args:
        x: the inputs.
        reading: of them, with evidence maps.
    """

    def __init__(self, x: Images, reading: Reading) -> None:
        assert reading.contracted is not None
        if not bool(torch.isfinite(reading.logits).all()):
            raise BadInput("the model puts out logits that are NaN or infinite")
        self.logits = reading.logits
        self.inputs = Coded(exact(x.to(reading.logits.device)))
        self.evidence = Coded(reading.contracted)
        self.maps = dict(reading.maps)
        self._coded: dict[str, tuple[Coded, Coded]] = {}

    @classmethod
    def of(cls, model: nn.Module, taps: Sequence[Tap], x: Images) -> Forwarded:
        """Run the model on a batch.

        Raises:
            BadInput: if the logits are not finite.
        """
        return cls(x, reading.read(model, x, taps, contract=_evidence))

    def on_both_grids(self, tap: Tap) -> tuple[Coded, Coded]:
        """The maps of a tap as they are, and on the grid that they share with the evidence."""
        if tap.name not in self._coded:
            fine = Coded(self.maps[tap.name])
            shared = _on_grid_of(self.evidence, fine)
            if _quarters(fine, shared):
                self.maps[tap.name] = shared.values  # the same to a class reader, and smaller
            self._coded[tap.name] = fine, shared
        return self._coded[tap.name]


class Pool:
    """Benign inputs, of which each measured input draws its own references.

    They are read when they are first needed, and encoded once.

    Args:
        model: whose evidence maps they carry.
        taps: where it is read; the last spatial one carries the evidence.
        images: benign training inputs.
        batch: how many are read at once.
    """

    def __init__(
        self, model: nn.Module, taps: Sequence[Tap], images: Images, batch: int = REFERENCES
    ) -> None:
        self.inputs = References(exact(images))
        self._unread: tuple[nn.Module, list[Tap], Sequence[Images]] | None = (
            model,
            [tap for tap in taps if tap.spatial][-1:],
            [images[a:b] for a, b in even_parts(0, len(images), batch)],
        )

    @cached_property
    def evidence(self) -> References:
        """Their evidence maps, (reference, class, row, col)."""
        assert self._unread is not None
        model, last, rows = self._unread
        parts = [reading.read(model, x, last, contract=_evidence).contracted for x in rows]
        self._unread = None  # nothing keeps the model
        return References(torch.cat([part for part in parts if part is not None]))

    def __len__(self) -> int:
        return len(self.inputs.values)

    def few(self, count: int) -> Pool:
        """The first of them."""
        other = copy(self)
        other.inputs = References(self.inputs.values[:count])
        if self._unread is not None:
            model, last, rows = self._unread
            other._unread = model, last, [torch.cat(list(rows))[:count]]
        else:
            other.evidence = References(self.evidence.values[:count])
        return other

    def drawn(self, draws: Draws, count: int) -> Chosen:
        """Which of them each input is held against; ``None`` where it is all of them."""
        if len(self) <= count:
            return None
        # Other numbers than those by which evidence is moved around.
        own, size, device = Draws(draws.seeds ^ 0x5EED), len(self), self.inputs.values.device
        if size < 64 * count:
            return own.uniform((size,)).argsort(dim=1)[:, :count].to(device)
        # Of so many, one is hardly drawn twice; and it does no harm.
        return (own.uniform((count,)).double() * size).long().clamp(max=size - 1).to(device)


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
    def shifted(self) -> bool:
        """Whether OIP is measured net of the shift null, too."""
        return self.null is mismatch

    def see(self, x: Images) -> Forwarded:
        """Run the model on a batch; :meth:`found` of this meter and those beside it takes it.

        Args:
            x: inputs in [0, 1].

        Raises:
            BadInput: if the logits are not finite.
        """
        return Forwarded.of(self.model, self.taps, x)

    def __call__(
        self, x: Images, *, draws: Draws | None = None, keep: Collection[int] = ()
    ) -> Measured:
        """Measure one batch.

        Args:
            x: inputs in [0, 1].
            draws: their random numbers; by the number of the row where not given.
            keep: rows whose S and T are kept.
        """
        return self.found(self.see(x), draws=draws, keep=keep)

    def found(
        self, seen: Forwarded, *, draws: Draws | None = None, keep: Collection[int] = ()
    ) -> Measured:
        """As for the batch itself, from what :meth:`see` saw of it."""
        columns: list[Profiles] = []
        kept: dict[int, TapMatrices] = {}
        draws = by_row(0, len(seen.logits)) if draws is None else draws
        chosen = None if self.pool is None else self.pool.drawn(draws, self.count)
        for number, tap in enumerate(self.taps):
            if not tap.spatial:
                columns.append({})
                continue
            both = self._matrices(tap, seen, draws, chosen)
            columns.append(
                {**all_profiles(both.S, both.T), **self._shifted(tap, seen, draws, both)}
            )
            if keep:
                kept[number] = TapMatrices(_rows(both.S, keep), _rows(both.T, keep))
        return Measured(
            logits=seen.logits.cpu().numpy(),
            profiles=_joined(columns, len(seen.logits)),
            class_information=self._classes(seen.maps),
            kept=kept,
        )

    def _matrices(self, tap: Tap, seen: Forwarded, draws: Draws, chosen: Chosen) -> TapMatrices:
        fine, shared = seen.on_both_grids(tap)
        by, pool = self.estimator, self.pool
        inputs, others = (None, None) if pool is None else (pool.inputs, pool.evidence)
        how = {"null": self.null, "draws": draws, "chosen": chosen}
        try:
            S = source(by, seen.inputs, fine, inputs, **how)  # type: ignore[arg-type]
            T = target(by, shared, seen.evidence, others, **how)  # type: ignore[arg-type]
        except BadInput as problem:
            raise BadInput(f"tap '{tap.name}': {problem}") from None
        return TapMatrices(S, T)

    def _shifted(self, tap: Tap, seen: Forwarded, draws: Draws, both: TapMatrices) -> Profiles:
        """OIP net of the shift null, which keeps the smoothness of the input's own evidence."""
        if not self.shifted:
            return {}
        _, shared = seen.on_both_grids(tap)
        null = chance(self.estimator, shared, seen.evidence, _SHIFT, draws)
        return {"oip_shift": oip(both.T, part="raw") - null.float()}

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


def _evidence(
    maps: Float[Tensor, "sample map row col"], gradients: Float[Tensor, "class sample map row col"]
) -> Float[Tensor, "sample class row col"]:
    """Evidence maps; by one product where the gradients are the same everywhere (an expanded view).

    Each sample has a product of its own, so its values do not depend on the rest of the batch.
    """
    expanded = (gradients.shape[i] == 1 or gradients.stride(i) == 0 for i in (1, 3, 4))
    if maps.shape[2] * maps.shape[3] > 1 and all(expanded):
        weight = gradients[:, 0, :, 0, 0].expand(len(maps), -1, -1)
        return torch.bmm(weight, maps.flatten(2)).unflatten(2, maps.shape[2:])  # type: ignore[no-untyped-call,no-any-return]
    return evidence(maps, gradients)


def _on_grid_of(evidence_maps: Coded, maps: Coded) -> Coded:
    """The maps on the grid that they share with the evidence maps, averaged once for all uses."""
    grid = coarser(evidence_maps.grid, maps.grid)
    return maps if grid == maps.grid else Coded(maps.on(grid))


def _quarters(fine: Coded, shared: Coded) -> bool:
    """Whether averages of the shared grid's quarters are those of the maps' own quarters."""
    halved = all(size % 2 == 0 for size in shared.grid)
    return halved and all(f % s == 0 for f, s in zip(fine.grid, shared.grid, strict=True))


def _joined(columns: Sequence[Profiles], samples: int) -> dict[str, NDArray[np.float32]]:
    first = next(column for column in columns if column)
    joined = {
        name: np.full((samples, len(columns), *values.shape[1:]), np.nan, np.float32)
        for name, values in first.items()
    }
    for number, column in enumerate(columns):
        for name, values in column.items():
            joined[name][:, number] = values.cpu().numpy()
    return joined


def _rows(matrices: Matrices, keep: Collection[int]) -> Matrices:
    rows = list(keep)
    return Matrices(matrices.raw[rows], matrices.null[rows], matrices.null_std[rows])
