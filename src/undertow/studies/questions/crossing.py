"""Inputs made on one model and read by another: what questions on transfer share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from undertow.store import BENIGN, Cell
from undertow.studies.plan import NOISE
from undertow.studies.results import Results
from undertow.studies.spec import StudySpec

__all__ = ["crossed", "needed", "of", "transfers"]


def crossed(spec: StudySpec, models: tuple[str, ...]) -> str | None:
    """The first attack on one model whose inputs all of these models read from all of them.

    Its noise control must be there, too. ``None`` where there is none.
    """
    for attack in spec.attacks:
        if attack.ensemble or not attack.control or len(models) < 2:
            continue
        aimed = {m for group in spec.aims(attack) for m in group}
        if set(models) <= aimed and set(models) <= set(attack.read_by):
            return attack.id
    return None


def of(model: str, attack: str, source: str, *, noise: bool = False) -> Cell:
    """Inputs aimed at ``source`` as ``model`` reads them."""
    return Cell(model, (NOISE if noise else "") + attack, None if source == model else source)


def needed(attack: str, models: tuple[str, ...]) -> tuple[Cell, ...]:
    """Every crossing of these models, with the controls and the benign cells."""
    crossings = [
        of(model, attack, source, noise=noise)
        for model in models
        for source in models
        for noise in (False, True)
    ]
    return (*(Cell(model, BENIGN) for model in models), *crossings)


def transfers(results: Results, cell: Cell) -> NDArray[np.bool_]:
    """Of the inputs that fooled what they were aimed at, those that fool the cell's model, too."""
    return results.fooled(cell)[results.success(cell)]
