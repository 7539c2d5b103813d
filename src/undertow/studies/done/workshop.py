"""What one process needs to work on a study's units; everything is built when first used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import nn

from undertow.attacks import make
from undertow.data import ImageSet
from undertow.information.readers import Readers
from undertow.measuring.readers_cache import readers_for, two_sets
from undertow.progress import SILENT, Progress
from undertow.store import BENIGN, Cell
from undertow.studies.asked.plan import Unit
from undertow.studies.asked.spec import AttackSpec, StudySpec
from undertow.studies.done.cell import Batch, Filled, exemplar, fill, portrait
from undertow.studies.done.probe import Probe, build_probe
from undertow.studies.done.strength import settle
from undertow.types import Attack, Tap

__all__ = ["Workshop"]


@dataclass(slots=True, kw_only=True)
class Workshop:
    """A study's data and models, ready to fill its cells.

    Args:
        spec: the study.
        train: benign training inputs, for references and readers.
        data: the data set that the inputs are drawn from.
        index: the study's inputs, by place in ``data``.
        models: the loaded models, by name.
        device: where to compute.
        strengths: the settled settings of each attack on each model (:meth:`settle`).
        readers: class readers by model, where they are fitted already.
        at_once: inputs that memory has room for, by source and attack, where it is not a shard.
        progress: told how far fitting is.
    """

    spec: StudySpec
    train: ImageSet
    data: ImageSet
    index: NDArray[np.int64]
    models: Mapping[str, nn.Module]
    device: str = "cpu"
    strengths: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    readers: Mapping[str, Readers] = field(default_factory=dict)
    at_once: dict[tuple[str, str], int] = field(default_factory=dict)
    progress: Progress = SILENT
    _probes: dict[str, Probe] = field(default_factory=dict)

    def settle(
        self,
        known: Mapping[str, Any] | None,
        progress: Progress,
        keep: Callable[[dict[str, Any]], None] = lambda found: None,
    ) -> None:
        """Fix every attack's settings, matching magnitudes where the study asks for it.

        ``keep`` is given all that is settled whenever one more is.
        """
        self.progress = progress
        _, held_out = two_sets(self.train)
        self.strengths = settle(
            self.spec, held_out, self.models, known, self.device, progress, keep
        )

    def probe(self, name: str) -> Probe:
        """The model of this name, ready to measure."""
        if name not in self._probes:
            self._probes[name] = build_probe(
                self.spec, name, self.models[name], self.train, partial(self._readers, name)
            )
        return self._probes[name]

    def _readers(self, name: str, model: nn.Module, taps: Sequence[Tap]) -> Readers:
        if name in self.readers:
            return self.readers[name]
        return readers_for(
            model, taps, self.train, self.spec.readers, seed=self.spec.seed, progress=self.progress
        )

    def _batch(self, start: int, stop: int) -> Batch:
        index = self.index[start:stop]
        x, y = self.data[index]
        return Batch(index=index, x=x.to(self.device), y=y.to(self.device), seed=self.spec.seed)

    def _attack(self, unit: Unit) -> tuple[AttackSpec, Attack]:
        spec = self.spec.attack(unit.attack)
        settings = self.strengths[unit.source][unit.attack]["settings"]
        return spec, make(spec.name, **settings)

    def fill(self, unit: Unit) -> Filled:
        """The arrays of one shard."""
        readers = [cell.model for cell in unit.cells]
        if unit.attack == BENIGN:
            batch = self._batch(unit.start, unit.stop)
            return fill(unit, batch, self._probed(readers), (), None, None)
        spec, attack = self._attack(unit)
        aimed = self.spec.aims(spec)[0] if spec.ensemble else (unit.source,)
        probes = self._probed([*readers, *aimed])
        batch = self._batch(unit.start, unit.stop)
        return fill(
            unit, batch, probes, aimed, attack, spec.aim, self.spec.rankings, self.spec.precision,
            unaware=spec.unaware,
        )  # fmt: skip

    def _probed(self, names: Iterable[str]) -> dict[str, Probe]:
        return {name: self.probe(name) for name in dict.fromkeys(names)}

    def follow(self, unit: Unit, benign_std: Mapping[str, NDArray[Any]]) -> dict[Cell, xr.Dataset]:
        """One input through every iterate, and its controls; as it is, where none attacks it."""
        if unit.attack == BENIGN:
            batch = self._batch(unit.start, unit.stop)
            return portrait(unit, batch, self.probe(unit.source), benign_std)
        spec, attack = self._attack(unit)
        pair = unit.start ^ 1
        if pair >= len(self.index) or pair // self.spec.shard != unit.start // self.spec.shard:
            pair = unit.start
        return exemplar(
            unit, self._batch(unit.start, unit.stop), self._batch(pair, pair + 1),
            self.probe(unit.source), attack, spec.aim, benign_std,
            matrices=unit.start < self.spec.matrices, most=self.spec.iterates,
            rankings=self.spec.rankings, precision=self.spec.precision, unaware=spec.unaware,
        )  # fmt: skip
