"""Where the adversarial class takes over: share of inputs over depth, one line an attack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from undertow.figures.data import Axis, FigureData, Panel, Series
from undertow.figures.from_run import by_attack, of_model
from undertow.figures.palette import markers, paints
from undertow.figures.wording import DEPTH, benign_first, count, curve_name, tap_marks
from undertow.store import Cell, Run

__all__ = ["FIGURE", "build", "wilson"]

INTERVAL = "95 % Wilson interval"


def wilson(hits: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval of a share (Wilson 1927, equation for the score interval)."""
    z2 = 1.959964**2
    share = hits / n
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return middle - reach, middle + reach


def build(
    takeovers: Mapping[str, np.ndarray], *, taps: tuple[str, ...], depth: np.ndarray, model: str
) -> FigureData:
    """The share of successful inputs in which the adversarial class leads for good, by tap.

    Args:
        takeovers: (sample,) takeover tap of each successful input of each attack; -1: never.
        taps: their names.
        depth: (tap,).
        model: the model that infers.
    """
    keys = benign_first([k for k in takeovers if len(takeovers[k])])
    color, marker = paints(keys), markers(keys)
    series = []
    for key in keys:
        taken, n = takeovers[key], len(takeovers[key])
        hits = np.array(
            [((taken >= 0) & (taken <= k)).sum() for k in range(len(depth))], dtype=float
        )
        low, high = wilson(hits, n)
        series.append(
            Series(
                x=depth,
                y=hits / n,
                low=low,
                high=high,
                bars=True,
                label=curve_name(key),
                color=color[key],
                marker=marker[key],
                hover=tuple(
                    f"{words}: {h:.0f} of {n}"
                    for words, h in zip(tap_marks(taps, depth), hits, strict=True)
                ),
            )
        )
    most = max((len(v) for v in takeovers.values()), default=0)
    return FigureData(
        name="takeover",
        title=f"Where the adversarial class takes over in {model}",
        caption=(
            "Share of successful adversarial inputs in which, from this tap on, the adversarial "
            "class holds more bits than "
            f"the true class for good; {count(most)} in the largest curve, the legend "
            f"tells the others; bars: {INTERVAL}."
        ),
        n=most,
        interval=INTERVAL,
        panels=(
            Panel(
                title="Taken over up to this depth",
                x=DEPTH,
                height=1.1,
                series=tuple(series),
                y=Axis(label="taken over", unit="share of inputs", low=-0.03, high=1.03),
            ),
        ),
    )


def _draw(run: Run, model: str) -> FigureData | None:
    """The finished, successful inputs of every attack on a model."""

    def take(cell: Cell, data: Any) -> np.ndarray | None:
        if not _attacked(run, cell):
            return None
        rows = data["finished"].values & run.attacks(cell)["success"].values
        return data["takeover"].values[rows] if rows.any() else None

    found, taps, depth = by_attack(run, model, "class_information", take)
    return build(found, taps=taps, depth=depth, model=model) if found else None


def _attacked(run: Run, cell: Cell) -> bool:
    return not cell.benign and cell.control_of is None and run.has("attacks", cell)


def _models(run: Run) -> list[str]:
    """Those of which a successful input is finished."""
    fit = {
        c.model
        for c in run.cells
        if c.source is None and _attacked(run, c) and run.has("class_information", c)
        and bool((run.attacks(c)["success"] & run.attacks(c)["finished"]).any())
    }  # fmt: skip
    return [m for m in run.models if m in fit]


FIGURE = of_model("takeover", build, _draw, _models, "class information of successful inputs")
