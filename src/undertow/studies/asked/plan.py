"""What a study has to do: units of work, and the cells that they fill.

A unit is one shard of inputs of one attack on one model; the attack's cells in every model that
reads them and their controls are filled together, since the adversarial inputs themselves are not
kept. An exemplar unit follows one input through every iterate; it needs the benign cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from undertow.store import BENIGN, Cell
from undertow.studies.asked.spec import AttackSpec, StudySpec

__all__ = [
    "TOGETHER",
    "Unit",
    "carries",
    "cells_of",
    "exemplar_units",
    "named",
    "shards_of",
    "units",
]

TOGETHER: Final = "+"
"""Joins the names of models that an ensemble attacks at once: ``deep_conv+vgg_like``."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One piece of work, by names and numbers alone, so that it can travel between processes.

    Args:
        source: the model aimed at; of an ensemble, all of them, joined by ``+``.
        attack: the attack's id in the spec, or ``"benign"``.
        shard: its number among its cell's shards, or ``"exemplar:INDEX"``.
        start: first input of the shard.
        stop: one past the last input.
        cells: the cells it fills.
    """

    source: str
    attack: str
    shard: int | str
    start: int
    stop: int
    cells: tuple[Cell, ...]

    @property
    def least(self) -> int:
        """Fewest inputs that it can be worked on at once: a transplant takes two."""
        return 2 if any(cell.control == "transplant" for cell in self.cells) else 1


def named(attack: AttackSpec) -> tuple[str, ...]:
    """What cells call an attack and its controls: ``igsm``, ``noise:igsm`` and so on."""
    return (attack.id, *(f"{kind}:{attack.id}" for kind in attack.controls))


def _cells(spec: StudySpec, aimed: tuple[str, ...], attack: AttackSpec) -> tuple[Cell, ...]:
    """The cells that one attack on one model (an ensemble: on several at once) fills."""
    readers = [model for model in spec.models if model in (*aimed, *attack.read_by)]
    return tuple(
        Cell(model, name, None if model in aimed else TOGETHER.join(aimed))
        for model in readers
        for name in named(attack)
    )


def cells_of(spec: StudySpec) -> tuple[Cell, ...]:
    """Every cell of a study, benign and control cells included."""
    cells = [Cell(model, BENIGN) for model in spec.models]
    if spec.follow_only:
        return tuple(cells)
    for attack in spec.attacks:
        for aimed in spec.aims(attack):
            cells += _cells(spec, aimed, attack)
    return tuple(cells)


def carries(cell: Cell) -> bool:
    """Whether carriers are told of a cell: of attacks, on the models that they are aimed at."""
    return not cell.benign and cell.source is None and cell.control is None


def shards_of(spec: StudySpec) -> tuple[tuple[int, int, int], ...]:
    """Number, first input and one past the last input of every shard of a cell."""
    n = spec.data.inputs
    return tuple(
        (number, start, min(start + spec.shard, n))
        for number, start in enumerate(range(0, n, spec.shard))
    )


def units(spec: StudySpec) -> tuple[Unit, ...]:
    """Every shard of a study, benign ones first, in the order in which one process works."""
    benign = [
        Unit(model, BENIGN, *shard, (Cell(model, BENIGN),))
        for model in spec.models
        for shard in shards_of(spec)
    ]
    if spec.follow_only:
        return tuple(benign)
    attacked = [
        Unit(TOGETHER.join(aimed), attack.id, *shard, _cells(spec, aimed, attack))
        for attack in spec.attacks
        for aimed in spec.aims(attack)
        for shard in shards_of(spec)
    ]
    return (*benign, *attacked)


def exemplar_units(spec: StudySpec) -> tuple[Unit, ...]:
    """One unit for every input that is followed through its iterates, on each such model.

    Inputs that are explained without an attack have one as well, of one step.
    """
    attack = spec.traced
    if attack is None:
        return tuple(
            Unit(model, BENIGN, f"exemplar:{at}", at, at + 1, (Cell(model, BENIGN),))
            for model in spec.models
            for at in range(len(spec.data.first) if spec.explain else 0)
        )
    return tuple(
        Unit(
            model, attack, f"exemplar:{place}", place, place + 1,
            tuple(Cell(model, name) for name in named(spec.attack(attack))),
        )
        for model in spec.followed
        for place in range(min(spec.exemplars, spec.data.inputs))
    )  # fmt: skip
