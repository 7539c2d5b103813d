"""The input-output curve in the information plane: mean IIP against mean OIP, tap by tap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from undertow.figures.data import Axis, FigureData, Panel, Series
from undertow.figures.from_run import by_attack, of_model
from undertow.figures.palette import markers, paints
from undertow.figures.wording import (
    ZERO,
    benign_first,
    controls_told,
    count,
    curve_name,
    deciding,
    is_control,
    nothing,
    tap_marks,
)
from undertow.store import Cell, Run

__all__ = ["FIGURE", "build"]

INTERVAL = "95 % interval of the mean"

Pairs = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""IIP and OIP of each cell, both (sample, tap)."""


def _reach(values: np.ndarray) -> np.ndarray:
    """Half of the 95 % interval of the mean over inputs; NaN for a single one. (tap,)."""
    if len(values) < 2:
        return np.full(values.shape[1], np.nan)
    reach: np.ndarray = 1.96 * np.nanstd(values, axis=0, ddof=1) / len(values) ** 0.5
    return reach


def _curve(key: str, iip: np.ndarray, oip: np.ndarray, hover: tuple[str, ...]) -> Series:
    y, reach = np.nanmean(oip, axis=0), _reach(oip)
    return Series(
        x=np.nanmean(iip, axis=0),
        y=y,
        low=y - reach,
        high=y + reach,
        bars=True,
        label=curve_name(key),
        hover=hover,
        line="dashed" if is_control(key) else "solid",
        hollow=is_control(key),
    )


def _told(profiles: Pairs) -> np.ndarray:
    """The taps at which every cell has both profiles, (tap,)."""
    both = [np.isfinite(i).any(axis=0) & np.isfinite(o).any(axis=0) for i, o in profiles.values()]
    found: np.ndarray = np.logical_and.reduce(both)
    return found


def build(
    profiles: Pairs,
    *,
    taps: tuple[str, ...],
    depth: np.ndarray,
    model: str,
) -> FigureData:
    """One curve a cell, from the first tap to the last spatial one.

    Args:
        profiles: IIP and OIP of each cell, both (sample, tap), net; NaN at taps without extent.
        taps: their names.
        depth: (tap,).
        model: the model that infers.
    """
    keys = benign_first(list(profiles))
    color, marker = paints(keys), markers(keys)
    there = _told(profiles)
    kept = tuple(tap for tap, yes in zip(taps, there.tolist(), strict=True) if yes)
    if not kept:
        raise nothing(f"tap with both profiles in {model}")
    hover = tap_marks(kept, depth[there])
    curves = {
        k: _curve(k, iip[:, there], oip[:, there], hover) for k, (iip, oip) in profiles.items()
    }
    series = tuple(replace(curves[k], color=color[k], marker=marker[k]) for k in keys)
    n = max(len(iip) for iip, _ in profiles.values())
    return FigureData(
        name="plane",
        title=f"Input-output curves in {model}",
        caption=(
            f"Mean net IIP against mean net OIP from tap to tap ({kept[0]} to {kept[-1]}; with "
            "depth the curve runs from high IIP "
            f"to low); {count(n)} a curve at most; bars: {INTERVAL} of OIP.{controls_told(keys)}"
        ),
        n=n,
        interval=INTERVAL,
        panels=(
            Panel(
                title="Information plane of single inputs",
                x=Axis(label="net IIP", unit="bit"),
                y=Axis(label="net OIP", unit="bit"),
                series=series,
                marks=(ZERO,),
                height=1.35,
            ),
        ),
    )


def _draw(run: Run, model: str, *, attacks: Sequence[str] | None = None) -> FigureData | None:
    """The finished inputs of every cell of a model that were aimed at it."""

    def take(cell: Cell, data: Any) -> tuple[np.ndarray, np.ndarray] | None:
        rows = data["finished"].values
        asked = attacks is None or cell.benign or cell.attack in attacks
        return (
            (data["iip"].values[rows], data["oip"].values[rows]) if asked and rows.any() else None
        )

    found, taps, depth = by_attack(run, model, "profiles", take)
    if attacks is None:
        found = {key: found[key] for key in deciding(found)}
    return build(found, taps=taps, depth=depth, model=model) if found else None


def _models(run: Run) -> list[str]:
    """Those with a finished shard."""
    done = {c.model for c in run.cells if run.has("profiles", c) and run.state(c).done}
    return [m for m in run.models if m in done]


FIGURE = of_model("plane", build, _draw, _models, "finished profiles")
