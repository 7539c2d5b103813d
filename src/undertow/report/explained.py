"""Explanations as the report shows them: sentences, small pictures, a badge each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from undertow.figures.from_run import ends_of
from undertow.figures.perturbation import thumbnail, unit_interval
from undertow.store import BENIGN, Cell, Explanation, Run

__all__ = ["KINDS", "Shown", "explained"]

KINDS: Final = {
    "fooled": ("fooled", "the attack changed a right answer into a wrong one"),
    "held": ("held", "the answer is as it was before the attack"),
    "error": ("misread", "the answer is wrong, and nobody attacked"),
    "right": ("read rightly", "the answer is what the label says"),
    "unlabelled": ("not labelled", "nobody told what the picture shows"),
}
"""Each kind in words, and what it means."""
SIDE: Final = 56


@dataclass(frozen=True, slots=True)
class Shown:
    """One explanation with its pictures.

    Args:
        told: the explanation.
        word: its kind in words.
        meaning: what that means.
        pictures: data addresses: as it came, and attacked.
    """

    told: Explanation
    word: str
    meaning: str
    pictures: tuple[str, ...]


def explained(run: Run) -> tuple[Shown, ...]:
    """Every explanation of a run, those that deserve a look first."""
    found = run.answers.explanations if run.answers else ()
    ordered = sorted(found, key=lambda e: -(e.interest or 0.0))
    return tuple(Shown(e, *KINDS[e.kind], _pictures(run, e)) for e in ordered)


def _pictures(run: Run, told: Explanation) -> tuple[str, ...]:
    cell = Cell(told.model, told.attack or BENIGN)
    if told.index not in run.exemplars(cell):
        return ()
    data = run.exemplar(cell, told.index)
    rows = list(dict.fromkeys(ends_of(data)))
    return tuple(thumbnail(x, SIDE) for x in unit_interval(data["images"].values[rows]))
