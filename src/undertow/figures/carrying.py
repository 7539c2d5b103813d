"""The carriers of one attacked input over depth: what each map carries, how few maps suffice."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from undertow.figures.data import Axis, FigureData, Heat, Panel, Series
from undertow.figures.from_run import input_name, of_recorded
from undertow.figures.palette import FAINT, INK
from undertow.figures.wording import count, tap_axis, tap_marks
from undertow.measuring.carriers import label_of
from undertow.store import Cell, Run

__all__ = ["FIGURE", "build"]

COLUMNS: Final = 64
"""Places from the first map to the last, whatever their number."""


def build(
    *,
    scores: np.ndarray,
    smallest: np.ndarray,
    random: np.ndarray,
    taps: tuple[str, ...],
    depth: np.ndarray,
    ranking: str,
    name: str,
) -> FigureData:
    """A map of maps: taps downwards, maps of each in order of what they carry; then the least.

    Args:
        scores: of each map, (tap, map), NaN beyond a tap's maps.
        smallest: whether a map is in the smallest set found, (tap, map).
        random: size of the set that the same search leaves in a random order, (tap,).
        taps: their names.
        depth: (tap,).
        ranking: whose scores they are.
        name: the input and the attack in words.
    """
    maps = np.isfinite(scores).sum(axis=1)
    even = np.stack([_in_order(row) for row in scores])
    named = tap_axis(taps)
    ticks = tuple((COLUMNS * k / 4 - 0.5, f"{25 * k} %") for k in range(5))
    rows = Panel(
        title="What each map carries, the most first",
        x=Axis(label="maps, from the first", ticks=ticks),
        y=Axis(label=named.label, ticks=named.ticks), height=1.15,
        heat=Heat(z=even, unit="× an even share", scale="diverging",
                  high=max(1.0, float(np.quantile(np.abs(even), 0.97)))),
    )  # fmt: skip
    words = tap_marks(taps, depth)
    x = np.arange(len(taps), dtype=float)
    least_maps, least_random = 100 * smallest.sum(axis=1) / maps, 100 * random / maps
    top = 1.1 * float(max(least_maps.max(), least_random.max()))
    least = Panel(
        title="Fewest maps that return the label", x=tap_axis(taps), row=1, height=0.9,
        y=Axis(label="maps", unit="% of the tap's", low=0.0, high=top),
        series=(
            Series(x=x, y=least_maps, color=INK, marker="circle", hover=words, width=2.0,
                   label=f"found by {label_of(ranking)}"),
            Series(x=x, y=least_random, color=FAINT, line="dashed", marker="square",
                   hollow=True, label="the same search in a random order", hover=words, rank=1),
        ),
    )  # fmt: skip
    return FigureData(
        name="carrying",
        title=f"The maps that carried it: {name}",
        caption=(
            f"Top: what each map carries by {label_of(ranking)}, beside an even share of what all "
            "maps of its layer carry, from the largest to the least; blue: it helps the wrong "
            "class, brown: the true one. "
            "Bottom: the fewest maps whose benign values were found to return the true label. "
            f"{count(1)}, interval: none."
        ),
        n=1,
        interval="none",
        panels=(rows, least),
    )


def _in_order(scores: np.ndarray) -> np.ndarray:
    """Scores of one tap, the largest first, in units of their mean size, in so many columns."""
    own = -np.sort(-scores[np.isfinite(scores)])
    size = float(np.abs(own).mean()) or 1.0
    places = ((np.arange(COLUMNS) + 0.5) * len(own) / COLUMNS).astype(int)
    return np.asarray(own[places] / size)


def _draw(run: Run, cell: Cell, index: int) -> FigureData:
    data: Any = run.exemplar(cell, index)
    ranking = str(data["ranking"].values[0])
    return build(
        scores=data["score"].values[:, 0],
        smallest=data["smallest"].values,
        random=data["smallest_random"].values,
        taps=tuple(str(tap) for tap in data["tap"].values),
        depth=data["depth"].values,
        ranking=ranking,
        name=input_name(cell, index),
    )


FIGURE = of_recorded("carrying", build, _draw, "score", "recorded inputs with carriers")
