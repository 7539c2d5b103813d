"""Carriers: the maps whose restoration takes an attack back (cause, not only correlation).

``ut.carriers`` ranks the maps of every tap, puts the first of them back to their benign values, and
counts whose true label returns. A ranking is one file and one line here; its code is imported on
first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from undertow.registry import Registry

if TYPE_CHECKING:
    from undertow.measuring.carriers.compared import Ranking

__all__ = ["CONTROLS", "DEFAULT_RANKINGS", "RANKINGS", "label_of"]

RANKINGS: Final[Registry[Ranking]] = Registry("ranking")
"""Rankings of maps by what they carry: ``(pair, tap) -> (sample, map)``, the largest first."""

RANKINGS.add(
    "integrated",
    "undertow.measuring.carriers.integrated:integrated",
    "change × slope of the rival's lead, averaged along the way from benign to adversarial",
    label="integrated attribution",
    color="#0072b2",
    marker="circle",
)
RANKINGS.add(
    "attribution",
    "undertow.measuring.carriers.attribution:attribution",
    "change × slope of the rival's lead at the adversarial input: first order",
    color="#56b4e9",
    marker="square",
)
RANKINGS.add(
    "change",
    "undertow.measuring.carriers.change:change",
    "how far the attack changed a map",
    label="size of change",
    color="#d55e00",
    marker="diamond",
)
RANKINGS.add(
    "drift",
    "undertow.measuring.carriers.drift:drift",
    "information about the rival less that about the true class, T[rival] − T[true]",
    color="#009e73",
    marker="triangle",
)
DEFAULT_RANKINGS: Final = tuple(RANKINGS)
"""The first of them is the one whose maps are told, and whose change random maps are matched to."""
CONTROLS: Final = {
    "random": "random maps, as many",
    "matched": "random maps, as large a change",
}
"""What every ranking stands beside, and what it is called."""


def label_of(name: str) -> str:
    """What a ranking or a control of it is called in figures and sentences."""
    look = RANKINGS.look(name)
    return CONTROLS.get(name) or (look.label if look is not None else "") or name
