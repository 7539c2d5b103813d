"""The stored results of a run as plain arrays, the way questions ask for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from undertow.axes import PROFILES
from undertow.errors import BadInput
from undertow.information.profiles import benign_spread, differences, turn
from undertow.store import BENIGN, Cell, Run
from undertow.studies.asked.spec import StudySpec

__all__ = ["DECIDES", "Followed", "Results"]

Array = NDArray[np.float64]
DECIDES: Final = "transplant"
"""The control that decides claims about an attack; the others are reported."""
FAIR: Final = 0.95
"""Share of the attack's L2 norm that its control must have; inputs that fall short say nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """One input followed through its iterates.

    Args:
        index: its place in the data set.
        step: the attack's steps, (step,).
        difference: overall difference from the benign IPs, in benign standard deviations, (step,).
        drift: towards its rival at the last tap that has IPs, in bits, (step,).
        l2: distance from the benign input, (step,).
        success: whether the attack succeeded.
    """

    index: int
    step: NDArray[np.int64]
    difference: Array
    drift: Array
    l2: Array
    success: bool


class Results:
    """What a run holds, as arrays. Taps without spatial extent are left out: they have no IPs.

    Args:
        run: an open run.
        estimator: whose profiles to read; ``None`` for the study's own.
        null: ``"shift"`` to read OIP net of the shift null; ``None`` for the study's own null.
    """

    def __init__(self, run: Run, estimator: str | None = None, null: str | None = None) -> None:
        self.run = run
        self.null = null
        self.spec = StudySpec(**run.spec)
        self.suffix = "" if estimator in (None, self.spec.estimator) else f"@{estimator}"
        # Questions come back to the same cells often, and opening one costs more than reading it.
        self._read: dict[tuple[str, Cell, int | None], xr.Dataset] = {}

    def under(self, estimator: str, null: str | None = None) -> Results:
        """The same run as another estimator sees it, OIP under another null."""
        other = type(self)(self.run, estimator, null)
        other._read = self._read
        return other

    def views(self, *, oip: bool = False) -> dict[str, Results]:
        """The run under each estimator by name; what rests on OIP, under each null as well."""
        found = {estimator: self.under(estimator) for estimator in self.estimators}
        if oip and self.holds(Cell(self.spec.models[0], BENIGN), "oip_shift"):
            found |= {f"{e}, shift null": self.under(e, "shift") for e in self.estimators}
        return found

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
        if self.null and profile == "oip" and not kind:
            profile = f"oip_{self.null}"
        found = self._load("profiles", cell)
        name = f"{profile}{kind}{self.suffix}"
        if name not in found:
            raise BadInput(f"this run holds no {name} (it was made by an older undertow)")
        values: Array = found[name].values[:, self._spatial(cell)].astype(np.float64)
        return values

    def holds(self, cell: Cell, name: str) -> bool:
        """Whether a variable of the profiles is stored, as this estimator sees it."""
        return f"{name}{self.suffix}" in self._load("profiles", cell)

    def columns(self, cell: Cell) -> Array:
        """All IPs of every input, one profile after the other, (sample, profile × tap)."""
        return np.concatenate([self.profile(cell, p) for p in PROFILES], axis=1)

    def column_names(self, model: str) -> tuple[str, ...]:
        """What :meth:`columns` are called: ``IIP at blocks.5``."""
        return tuple(f"{p.upper()} at {tap}" for p in PROFILES for tap in self.taps(model))

    def flow(self, cell: Cell, towards: NDArray[np.int64], kind: str = "") -> Array:
        """Flow of each input towards one class each, in bits, (sample, tap)."""
        found = self.profile(cell, "flow", kind)
        return np.take_along_axis(found, towards[:, None, None], axis=2)[:, :, 0]

    def rival(self, cell: Cell) -> NDArray[np.int64]:
        """The rival of each input of a cell, (sample,)."""
        rival: NDArray[np.int64] = self.attacks(cell)["rival"].values.astype(np.int64)
        return rival

    def label(self, cell: Cell) -> NDArray[np.int64]:
        """The true class of each input, (sample,)."""
        label: NDArray[np.int64] = self.attacks(cell)["label"].values.astype(np.int64)
        return label

    def drift(self, cell: Cell, kind: str = "", *, rival: NDArray[np.int64] | None = None) -> Array:
        """Drift of each input in bits, (sample, tap).

        Args:
            cell: a finished cell.
            kind: ``""`` for net, ``"_raw"`` or ``"_null"``.
            rival: towards which class; the cell's own rivals where not said.
        """
        rival = self.rival(cell) if rival is None else rival
        return self.flow(cell, rival, kind) - self.flow(cell, self.label(cell), kind)

    def margin(self, model: str) -> Array:
        """How far the true class leads the next one on benign inputs, in logits, (sample,)."""
        found = self.attacks(Cell(model, BENIGN))
        logits, label = found["logits"].values.astype(np.float64), found["label"].values
        own = np.take_along_axis(logits, label[:, None].astype(np.int64), axis=1)[:, 0]
        others = np.where(np.arange(logits.shape[1]) == label[:, None], -np.inf, logits)
        return np.asarray(own - others.max(axis=1))

    def fair(self, *cells: Cell) -> NDArray[np.bool_]:
        """Which inputs have a deciding control as long as the attack, for each cell, (sample,).

        A sparse perturbation made for one input may not fit into the box around another.
        """
        found = [
            self.attacks(self.control(cell))["l2"].values >= FAIR * self.attacks(cell)["l2"].values
            for cell in cells
        ]
        return np.asarray(np.logical_and.reduce(found))

    def control(self, cell: Cell, kind: str = DECIDES) -> Cell:
        """The cell of an attack's control."""
        return Cell(cell.model, f"{kind}:{cell.attack}", cell.source)

    def controls(self, cell: Cell) -> tuple[Cell, ...]:
        """The cells of an attack's controls, as far as the run has them."""
        found = [self.control(cell, kind) for kind in self.spec.attack(cell.attack).controls]
        return tuple(control for control in found if control in self.run.cells)

    def takeover_depth(self, cell: Cell) -> Array:
        """Depth of the takeover tap of every input, NaN where there is none, (sample,)."""
        found = self._load("class_information", cell)["takeover_depth"].values
        depth: Array = found.astype(np.float64)
        return depth

    def taken_over(self, cell: Cell) -> Array:
        """The same depth, 1 where only the answer is the rival's, (sample,)."""
        return np.asarray(np.nan_to_num(self.takeover_depth(cell), nan=1.0))

    def turn_depth(self, cell: Cell, *, rival: NDArray[np.int64] | None = None) -> Array:
        """Depth from which drift is positive for good, (sample,); 1 where only the answer turns.

        Args:
            cell: a finished cell.
            rival: towards which class; the cell's own rivals where not said.
        """
        first = turn(torch.from_numpy(self.drift(cell, rival=rival))).numpy()
        return np.asarray(np.where(first >= 0, self.depth(cell.model)[first], 1.0))

    def attacks(self, cell: Cell) -> xr.Dataset:
        """Success, distances and answers of every input of a cell."""
        return self._load("attacks", cell)

    def carried(self, cell: Cell) -> xr.Dataset:
        """What the maps of each tap carry, of the inputs that have something to restore.

        Raises:
            BadInput: if the run holds no carriers of the cell.
        """
        if not self.run.has("carriers", cell):
            raise BadInput(f"this run holds no carriers of {cell.name}")
        found = self._load("carriers", cell)
        return found.isel(sample=np.flatnonzero(found["rival"].values >= 0))

    def fooled(self, cell: Cell) -> NDArray[np.bool_]:
        """Which inputs the cell's model gets wrong, (sample,)."""
        fooled: NDArray[np.bool_] = self._load("attacks", cell)["success"].values.astype(bool)
        return fooled

    def rejected(self, cell: Cell) -> NDArray[np.bool_]:
        """Which inputs the cell's model rejects, (sample,)."""
        found = self._load("attacks", cell)
        if "rejected" not in found:
            return np.zeros(found.sizes["sample"], dtype=bool)
        rejected: NDArray[np.bool_] = found["rejected"].values.astype(bool)
        return rejected

    def sanity(self, model: str, attack: str) -> list[dict[str, Any]]:
        """What an adaptive attack did on held-out inputs when it was given more or less."""
        told: Any = self.run.manifest.get("strengths")
        for key in (model, attack, "sanity"):
            told = told.get(key) if isinstance(told, Mapping) else None
        kinds = {"check": str, "value": float, "against": float, "holds": bool}
        rows = told if isinstance(told, list) else []
        return [
            row
            for row in rows
            if isinstance(row, dict) and all(isinstance(row.get(k), t) for k, t in kinds.items())
        ]

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

    def followed(self, model: str, control: str | None = None) -> tuple[Followed, ...]:
        """The exemplars of a model, or a control of them: how far they are at each step."""
        attack = self.traced
        cell = Cell(model, f"{control}:{attack}" if control else attack)
        unit = self.benign_std(model)
        spatial = self._spatial(Cell(model, BENIGN))
        out = []
        for index in self.run.exemplars(cell):
            found = self._load("exemplars", cell, index)
            values = {p: found[f"{p}{self.suffix}"].values[:, spatial] for p in PROFILES}
            _, difference = differences(values, {p: v[:1] for p, v in values.items()}, unit)
            success = bool(self._load("exemplars", Cell(model, attack), index).attrs["success"])
            name = f"drift{self.suffix}"
            if name not in found:
                raise BadInput(f"this run holds no {name} (it was made by an older undertow)")
            drift = found[name].values[:, spatial][:, -1].astype(np.float64)
            moved = found["images"].values.astype(np.float64)
            l2 = np.sqrt(np.square(moved - moved[:1]).sum(axis=(1, 2, 3)))
            out.append(Followed(index, found["step"].values, difference, drift, l2, success))
        return tuple(out)
