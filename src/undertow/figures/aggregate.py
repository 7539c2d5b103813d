"""Figure 2: aggregated IPs of benign inputs and of each attack over depth, with bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from undertow.axes import PROFILES
from undertow.figures.data import FigureData, Line, Panel, Series
from undertow.figures.from_run import of_model
from undertow.figures.palette import markers, paints
from undertow.figures.wording import (
    DEPTH,
    FULL,
    benign_first,
    count,
    curve_name,
    is_control,
    profile_axis,
    told_n,
)
from undertow.store import BENIGN, Curve, Run, split_key

__all__ = ["FIGURE", "INTERVAL", "build", "curve_series"]

INTERVAL = "95 % band of the Gaussian process"


def _array(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], dtype=float)


def curve_series(
    curve: Curve,
    *,
    label: str,
    color: str,
    line: Line = "solid",
    marker: Any = "",
    hollow: bool = False,
) -> tuple[Series, ...]:
    """A band with its line, and the means of the taps upon it."""
    group = label
    thick = 2.2 if color == "#000000" else 1.6
    band = Series(
        x=_array(curve.depth), y=_array(curve.mean), low=_array(curve.low), high=_array(curve.high),
        label=label, group=group, color=color, line=line, width=thick,
    )  # fmt: skip
    if not curve.tap_depth:
        return (band,)
    dots = Series(
        x=_array(curve.tap_depth), y=_array(curve.tap_mean), label=label, group=group, color=color,
        line="none", marker=marker or "circle", hollow=hollow, legend=False,
    )  # fmt: skip
    return band, dots


def build(
    curves: Mapping[str, Mapping[str, Curve]], *, model: str, profiles: Sequence[str] = PROFILES
) -> FigureData:
    """One panel a profile; the legend says how many inputs are behind each curve.

    Args:
        curves: ``curves[key][profile]``; keys as :func:`undertow.store.curve_key` makes them.
        model: the model that infers, for the title.
        profiles: which, in which order.
    """
    keys = benign_first([k for k in curves if curves[k]])
    color, marker = paints(keys), markers(keys)
    panels = []
    for column, profile in enumerate(profiles):
        series: list[Series] = []
        for key in keys:
            if profile in curves[key]:
                curve = curves[key][profile]
                series += curve_series(
                    curve, label=told_n(curve_name(key), curve.n), color=color[key],
                    marker=marker[key],
                )  # fmt: skip
        panels.append(
            Panel(
                title=FULL[profile],
                x=DEPTH,
                y=profile_axis(profile),
                series=tuple(series),
                column=column,
            )
        )
    n = max((c.n or 0 for by in curves.values() for c in by.values()), default=0)
    return FigureData(
        name="aggregate",
        title=f"Aggregated information profiles in {model}",
        caption=(
            f"Mean profiles over depth, net of the mismatch null, of the inputs that each attack "
            f"succeeds on; {count(n)} in the largest curve, the legend tells the others; band: "
            f"{INTERVAL}; markers: means at the taps."
        ),
        n=n,
        interval=INTERVAL,
        panels=tuple(panels),
    )


def _plain(keys: Mapping[str, Any]) -> list[str]:
    """Keys of whole cells aimed at the inferring model, without their controls."""
    return [k for k in keys if split_key(k)[1:] == (None, None) and not is_control(k)]


def _draw(run: Run, model: str, *, attacks: Sequence[str] | None = None) -> FigureData | None:
    """Curves ``attacks``; all of whole cells aimed at this model, if not said."""
    found = run.answers.aggregates.get(model) if run.answers else None
    if not found:
        return None
    keys = list(attacks) if attacks is not None else _plain(found)
    return build({k: found[k] for k in [BENIGN, *keys] if k in found}, model=model)


def _models(run: Run) -> list[str]:
    """Those with at least one attack."""
    found = run.answers.aggregates if run.answers else {}
    return [m for m, curves in found.items() if len(_plain(curves)) > 1]


FIGURE = of_model("aggregate", build, _draw, _models, "aggregated profiles")
