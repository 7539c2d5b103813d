"""How far estimators are off where the truth is known; made from a calibration, not from a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from undertow.errors import BadInput
from undertow.figures.data import Axis, FigureData, Mark, Panel, Series
from undertow.figures.palette import markers, paints
from undertow.figures.print_ink import save

__all__ = ["calibration", "write_calibration"]

Records = Sequence[Mapping[str, Any]]


def calibration(records: Records) -> FigureData:
    """Left: estimates of independent Gaussians; right: estimates against the truth.

    Args:
        records: lines of :func:`undertow.information.calibrate.calibrate`, as mappings.

    Raises:
        BadInput: if there are neither independent nor known pairs among them.
    """
    names = tuple(dict.fromkeys(str(r["estimator"]) for r in records))
    panels = tuple(
        panel for panel in (_independence(records, names), _truth(records, names)) if panel.series
    )
    if not panels:
        raise BadInput("nothing to draw: calibrate the parts 'independence' or 'truth'")
    repeats = min(int(r["repeats"]) for r in records)
    return FigureData(
        name="calibration",
        title="Estimators where the truth is known",
        caption=(
            "Left: mean estimate of independent Gaussians, which have 0 bit, against the number of "
            "positions. Right: mean estimate against the truth at the largest number of positions; "
            f"the dotted line is no error. n = {repeats} pairs or more a point; bars: ± one "
            "standard deviation over pairs."
        ),
        n=repeats,
        interval="± one standard deviation over pairs",
        panels=tuple(_placed(panel, column) for column, panel in enumerate(panels)),
    )


def _placed(panel: Panel, column: int) -> Panel:
    return Panel(
        title=panel.title,
        x=panel.x,
        y=panel.y,
        series=panel.series,
        marks=panel.marks,
        column=column,
    )


def _series(rows: Records, x: Sequence[float], name: str, names: tuple[str, ...]) -> Series:
    mean = np.array([r["mean"] for r in rows], dtype=float)
    std = np.array([r["std"] for r in rows], dtype=float)
    return Series(
        x=np.array(x), y=mean, low=mean - std, high=mean + std, bars=True, label=name, group=name,
        color=paints(names)[name], marker=markers(names)[name], line="solid",
    )  # fmt: skip


def _independence(records: Records, names: tuple[str, ...]) -> Panel:
    series = []
    for name in names:
        rows = [r for r in records if r["part"] == "independence" and r["estimator"] == name]
        rows.sort(key=lambda r: r["n"])
        if rows:
            series.append(_series(rows, [float(np.log2(r["n"])) for r in rows], name, names))
    counts = sorted({int(r["n"]) for r in records if r["part"] == "independence"})
    return Panel(
        title="Independent Gaussians",
        x=Axis(label="positions", ticks=tuple((float(np.log2(n)), str(n)) for n in counts)),
        y=Axis(label="estimate", unit="bit"),
        series=tuple(series),
        marks=(Mark(at=0.0, along="y"),),
    )


def _truth(records: Records, names: tuple[str, ...]) -> Panel:
    known = [r for r in records if r["part"] == "truth" and r["expected"]]
    most = max((int(r["n"]) for r in known), default=0)
    series = []
    for name in names:
        rows = [r for r in known if r["estimator"] == name and r["n"] == most]
        rows.sort(key=lambda r: r["truth"])
        if rows:
            series.append(_series(rows, [float(r["truth"]) for r in rows], name, names))
    ends = sorted({float(r["truth"]) for r in known})
    if ends:
        line = np.array([ends[0], ends[-1]])
        series.append(Series(x=line, y=line, label="truth", line="dotted", color="#000000"))
    return Panel(
        title=f"Known pairs, {most} positions",
        x=Axis(label="truth", unit="bit"),
        y=Axis(label="estimate", unit="bit"),
        series=tuple(series),
    )


def write_calibration(records: Records, path: Path) -> Path:
    """Draw :func:`calibration` into a file.

    Args:
        records: lines of a calibration.
        path: a ``.pdf``, ``.svg`` or ``.png`` file.
    """
    return save(calibration(records), path)
