"""Colours that colour-blind readers and printers tell apart; benign is always black.

Okabe and Ito's palette, then Tol's muted one. Every colour has a twin for dark screens; the report
swaps one for the other, so a figure is drawn once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast, get_args

from undertow.axes import split_control
from undertow.figures.data import Marker
from undertow.registry import Look, registry
from undertow.store import BENIGN, split_key

__all__ = [
    "DARK",
    "DIVERGING",
    "FAINT",
    "GRID",
    "INK",
    "PALETTE",
    "RAMP",
    "SEQUENTIAL",
    "markers",
    "paints",
    "ramp",
    "veil",
]

INK: Final = "#000000"
"""Benign inputs, text, axes."""
FAINT: Final = "#9a9a9a"
"""What is there for comparison only."""
GRID: Final = "#e4e4e4"

PALETTE: Final = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#d55e00",
    "#56b4e9",
    "#882255",
    "#44aa99",
    "#332288",
    "#999933",
    "#aa4499",
    "#661100",
)
_TWINS: Final = (
    "#4aa8e0",
    "#f0b53c",
    "#2fc49a",
    "#e09cc3",
    "#f07f2e",
    "#7cc8f2",
    "#d06a9c",
    "#66c9b8",
    "#8f7ee0",
    "#c4c457",
    "#d58cc9",
    "#c97b63",
)

# Iterates: dark to light on paper, and away from the background on a dark screen as well.
RAMP: Final = (
    "#10243f", "#152f52", "#1a3b66", "#1f487b", "#25558f", "#2c63a1", "#3571b0", "#417fbc",
    "#4f8dc6", "#5f9bcf", "#70a8d7", "#82b5de", "#94c1e4", "#a4cbe8",
)  # fmt: skip
_RAMP_DARK: Final = (
    "#f1f6fb", "#deebf6", "#cbe0f1", "#b7d4ec", "#a3c8e6", "#8fbbdf", "#7bafd8", "#69a2d0",
    "#5995c6", "#4b88bb", "#407baf", "#366fa2", "#2e6394", "#285886",
)  # fmt: skip

SEQUENTIAL: Final = (
    "#fdfdfb",
    "#e6eef0",
    "#c5dce6",
    "#9cc5dc",
    "#6fa9cf",
    "#4a8abd",
    "#2f6aa5",
    "#1f4b85",
    "#132f5e",
    "#0a1a3a",
)
"""Nothing is paper white; lightness falls evenly, so it also prints in grey."""
DIVERGING: Final = (
    "#8c3a00",
    "#c35c10",
    "#e58a45",
    "#f3b98a",
    "#fae3d0",
    "#fdfdfb",
    "#d5e5f0",
    "#9cc5dc",
    "#5b9bc8",
    "#2a6ea6",
    "#0d4377",
)

DARK: Final = {
    INK: "#f2f2ef",
    FAINT: "#7d7d7d",
    GRID: "#303236",
    "#777777": "#a8a8a8",
    **dict(zip(PALETTE, _TWINS, strict=True)),
    **dict(zip(RAMP, _RAMP_DARK, strict=True)),
}
"""The twin of every colour on a dark screen."""

_MARKERS: Final[tuple[Marker, ...]] = tuple(m for m in get_args(Marker) if m)


def _base(key: str) -> str:
    """The attack a key is about: that of ``noise:igsm`` and ``igsm@other[failed]`` is ``igsm``."""
    return split_control(split_key(key)[0])[1]


def paints(keys: Iterable[str]) -> dict[str, str]:
    """A colour for each curve: one for an attack, its control and its subsets."""
    keys = list(keys)
    bases = list(dict.fromkeys(_base(k) for k in keys))
    told = {b: INK if b == BENIGN else _look(b).color for b in bases}
    free = iter([c for c in PALETTE if c not in told.values()] + list(PALETTE) * len(bases))
    found: dict[str, str] = {}
    for base, color in told.items():
        found[base] = color if color and color not in found.values() else next(free)
    return {k: found[_base(k)] for k in keys}


def markers(keys: Iterable[str]) -> dict[str, Marker]:
    """A marker for each curve, so that colour is never needed to tell them apart."""
    keys = list(keys)
    bases = list(dict.fromkeys(_base(k) for k in keys))
    other = iter(_MARKERS * (len(bases) // len(_MARKERS) + 1))
    told = {b: "circle" if b == BENIGN else _look(b).marker for b in bases}
    found = {b: cast(Marker, marker or next(other)) for b, marker in told.items()}
    return {k: found[_base(k)] for k in keys}


def _look(attack: str) -> Look:
    return registry("attack").look(attack) or Look()


def veil(color: str) -> float:
    """How opaque a band of this colour is; grey ones are seen behind others, so they are darker."""
    return 0.32 if color == FAINT else 0.14


def ramp(place: float) -> str:
    """The colour of an iterate at ``place`` between 0 (benign, darkest) and 1 (last, lightest)."""
    return RAMP[round(min(max(place, 0.0), 1.0) * (len(RAMP) - 1))]
