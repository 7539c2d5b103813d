"""Feature maps of one tap, benign beside adversarial, with what each map carries."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.store import Cell
from undertow.viewer.selection import values
from undertow.viewer.source import Source

__all__ = ["Maps", "mapped_taps", "maps_payload", "matrix_part", "stored_maps"]

PIXELS: Final = 1_500_000
"""Most picture points of both grids together."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Maps:
    """The maps of one tap at two steps.

    Args:
        tap: its name.
        depth: its depth.
        steps: the attack's steps of the two.
        maps: (step, map, row, col).
        source: source MI of each map, net of the null, mean over channels, (step, map); or none.
        target: target MI likewise, mean over classes.
        origin: where the maps come from, in words.
    """

    tap: str
    depth: float
    steps: tuple[int, int]
    maps: NDArray[Any]
    source: NDArray[Any] | None
    target: NDArray[Any] | None
    origin: str


def mapped_taps(data: Any) -> list[int]:
    """Numbers of the taps whose maps are stored."""
    return [k for k in range(data.sizes.get("tap", 0)) if f"maps.{k}" in data]


def matrix_part(data: Any, letter: str, tap: int, axis: str) -> NDArray[Any] | None:
    """What each map shares with the input (S) or the evidence (T), (chosen, map); net of the null.

    Args:
        data: an exemplar.
        letter: ``S`` or ``T``.
        tap: the tap's number.
        axis: the axis to average over.
    """
    raw, null = f"{letter}_raw.{tap}", f"{letter}_null.{tap}"
    if raw not in data or null not in data:
        return None
    net = values(data, raw).astype(float) - values(data, null).astype(float)
    found: NDArray[Any] = net.mean(axis=data[raw].dims.index(axis))
    return found


def stored_maps(source: Source, cell: Cell, index: int, tap: int) -> Maps | None:
    """Maps that the run keeps; ``None`` where it keeps none of this tap."""
    data = source.exemplar(cell, index)
    if data is None or f"maps.{tap}" not in data or data.sizes.get("chosen", 0) < 1:
        return None
    try:
        chosen = [int(s) for s in data["chosen"].values]
        ends = [0, len(chosen) - 1]
        parts = [
            matrix_part(data, letter, tap, axis)
            for letter, axis in (("S", "channel"), ("T", "class"))
        ]
        s, t = (None if p is None else p[ends] for p in parts)
        return Maps(
            tap=str(data["tap"].values[tap]),
            depth=float(data["depth"].values[tap]),
            steps=(chosen[0], chosen[-1]),
            maps=values(data, f"maps.{tap}")[ends].astype(np.float32),
            source=s,
            target=t,
            origin="stored in the run",
        )
    except Exception as error:  # whatever a damaged file makes the decoder raise
        source.note(f"maps of input {index} of {cell.name} are damaged ({type(error).__name__})")
        return None


def _smaller(maps: NDArray[Any]) -> NDArray[Any]:
    """Every n-th position, where the maps are too large for a browser."""
    step = 1
    while maps[..., ::step, ::step].size > PIXELS and step < 64:
        step += 1
    return maps[..., ::step, ::step]


def _numbers(array: NDArray[Any] | None) -> list[Any] | None:
    if array is None:
        return None
    return [[float(f"{v:.4g}") if np.isfinite(v) else None for v in row] for row in array]


def maps_payload(found: Maps, key: str) -> dict[str, Any]:
    """The maps as bytes, each map on one scale for both steps."""
    maps = _smaller(found.maps)
    low = maps.min(axis=(0, 2, 3), keepdims=True)
    high = maps.max(axis=(0, 2, 3), keepdims=True)
    span = np.where(high > low, high - low, 1.0)
    shown = np.rint(255 * np.nan_to_num((maps - low) / span)).astype(np.uint8)
    size = np.linalg.norm(found.maps[0].reshape(len(found.maps[0]), -1), axis=1)
    gap = np.linalg.norm((found.maps[1] - found.maps[0]).reshape(len(size), -1), axis=1)
    floor = 1e-3 * float(size.max()) if size.size else 0.0
    change = gap / np.maximum(size, floor if floor > 0 else 1.0)
    return {
        "key": key,
        "tap": found.tap,
        "depth": found.depth,
        "steps": list(found.steps),
        "origin": found.origin,
        "shape": list(maps.shape[1:]),
        "pixels": base64.b64encode(shown.tobytes()).decode(),
        "low": [float(f"{v:.4g}") for v in low.ravel()],
        "high": [float(f"{v:.4g}") for v in high.ravel()],
        "change": [float(f"{v:.4g}") for v in change],
        "source": _numbers(found.source),
        "target": _numbers(found.target),
    }
