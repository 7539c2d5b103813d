"""Restoration curves: whose label returns when maps are put back, tap by tap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import numpy as np

from undertow.figures.data import Axis, Figure, FigureData, Marker, Panel, Series
from undertow.figures.palette import FAINT, PALETTE
from undertow.figures.wording import attack_name, count, nothing
from undertow.measuring.carriers import CONTROLS, RANKINGS, label_of
from undertow.store import Points, Restoration, Run

__all__ = ["FIGURE", "build"]

COLUMNS: Final = 4
"""Taps side by side."""
INTERVAL: Final = "Wilson's 95 % interval"
SHARE: Final = Axis(label="share", unit="of inputs", low=-0.03, high=1.03)
_OTHERS: Final[tuple[Marker, ...]] = ("star", "hexagon", "down")


def build(found: Restoration, *, model: str, attack: str) -> FigureData:
    """A column a tap: put back above, implanted below; a line a ranking, grey the random maps.

    Args:
        found: the curves.
        model: whose maps they are.
        attack: by its registry name.
    """
    panels = []
    for k, tap in enumerate(found.tap):
        row, column = 2 * (k // COLUMNS), k % COLUMNS
        for down, (title, curves) in enumerate(
            ((f"{tap}: put back", found.restored), ("implanted", found.implanted))
        ):
            panels.append(
                Panel(
                    title=title, x=_maps(found.count[k]), y=SHARE, row=row + down, column=column,
                    height=1.0 if down == 0 else 0.8,
                    series=_series({n: c[k] for n, c in curves.items()}, found.count[k]),
                )
            )  # fmt: skip
    return FigureData(
        name="restoration",
        title=f"Which maps carried {attack_name(attack)} in {model}",
        caption=(
            "Top: share of the attacked inputs whose true label returns when the first maps of a "
            "ranking are put back to their benign values, against their number (each step doubles "
            "it, the last is all maps). Bottom: the same maps put from the attacked into the "
            "benign run, share of inputs that get the wrong label. Grey: random maps, dashed as "
            "many, dotted as many as changed as much as those of "
            f"{label_of(next(iter(found.restored)))}. {count(found.n)}; bands: {INTERVAL}."
        ),
        n=found.n,
        interval=INTERVAL,
        panels=tuple(panels),
    )


def _maps(numbers: tuple[int, ...]) -> Axis:
    """Numbers of maps on a logarithmic axis, named where there is room."""
    every = -(-len(numbers) // 5)
    kept = [n for i, n in enumerate(reversed(numbers)) if i % every == 0]
    return Axis(label="maps", ticks=tuple((float(np.log2(n)), str(n)) for n in reversed(kept)))


def _series(curves: Mapping[str, Points], numbers: tuple[int, ...]) -> tuple[Series, ...]:
    x = np.log2(np.array(numbers))
    hover = tuple(f"{n} map{'' if n == 1 else 's'}" for n in numbers)
    others = iter(zip(PALETTE[6:], _OTHERS, strict=False))
    found = []
    for rank, (name, points) in enumerate(curves.items()):
        y, low, high = (_array(v) for v in (points.mean, points.low, points.high))
        if not np.isfinite(y).any():
            continue
        plain: dict[str, Any] = {"x": x, "y": y, "label": label_of(name), "hover": hover}
        if name in CONTROLS:
            line = "dashed" if name == "random" else "dotted"
            plain |= {"color": FAINT, "line": line, "width": 1.4, "rank": 20 + rank}
            plain |= {"low": low, "high": high} if name == "random" else {}
        else:
            look = RANKINGS.look(name)
            color, marker = (look.color, look.marker) if look and look.color else next(others)
            plain |= {"color": color, "marker": cast(Marker, marker), "rank": rank, "width": 1.6}
            plain |= {"low": low, "high": high} if rank == 0 else {}
        found.append(Series(**plain))
    return tuple(found)


def _array(values: tuple[float | None, ...]) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], dtype=float)


def _choices(run: Run) -> tuple[Mapping[str, Any], ...]:
    found = run.answers.restorations if run.answers else {}
    return tuple({"model": m, "attack": a} for m, attacks in found.items() for a in attacks)


def _from_run(run: Run, *, model: str | None = None, attack: str | None = None) -> FigureData:
    for choice in _choices(run):
        if model in (None, choice["model"]) and attack in (None, choice["attack"]):
            assert run.answers is not None
            return build(run.answers.restorations[choice["model"]][choice["attack"]], **choice)
    raise nothing(f"carriers of {attack or 'any attack'} on {model or 'any model'}")


FIGURE = Figure("restoration", build, _from_run, _choices)
