"""Where and when one input's flow turned: drift over depth, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.figures.data import Axis, FigureData, Heat, Mark, Panel
from undertow.figures.from_run import class_names, of_input
from undertow.figures.wording import count, tap_axis
from undertow.store import Run

__all__ = ["FIGURE", "build"]

LABELS = 12
"""Steps that are named beside the map."""


def build(
    *,
    drift: np.ndarray,
    steps: np.ndarray,
    taps: tuple[str, ...],
    name: str,
    classes: tuple[str, str] = ("the true class", "the rival"),
) -> FigureData:
    """A map: taps from left to right, steps downwards; colours about 0.

    Args:
        drift: (step, tap), in bits.
        steps: the attack's numbers of the steps.
        taps: their names.
        name: the input and the attack in words.
        classes: the true class and the rival.
    """
    rows = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), LABELS)).round().astype(int))
    last = drift[:, -1]
    held = np.logical_and.accumulate((last > 0)[::-1])[::-1]
    turned = int(held.argmax()) if held.any() else None
    if turned is None:
        when = f"At the last layer the flow ends with {classes[0]}."
    elif turned == 0:
        when = f"At the last layer the flow is with {classes[1]} from the start."
    else:
        when = f"The line: step {int(steps[turned])}, since which the last layer is with "
        when += f"{classes[1]} for good."
    marks = (Mark(at=turned - 0.5, along="y", line="solid", color="#d55e00"),) if turned else ()
    panel = Panel(
        title=f"Drift from {classes[0]} to {classes[1]}",
        x=tap_axis(taps),
        y=Axis(label="attack step", ticks=tuple((float(r), str(int(steps[r]))) for r in rows)),
        heat=Heat(z=drift, unit="bit", scale="diverging"),
        marks=marks,
        height=1.25,
    )
    return FigureData(
        name="turning",
        title=f"Where and when the flow turned: {name}",
        caption=(
            f"Drift at each layer after each step: blue, the layer says more of {classes[1]}; "
            f"brown, more of {classes[0]}. {when} {count(1)}, interval: none."
        ),
        n=1,
        interval="none",
        panels=(panel,),
    )


def _has(data: Any) -> bool:
    return "drift" in data and data.sizes["step"] > 1


def _draw(run: Run, data: Any, name: str) -> FigureData:
    drift = data["drift"].values
    there = np.isfinite(drift).all(axis=0)
    names = class_names(run, data)
    return build(
        drift=drift[:, there],
        steps=data["step"].values,
        taps=tuple(str(t) for t, k in zip(data["tap"].values, there, strict=True) if k),
        name=name,
        classes=(names[int(data.attrs["label"])], names[int(data.attrs.get("rival", -1))]),
    )


FIGURE = of_input("turning", build, _draw, _has, "iterates with drift")
