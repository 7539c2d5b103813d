"""Figure 1: the IPs of every iterate of one input, and how far they are from benign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from undertow.axes import PROFILES
from undertow.figures.data import Axis, FigureData, Panel, Series
from undertow.figures.from_run import of_input
from undertow.figures.palette import INK, ramp
from undertow.figures.wording import (
    DEPTH,
    FULL,
    count,
    profile_axis,
    tap_marks,
)
from undertow.store import Run

__all__ = ["FIGURE", "LINES", "build"]

LINES = 24
"""The most lines in a panel; of a longer trajectory so many are drawn, evenly spaced."""


def _shown(records: int) -> list[int]:
    places = np.linspace(0, records - 1, min(records, LINES)).round()
    return [int(i) for i in np.unique(places)]


def _lines(
    values: np.ndarray, steps: np.ndarray, taps: tuple[str, ...], depth: np.ndarray
) -> tuple[Series, ...]:
    shown, last = _shown(len(steps)), len(steps) - 1
    series = []
    for i in [*shown[1:], *shown[:1]]:
        ends = i in (0, last)
        label = "benign" if i == 0 else f"step {steps[i]}"
        series.append(
            Series(
                x=depth,
                y=values[i],
                label=f"adversarial ({label})" if i == last and i else label,
                group=label,
                color=INK if i == 0 else ramp(i / max(last, 1)),
                width=2.4 if ends else 1.0,
                marker="circle" if i == 0 else "down" if ends else "",
                legend=bool(ends),
                rank=i,
                hover=tap_marks(taps, depth),
            )
        )
    return tuple(series)


def _difference(difference: np.ndarray, steps: np.ndarray, step: int | None) -> tuple[Series, ...]:
    line = Series(
        x=steps, y=difference, color="#777777", width=1.2, legend=False, label="overall difference"
    )
    last = max(len(steps) - 1, 1)
    dots = [
        Series(x=steps[i : i + 1], y=difference[i : i + 1], color=INK if i == 0 else ramp(i / last),
               line="none", marker="circle", legend=False, label=f"step {steps[i]}")
        for i in _shown(len(steps))
    ]  # fmt: skip
    here = [int(i) for i in np.flatnonzero(steps == step)]
    now = [
        Series(
            x=steps[i : i + 1],
            y=difference[i : i + 1],
            color="#d55e00",
            line="none",
            marker="diamond",
            legend=False,
            label="shown step",
        )
        for i in here
    ]
    return line, *dots, *now


def build(
    *,
    profiles: Mapping[str, np.ndarray],
    difference: np.ndarray,
    steps: np.ndarray,
    taps: tuple[str, ...],
    depth: np.ndarray,
    name: str,
    step: int | None = None,
) -> FigureData:
    """Top: a line an iterate, benign black, lighter with each step. Bottom: overall difference.

    Args:
        profiles: ``iip``, ``oip``, ``ioc``: (step, tap).
        difference: (step,), in standard deviations of benign inputs.
        steps: the attack's step numbers, 0 first.
        taps: their names.
        depth: (tap,).
        name: the input and the attack in words.
        step: a step to point out.
    """
    panels = [
        Panel(
            title=FULL[p],
            x=DEPTH,
            y=profile_axis(p),
            series=_lines(profiles[p], steps, taps, depth),
            column=i,
        )
        for i, p in enumerate(profiles)
    ]
    panels.append(
        Panel(
            title="Overall difference from the benign profiles",
            row=1,
            span=len(profiles),
            height=0.72,
            x=Axis(label="iterate", unit="attack step", integer=True),
            y=Axis(label="difference", unit="benign s.d."),
            series=_difference(difference, steps, step),
        )
    )
    some = f"; {LINES} of {len(steps)} iterates are drawn" if len(steps) > LINES else ""
    return FigureData(
        name="trajectory",
        title=f"How the information flow bends, step by step: {name}",
        caption=(
            f"Top: the profiles of every iterate of one input, net of the null; black: benign, "
            "lighter with each "
            f"step, lightest: the last{some}. Bottom: root mean square over taps and "
            "profiles of the difference from step 0, each tap "
            f"in standard deviations of benign inputs. {count(1)}, interval: none."
        ),
        n=1,
        interval="none",
        panels=tuple(panels),
    )


def _draw(run: Run, data: Any, name: str, *, step: int | None = None) -> FigureData:
    return build(
        profiles={p: data[p].values for p in PROFILES if p in data},
        difference=data["difference"].values,
        steps=data["step"].values,
        taps=tuple(map(str, data["tap"].values)),
        depth=data["depth"].values,
        name=name,
        step=step,
    )


FIGURE = of_input("trajectory", build, _draw)
