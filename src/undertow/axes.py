"""The vocabulary: one word for one axis, profile or outcome, in shapes, columns and figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias, get_args

CELL: Final = "cell"
SAMPLE: Final = "sample"
STEP: Final = "step"
TAP: Final = "tap"
MAP: Final = "map"
CHANNEL: Final = "channel"
CLASS: Final = "class"
ROW: Final = "row"
COL: Final = "col"

AXES: Final = (CELL, SAMPLE, STEP, TAP, MAP, CHANNEL, CLASS, ROW, COL)

PROFILES: Final = ("iip", "oip", "ioc")
"""The three information profiles (IPs), in the order in which they are shown."""

UNITS: Final = {"iip": "bit", "oip": "bit", "ioc": "correlation"}
"""The unit of each profile, as figures and columns print it."""

ControlName: TypeAlias = Literal["noise", "spectrum", "transplant"]
CONTROLS: Final[tuple[ControlName, ...]] = get_args(ControlName)
"""Perturbations of an attack's L2 norm, each unlike the attack in one thing; the last decides."""


def split_control(attack: str) -> tuple[str | None, str]:
    """Which control of which attack ``noise:igsm`` is; ``(None, attack)`` where it is none."""
    kind, _, of = attack.partition(":")
    return (kind, of) if kind in CONTROLS and of else (None, attack)


SUCCEEDED: Final = "succeeded"
SPENT: Final = "budget spent"
VANISHED: Final = "gradients vanished"
STUCK: Final = "nothing left to move"
SKIPPED: Final = "skipped: the target is its own label"

OUTCOMES: Final = {
    SUCCEEDED: "",
    SPENT: "give it more steps or a larger budget before you call the network robust",
    VANISHED: (
        "this is not robustness: attack the logits, adapt the attack to the defence, or wrap the "
        "defence in BPDA"
    ),
    STUCK: "allow more components (gamma), both directions, or another attack",
    SKIPPED: "an input cannot be pushed to where it is: aim at another class",
}
"""How an attack on an input may end, and what to do about it; results hold the place in this."""


def tally_of_outcomes(words: Iterable[str]) -> str:
    """How many inputs ended how, with the advice for those that failed.

    Args:
        words: a key of :data:`OUTCOMES` an input.
    """
    counts = Counter(words)
    told = [
        f"{counts[word]} {word}" + (f" ({advice})" if advice else "")
        for word, advice in OUTCOMES.items()
        if counts[word]
    ]
    return "; ".join(told)
