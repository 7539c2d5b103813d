"""Inputs made on one model and read by another: what questions on transfer share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from undertow.store import BENIGN, Cell
from undertow.studies.answered.questions.claims import controlled
from undertow.studies.answered.results import Results
from undertow.studies.asked.plan import named
from undertow.studies.asked.spec import AttackSpec, StudySpec

__all__ = ["Crossing", "crossing", "transfers"]


@dataclass(frozen=True, slots=True)
class Crossing:
    """An attack on one model whose inputs several models read from each other.

    Args:
        models: those that are aimed at and read.
        spec: the attack.
    """

    models: tuple[str, ...]
    spec: AttackSpec

    @property
    def attack(self) -> str:
        """What cells call it."""
        return self.spec.id

    def cell(self, model: str, source: str) -> Cell:
        """Inputs aimed at ``source`` as ``model`` reads them."""
        return Cell(model, self.attack, None if source == model else source)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(model that reads, model aimed at), the two being different."""
        return tuple((m, s) for m in self.models for s in self.models if m != s)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell, with the controls and the benign cells."""
        crossings = [
            Cell(model, name, None if source == model else source)
            for model in self.models
            for source in self.models
            for name in named(self.spec)
        ]
        return (*(Cell(model, BENIGN) for model in self.models), *crossings)


def crossing(spec: StudySpec, models: tuple[str, ...]) -> Crossing | None:
    """The first attack, with its control, that all of these models read from all of them."""
    for attack in spec.attacks:
        if attack.ensemble or not controlled(attack) or len(models) < 2:
            continue
        aimed = {m for group in spec.aims(attack) for m in group}
        if set(models) <= aimed and set(models) <= set(attack.read_by):
            return Crossing(models, attack)
    return None


def transfers(results: Results, cell: Cell) -> NDArray[np.bool_]:
    """Of the inputs that fooled what they were aimed at, those that fool the cell's model, too."""
    return results.fooled(cell)[results.success(cell)]
