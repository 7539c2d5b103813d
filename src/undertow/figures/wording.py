"""Words that all figures share: names of curves, axes with units, grids of the three profiles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from undertow.axes import CONTROLS, PROFILES, UNITS, split_control
from undertow.errors import BadInput
from undertow.figures.data import Axis, Mark
from undertow.prose import attack_name
from undertow.store import BENIGN, curve_key, split_key

__all__ = [
    "DEPTH",
    "FULL",
    "SHORT_DEPTH",
    "ZERO",
    "attack_name",
    "benign_first",
    "controls_told",
    "count",
    "curve_name",
    "deciding",
    "is_control",
    "nothing",
    "profile_axis",
    "tap_axis",
    "tap_marks",
    "told_n",
]

FULL: Final = {
    "drift": "Drift towards the rival",
    "iip": "Input information profile",
    "oip": "Output information profile",
    "ioc": "Input-output coupling",
}
DEPTH: Final = Axis(label="depth", unit="share of multiply-adds", low=-0.02, high=1.02)
SHORT_DEPTH: Final = Axis(label="depth", unit="MAC share", low=-0.02, high=1.02)
"""For small panels: share of the multiply-adds (MACs)."""
ZERO: Final = Mark(at=0.0, along="y", line="solid", color="#9a9a9a")


def curve_name(key: str) -> str:
    """A curve's key in words: ``JSMA aimed at deep_conv, transferable``."""
    attack, source, subset = split_key(key)
    return (
        attack_name(attack)
        + (f" aimed at {source}" if source else "")
        + (f", {subset}" if subset else "")
    )


def profile_axis(profile: str) -> Axis:
    """The vertical axis of one profile."""
    if profile == "drift":
        return Axis(label="drift", unit="bit")
    return Axis(label=f"net {profile.upper()}" if profile != "ioc" else "IOC", unit=UNITS[profile])


def count(n: int, what: str = "input") -> str:
    """``n = 1 input`` or ``n = 24 inputs``, as captions say it."""
    return f"n = {n} {what}{'' if n == 1 else 's'}"


def told_n(label: str, n: int | None) -> str:
    """A curve's name with the number of inputs behind it."""
    return label if n is None else f"{label} (n = {n})"


def nothing(what: str) -> BadInput:
    """The error of a figure that finds nothing to draw."""
    return BadInput(f"nothing to draw: the run has no {what}")


def tap_marks(taps: tuple[str, ...], depth: np.ndarray) -> tuple[str, ...]:
    """Hover words for each tap."""
    return tuple(f"{tap}, depth {at:.2f}" for tap, at in zip(taps, depth, strict=True))


def tap_axis(taps: tuple[str, ...], most: int = 10) -> Axis:
    """Layers by their names, without what all names begin with; at most so many of them."""
    parts = [tap.split(".") for tap in taps]
    shared = 0
    while all(len(p) > shared + 1 for p in parts) and len({p[shared] for p in parts}) == 1:
        shared += 1
    prefix = ".".join(parts[0][:shared]) if shared else ""
    short = [".".join(p[shared:]) for p in parts]
    most = max(2, min(most, 60 // max(map(len, short))))
    kept = np.unique(np.linspace(0, len(taps) - 1, min(len(taps), most)).round().astype(int))
    ticks = tuple((float(k), short[k]) for k in kept)
    return Axis(label=f"layer ({prefix}.…)" if prefix else "layer", ticks=ticks)


def benign_first(keys: list[str]) -> list[str]:
    """Benign before all others, controls after the attack that they belong to."""
    bases = [split_control(split_key(k)[0])[1] for k in keys]

    def place(key: str) -> tuple[bool, int, int]:
        kind, of = split_control(split_key(key)[0])
        return of != BENIGN, bases.index(of), CONTROLS.index(kind) if kind else -1

    return sorted(keys, key=place)


def is_control(key: str) -> bool:
    """Whether a curve's inputs are a control of an attack."""
    return split_control(split_key(key)[0])[0] is not None


def deciding(keys: Iterable[str]) -> list[str]:
    """Of each attack's controls only the one that decides: its transplant, where there is one."""
    keys = list(keys)
    found = []
    for key in keys:
        attack, *rest = split_key(key)
        kind, of = split_control(attack)
        better = CONTROLS[CONTROLS.index(kind) + 1 :] if kind else ()
        if not any(curve_key(f"{other}:{of}", *rest) in keys for other in better):
            found.append(key)
    return found


CONTROL_WORDS: Final = {
    "noise": "random signs with the attack's L2 norm",
    "spectrum": "its own perturbation with other phases, of its norm and power spectrum",
    "transplant": "the perturbation that the attack made for another input, at the same L2 norm",
}


def controls_told(keys: Iterable[str]) -> str:
    """What the dashed curves are, for a caption; empty where there are none."""
    kinds = dict.fromkeys(split_control(split_key(k)[0])[0] for k in keys)
    told = [f"{kind}, {CONTROL_WORDS[kind]}" for kind in kinds if kind]
    return " Dashed, hollow: " + "; ".join(told) + "." if told else ""


assert set(FULL) == {"drift", *PROFILES}
assert set(CONTROL_WORDS) == set(CONTROLS)
