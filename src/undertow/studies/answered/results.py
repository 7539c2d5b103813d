"""The stored results of a run as plain arrays, the way questions ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from undertow.axes import PROFILES
from undertow.errors import BadInput
from undertow.information.profiles import benign_spread, differences
from undertow.store import BENIGN, Cell, Run
from undertow.studies.asked.plan import NOISE
from undertow.studies.asked.spec import StudySpec

__all__ = ["Followed", "Results"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """One input followed through its iterates.

    Args:
        index: its place in the data set.
        step: the attack's steps, (step,).
        difference: overall difference from the benign IPs, in benign standard deviations, (step,).
        success: whether the attack succeeded.
    """

    index: int
    step: NDArray[np.int64]
    difference: Array
    success: bool


class Results:
    """What a run holds, as arrays. Taps without spatial extent are left out: they have no IPs.

    Args:
        run: an open run.
        estimator: whose profiles to read; ``None`` for the study's own.
    """

    def __init__(self, run: Run, estimator: str | None = None) -> None:
        self.run = run
        self.spec = StudySpec(**run.spec)
        self.suffix = "" if estimator in (None, self.spec.estimator) else f"@{estimator}"
        # Questions come back to the same cells often, and opening one costs more than reading it.
        self._read: dict[tuple[str, Cell, int | None], xr.Dataset] = {}

    def under(self, estimator: str) -> Results:
        """The same run as another estimator sees it."""
        other = Results(self.run, estimator)
        other._read = self._read
        return other

    @property
    def traced(self) -> str:
        """The attack whose iterates were followed.

        Raises:
            BadInput: if the study has no attack.
        """
        if self.spec.traced is None:
            raise BadInput("the study has no attack to follow")
        return self.spec.traced

    def _load(self, group: str, cell: Cell, index: int | None = None) -> xr.Dataset:
        key = (group, cell, index)
        if key not in self._read:
            if index is None:
                self._read[key] = getattr(self.run, group)(cell).load()
            else:
                self._read[key] = self.run.exemplar(cell, index)
        return self._read[key]

    @cached_property
    def estimators(self) -> tuple[str, ...]:
        """The study's estimator, and the one that checks it."""
        return tuple(filter(None, (self.spec.estimator, self.spec.cross_check)))

    def complete(self, *cells: Cell) -> bool:
        """Whether every shard of these cells is done."""
        return all(self.run.state(cell).finished for cell in cells)

    def _spatial(self, cell: Cell) -> NDArray[np.bool_]:
        spatial: NDArray[np.bool_] = np.isfinite(self._load("profiles", cell)["iip"].values).any(0)
        return spatial

    def depth(self, model: str) -> Array:
        """Depth of the taps that have IPs, (tap,)."""
        cell = Cell(model, BENIGN)
        depth: Array = (
            self._load("profiles", cell)["depth"].values[self._spatial(cell)].astype(float)
        )
        return depth

    def taps(self, model: str) -> tuple[str, ...]:
        """Their names."""
        cell = Cell(model, BENIGN)
        return tuple(self._load("profiles", cell)["tap"].values[self._spatial(cell)].tolist())

    def profile(self, cell: Cell, profile: str, kind: str = "") -> Array:
        """``iip``, ``oip`` or ``ioc`` of every input, (sample, tap).

        Args:
            cell: a finished cell.
            profile: which IP.
            kind: ``""`` for net, ``"_raw"`` or ``"_null"``.
        """
        found = self._load("profiles", cell)[f"{profile}{kind}{self.suffix}"].values
        values: Array = found[:, self._spatial(cell)].astype(np.float64)
        return values

    def takeover_depth(self, cell: Cell) -> Array:
        """Depth of the takeover tap of every input, NaN where there is none, (sample,)."""
        found = self._load("class_information", cell)["takeover_depth"].values
        depth: Array = found.astype(np.float64)
        return depth

    def attacks(self, cell: Cell) -> xr.Dataset:
        """Success, distances and answers of every input of a cell."""
        return self._load("attacks", cell)

    def fooled(self, cell: Cell) -> NDArray[np.bool_]:
        """Which inputs the cell's model gets wrong, (sample,)."""
        fooled: NDArray[np.bool_] = self._load("attacks", cell)["success"].values.astype(bool)
        return fooled

    def success(self, cell: Cell) -> NDArray[np.bool_]:
        """Which inputs the attack succeeded on, on all that it was aimed at, (sample,).

        A control has those of its attack.
        """
        attack = cell.control_of or cell.attack
        aimed = self.aimed(cell)
        hits = [self.fooled(Cell(model, attack)) for model in aimed]
        return np.asarray(np.logical_and.reduce(hits))

    def aimed(self, cell: Cell) -> tuple[str, ...]:
        """The models that a cell's attack was aimed at, all at once."""
        attack = self.spec.attack(cell.control_of or cell.attack)
        return self.spec.aims(attack)[0] if attack.ensemble else (cell.source or cell.model,)

    def difference(self, cell: Cell, profiles: Sequence[str] = PROFILES) -> Array:
        """How far each input's IPs are from its benign ones, in benign s.d., (sample,)."""
        benign = Cell(cell.model, BENIGN)
        there = {p: self.profile(cell, p) for p in profiles}
        return differences(
            there, {p: self.profile(benign, p) for p in profiles}, self.benign_std(cell.model)
        )[1]

    def benign_std(self, model: str) -> dict[str, Array]:
        """Standard deviation of each profile over benign inputs, (tap,)."""
        return benign_spread({p: self.profile(Cell(model, BENIGN), p) for p in PROFILES})

    def followed(self, model: str, *, noise: bool = False) -> tuple[Followed, ...]:
        """The exemplars of a model: how far their IPs are from benign at each step."""
        attack = self.traced
        cell = Cell(model, (NOISE if noise else "") + attack)
        unit = self.benign_std(model)
        spatial = self._spatial(Cell(model, BENIGN))
        out = []
        for index in self.run.exemplars(cell):
            found = self._load("exemplars", cell, index)
            values = {p: found[f"{p}{self.suffix}"].values[:, spatial] for p in PROFILES}
            _, difference = differences(values, {p: v[:1] for p, v in values.items()}, unit)
            success = bool(self._load("exemplars", Cell(model, attack), index).attrs["success"])
            out.append(Followed(index, found["step"].values, difference, success))
        return tuple(out)
