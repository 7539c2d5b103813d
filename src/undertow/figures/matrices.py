"""Source and target MI of one input at one tap: as estimated, the null, and what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from undertow.figures.data import Axis, FigureData, Heat, Panel
from undertow.figures.from_run import class_names, of_input
from undertow.figures.wording import count
from undertow.store import Run

__all__ = ["FIGURE", "build"]

_MOST = 12
"""The most names beside an axis."""


def _ticks(names: Sequence[str]) -> tuple[tuple[float, str], ...]:
    every = -(-len(names) // _MOST)
    return tuple((float(i), n) for i, n in enumerate(names) if i % every == 0)


def _row(raw: np.ndarray, null: np.ndarray, letter: str, y: Axis, row: int) -> list[Panel]:
    top = float(np.nanmax([raw, null]))
    maps = Axis(label="map", unit="number", integer=True)
    low = min(0.0, float(np.nanmin([raw, null])))
    heats = {
        "raw": Heat(z=raw, unit="bit", low=low, high=top, bar=False),
        "null": Heat(z=null, unit="bit", low=low, high=top),
        "net": Heat(z=raw - null, unit="bit", scale="diverging"),
    }
    height = 0.5 if len(raw) <= 4 else 0.95
    bare = Axis(label="", ticks=tuple((at, "") for at, _ in y.ticks))  # named in the first column
    return [
        Panel(title=f"{letter} {kind}", x=maps, y=bare if c else y, row=row, column=c,
              height=height, heat=heat)
        for c, (kind, heat) in enumerate(heats.items())
    ]  # fmt: skip


def build(
    *,
    source: tuple[np.ndarray, np.ndarray],
    target: tuple[np.ndarray, np.ndarray],
    classes: Sequence[str],
    tap: str,
    name: str,
    channels: Sequence[str] = (),
) -> FigureData:
    """Rows S and T; columns raw, null and net (raw − null).

    Args:
        source: S raw and null, both (channel, map).
        target: T raw and null, both (map, class).
        classes: their names.
        tap: the tap.
        name: the input and the attack in words.
        channels: names of the input's channels.
    """
    given = len(source[0])
    names = channels or (("red", "green", "blue") if given == 3 else tuple(map(str, range(given))))
    panels = _row(*source, "Source MI, S:", Axis(label="input channel", ticks=_ticks(names)), 0)
    panels += _row(
        target[0].T, target[1].T, "Target MI, T:", Axis(label="class", ticks=_ticks(classes)), 1
    )
    return FigureData(
        name="matrices",
        title=f"Mutual information matrices at tap {tap}: {name}",
        caption=(
            f"Top: between each input channel and each of the {source[0].shape[1]} maps; bottom: "
            "between each map and each "
            "class's evidence map. Raw as estimated; null: against other benign inputs; net: raw − "
            "null, never clipped. "
            f"{count(1)}, interval: none."
        ),
        n=1,
        interval="none",
        panels=tuple(panels),
    )


def matrix_taps(data: Any) -> list[int]:
    """Numbers of the taps whose matrices are stored, all four of them."""
    return [
        k
        for k in range(data.sizes["tap"])
        if all(f"{m}_{w}.{k}" in data for m in "ST" for w in ("raw", "null"))
    ]


def _draw(
    run: Run, data: Any, name: str, *, tap: str | None = None, step: int | None = None
) -> FigureData:
    """At one tap and step; the last that are stored, if not said."""
    taps, have = [str(t) for t in data["tap"].values], matrix_taps(data)
    k = taps.index(tap) if tap in taps and taps.index(str(tap)) in have else have[-1]
    steps = [int(s) for s in data["chosen"].values]
    row = steps.index(step) if step in steps else -1
    return build(
        source=(data[f"S_raw.{k}"].values[row], data[f"S_null.{k}"].values[row]),
        target=(data[f"T_raw.{k}"].values[row], data[f"T_null.{k}"].values[row]),
        classes=class_names(run, data),
        tap=taps[k],
        name=f"{name}, step {steps[row]}",
    )


FIGURE = of_input("matrices", build, _draw, lambda data: bool(matrix_taps(data)), "matrices")
