"""The input-output curve in the information plane: mean IIP against mean OIP, tap by tap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from undertow.figures.data import Axis, Figure, FigureData, Panel, Series
from undertow.figures.palette import markers, paints
from undertow.figures.wording import ZERO, benign_first, count, curve_name, nothing, tap_marks
from undertow.store import Run, curve_key, split_key

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
    noise = split_key(key)[0].startswith("noise")
    return Series(
        x=np.nanmean(iip, axis=0),
        y=y,
        low=y - reach,
        high=y + reach,
        bars=True,
        label=curve_name(key),
        hover=hover,
        line="dashed" if noise else "solid",
        hollow=noise,
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
            f"to low); {count(n)} a curve at most; bars: {INTERVAL} of OIP."
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


def from_run(
    run: Run, *, model: str | None = None, attacks: Sequence[str] | None = None
) -> FigureData:
    """Draw the finished inputs of every cell of a model that were aimed at it.

    Args:
        run: the run.
        model: which; ``None``: the first with profiles.
        attacks: which; ``None``: all.
    """
    model = model or next((m["model"] for m in choices(run)), None)
    cells = [
        c for c in run.cells if c.model == model and c.source is None and run.has("profiles", c)
    ]
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    taps: tuple[str, ...] = ()
    depth = np.array([])
    for cell in cells:
        if attacks is not None and cell.attack not in attacks and not cell.benign:
            continue
        data = run.profiles(cell)
        rows = data["finished"].values
        if rows.any():
            found[curve_key(cell.attack)] = (data["iip"].values[rows], data["oip"].values[rows])
            taps, depth = tuple(map(str, data["tap"].values)), data["depth"].values
    if not found:
        raise nothing(f"finished profiles of {model or 'any model'}")
    return build(found, taps=taps, depth=depth, model=str(model))


def choices(run: Run) -> tuple[Mapping[str, Any], ...]:
    """One figure a model with a finished shard."""
    done = {c.model for c in run.cells if run.has("profiles", c) and run.state(c).done}
    return tuple({"model": m} for m in run.models if m in done)


FIGURE = Figure("plane", build, from_run, choices)
