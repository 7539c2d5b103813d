"""One input's drift over depth, before and after, among inputs that the model reads rightly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from undertow.figures.data import Axis, FigureData, Panel, Series
from undertow.figures.from_run import class_names, ends_of, input_name, of_recorded
from undertow.figures.palette import FAINT, INK, markers, paints
from undertow.figures.wording import DEPTH, ZERO, attack_name, count, tap_marks
from undertow.store import BENIGN, Cell, Run

__all__ = ["FIGURE", "build"]

SHARE: Final = (0.1, 0.9)
"""The grey band: between these shares of the inputs that are read rightly."""
LEAST: Final = 8


def build(
    *,
    before: np.ndarray,
    after: np.ndarray | None,
    controls: Mapping[str, np.ndarray],
    others: np.ndarray,
    taps: tuple[str, ...],
    depth: np.ndarray,
    classes: tuple[str, str],
    attack: str | None,
    name: str,
) -> FigureData:
    """One panel: grey the others, black the input, in colour the attacked one.

    Args:
        before: drift of the input, (tap,), in bits.
        after: of the attacked one; ``None`` where nobody attacked.
        controls: of each control.
        others: of inputs that are read rightly, each to its own runner-up, (other, tap).
        taps: their names.
        depth: (tap,).
        classes: true class and rival.
        attack: by its registry name.
        name: the input in words.
    """
    words = tap_marks(taps, depth)
    series: list[Series] = []
    band = ""
    if len(others) >= LEAST:
        low, middle, high = np.quantile(others, (SHARE[0], 0.5, SHARE[1]), axis=0)
        series.append(
            Series(x=depth, y=middle, low=low, high=high, color=FAINT, line="dotted", width=1.0,
                   label="inputs read rightly", rank=3)
        )  # fmt: skip
        band = (
            f" Grey: {len(others)} other inputs that the model reads rightly, each towards its own "
            f"runner-up; from the lowest tenth to the highest, dotted the median."
        )
    series += [
        Series(x=depth, y=values, color=FAINT, line="dashed", width=1.2, label="controls",
               group="controls", rank=2, hover=tuple(f"{kind}: {w}" for w in words))
        for kind, values in controls.items()
    ]  # fmt: skip
    series.append(
        Series(x=depth, y=before, color=INK, marker="circle", width=2.0, rank=0, hover=words,
               label="benign" if after is not None else "this input")
    )  # fmt: skip
    if after is not None and attack is not None:
        series.append(
            Series(x=depth, y=after, color=paints([attack])[attack], rank=1, hover=words,
                   marker=markers([attack])[attack], width=2.2, label=attack_name(attack))
        )  # fmt: skip
    panel = Panel(
        title=f"Drift from {classes[0]} to {classes[1]}", x=DEPTH,
        y=Axis(label="drift", unit="bit"), series=tuple(series), marks=(ZERO,), height=1.1,
    )  # fmt: skip
    return FigureData(
        name="leaning",
        title=f"From which layer it reads {classes[1]}: {name}",
        caption=(
            f"Drift at each layer: flow towards {classes[1]} less flow towards {classes[0]}; above "
            f"0 the layer says more of {classes[1]}.{band} {count(1)}, interval: none."
        ),
        n=1,
        interval="none",
        panels=(panel,),
    )


def _draw(run: Run, cell: Cell, index: int) -> FigureData:
    data = run.exemplar(cell, index)
    drift = data["drift"].values
    there = np.isfinite(drift).all(axis=0)
    _, at = ends_of(data)
    controls = {
        str(c.control): run.exemplar(c, index)["drift"].values[at][there]
        for c in run.cells
        if c.model == cell.model and c.control_of == cell.attack and index in run.exemplars(c)
    }
    names = class_names(run, data)
    attacked = not cell.benign and at > 0
    others = _others(run, cell.model, index)
    return build(
        before=drift[0][there],
        after=drift[at][there] if attacked else None,
        controls=controls if attacked else {},
        others=others[:, there] if len(others) else others,
        taps=tuple(str(t) for t, k in zip(data["tap"].values, there, strict=True) if k),
        depth=data["depth"].values[there],
        classes=(names[int(data.attrs["label"])], names[int(data.attrs["rival"])]),
        attack=None if cell.benign else cell.attack,
        name=f"input {index} on {cell.model}" if cell.benign else input_name(cell, index),
    )


def _others(run: Run, model: str, index: int) -> np.ndarray:
    """Drift of the finished benign inputs that are read rightly, (other, tap)."""
    cell = Cell(model, BENIGN)
    if not (run.has("profiles", cell) and run.has("attacks", cell)):
        return np.empty((0, 0))
    data, ends = run.profiles(cell), run.attacks(cell)
    if "drift" not in data:
        return np.empty((0, 0))
    told = run.spec.get("data")
    first = told.get("first") if isinstance(told, dict) else None
    kept = data["finished"].values & ~ends["success"].values.astype(bool)
    kept &= ~np.isin(ends["index"].values, [index, *(first or ())])
    found: np.ndarray = data["drift"].values[kept]
    return found


FIGURE = of_recorded("leaning", build, _draw, "drift", "recorded inputs with drift")
