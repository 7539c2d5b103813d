"""Words that all figures share: names of curves, axes with units, grids of the three profiles."""

from __future__ import annotations

from typing import Final

import numpy as np

from undertow.axes import PROFILES, UNITS
from undertow.errors import BadInput
from undertow.figures.data import Axis, Mark
from undertow.prose import attack_name
from undertow.store import BENIGN, split_key

__all__ = [
    "DEPTH",
    "FULL",
    "ZERO",
    "attack_name",
    "count",
    "curve_name",
    "nothing",
    "profile_axis",
    "tap_marks",
]

FULL: Final = {
    "iip": "Input information profile",
    "oip": "Output information profile",
    "ioc": "Input-output coupling",
}
DEPTH: Final = Axis(label="depth", unit="share of multiply-adds", low=-0.02, high=1.02)
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
    return Axis(label=f"net {profile.upper()}" if profile != "ioc" else "IOC", unit=UNITS[profile])


def count(n: int, what: str = "input") -> str:
    """``n = 1 input`` or ``n = 24 inputs``, as captions say it."""
    return f"n = {n} {what}{'' if n == 1 else 's'}"


def nothing(what: str) -> BadInput:
    """The error of a figure that finds nothing to draw."""
    return BadInput(f"nothing to draw: the run has no {what}")


def tap_marks(taps: tuple[str, ...], depth: np.ndarray) -> tuple[str, ...]:
    """Hover words for each tap."""
    return tuple(f"{tap}, depth {at:.2f}" for tap, at in zip(taps, depth, strict=True))


def benign_first(keys: list[str]) -> list[str]:
    """Benign before all others, controls after the attack that they belong to."""

    def place(key: str) -> tuple[int, int]:
        attack = split_key(key)[0]
        bases = [split_key(k)[0].removeprefix("noise:") for k in keys]
        return (0 if attack == BENIGN else 1, bases.index(attack.removeprefix("noise:")))

    return sorted(keys, key=lambda k: (*place(k), split_key(k)[0].startswith("noise:")))


assert set(FULL) == set(PROFILES)
