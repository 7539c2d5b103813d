"""A figure as data: what is drawn, in which units, over how many inputs. The inks draw it.

A figure is a grid of panels; a panel holds lines with bands, or a heat map, or a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias, cast

import numpy as np

from undertow.errors import BadInput
from undertow.loading import load_object
from undertow.store import Run

__all__ = [
    "Axis",
    "Figure",
    "FigureData",
    "Heat",
    "Line",
    "Mark",
    "Marker",
    "Panel",
    "Picture",
    "Series",
]

INKS: Final = ("undertow.figures.plotly_ink:draw", "undertow.figures.print_ink:render")
"""For the screen and for print; imported when a figure shows itself."""

Line: TypeAlias = Literal["solid", "dashed", "dotted", "none"]
Marker: TypeAlias = Literal[
    "", "circle", "square", "diamond", "triangle", "cross", "down", "star", "hexagon"
]


def _frozen(values: Any) -> np.ndarray:
    array = np.array(values, dtype=float)
    array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis of a panel.

    Args:
        label: what it shows.
        unit: in which unit; empty only where ``ticks`` name things.
        low: first value shown; ``None``: as the data are.
        high: last value shown.
        ticks: named places (value, words), instead of numbers.
        integer: whether only whole numbers make sense.
    """

    label: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    ticks: tuple[tuple[float, str], ...] = ()
    integer: bool = False

    @property
    def title(self) -> str:
        """Label and unit, as printed beside the axis."""
        return (
            f"{self.label} ({self.unit})" if self.unit and self.unit != self.label else self.label
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """A line, with markers and a band or error bars.

    Args:
        x: places, ascending or not.
        y: values; NaN leaves a gap.
        low: lower end of the interval, like ``y``; ``None``: no interval.
        high: upper end.
        label: its name in the legend.
        group: series of one group share a legend entry and are switched together.
        color: ``#rrggbb`` out of :mod:`undertow.figures.palette`.
        line: how it is drawn.
        marker: drawn at every point; empty: none.
        hollow: whether markers are outlines.
        bars: whether the interval is drawn as error bars, else as a band.
        width: of the line, in points.
        opacity: 0 to 1.
        legend: whether the legend names it.
        hover: words for each point.
        rank: its place in the legend; equal ranks stand in the order of drawing.
    """

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    label: str = ""
    group: str = ""
    color: str = "#000000"
    line: Line = "solid"
    marker: Marker = ""
    hollow: bool = False
    bars: bool = False
    width: float = 1.6
    opacity: float = 1.0
    legend: bool = True
    hover: tuple[str, ...] = ()
    rank: int = 0

    def __post_init__(self) -> None:
        for name in ("x", "y", "low", "high"):
            values = getattr(self, name)
            if values is not None:
                object.__setattr__(self, name, _frozen(values))
        sizes = {
            n: getattr(self, n).shape
            for n in ("x", "y", "low", "high")
            if getattr(self, n) is not None
        }
        if len(set(sizes.values())) != 1 or len(self.x.shape) != 1:
            raise BadInput(f"series '{self.label}': x, y and interval have shapes {sizes}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heat:
    """A matrix drawn in colours; row 0 at the top.

    Args:
        z: (row, col); NaN stays empty.
        unit: of ``z``.
        scale: ``sequential`` from ``low`` to ``high``, or ``diverging`` about 0.
        low: value of the first colour; ``None``: as the data are.
        high: value of the last colour.
        text: words written into each field, row by row.
        bar: whether a colour bar is drawn.
    """

    z: np.ndarray
    unit: str
    scale: Literal["sequential", "diverging"] = "sequential"
    low: float | None = None
    high: float | None = None
    text: tuple[tuple[str, ...], ...] = ()
    bar: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "z", _frozen(self.z))
        if self.z.ndim != 2:
            raise BadInput(f"a heat map needs a matrix, got shape {self.z.shape}")

    @property
    def limits(self) -> tuple[float, float]:
        """Values of the first and last colour."""
        finite = self.z[np.isfinite(self.z)]
        least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        low = least if self.low is None else self.low
        high = most if self.high is None else self.high
        if self.scale == "diverging":
            high = max(abs(low), abs(high))
            low = -high
        return (low, high) if high > low else (low, low + 1.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """An image, uint8 (row, col, 3)."""

    pixels: np.ndarray

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.dtype != np.uint8:
            raise BadInput(
                f"a picture is uint8 (row, col, 3), got {self.pixels.dtype} {self.pixels.shape}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A straight line across a panel, at one value of x or y, with a word beside it."""

    at: float
    along: Literal["x", "y"] = "x"
    label: str = ""
    color: str = "#000000"
    line: Line = "dotted"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One panel and its place in the grid."""

    title: str
    x: Axis | None = None
    y: Axis | None = None
    series: tuple[Series, ...] = ()
    heat: Heat | None = None
    picture: Picture | None = None
    marks: tuple[Mark, ...] = ()
    row: int = 0
    column: int = 0
    span: int = 1
    height: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FigureData:
    """A whole figure.

    Args:
        name: the registry key of the figure.
        title: one line.
        caption: what is seen, in full sentences, with ``n`` and ``interval`` in them.
        n: inputs behind it.
        interval: what bands and bars are, e.g. ``"95 % interval of the mean"``, or ``"none"``.
        panels: from left to right, from top to bottom.
        notes: warnings that must stay with the figure wherever it goes: drawn beneath it.
    """

    name: str
    title: str
    caption: str
    n: int
    interval: str
    panels: tuple[Panel, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.panels:
            raise BadInput(f"figure '{self.name}' has nothing to draw")

    def legend(self) -> dict[str, Series]:
        """One series for each entry of the legend, showing line and marker of its whole group."""
        found: dict[str, Series] = {}
        for s in (s for p in self.panels for s in p.series):
            group, had = s.group or s.label, found.get(s.group or s.label)
            if had is None and s.legend and s.label:
                found[group] = s
            elif had is not None and s.marker and not had.marker:
                found[group] = replace(had, marker=s.marker, hollow=s.hollow)
        ranked = sorted(found.items(), key=lambda entry: entry[1].rank)
        return dict(ranked) if len(found) > 1 else {}

    @property
    def columns(self) -> int:
        """Columns of the grid."""
        return max(p.column + p.span for p in self.panels)

    @property
    def rows(self) -> int:
        """Rows of the grid."""
        return max(p.row for p in self.panels) + 1

    def tidy(self) -> list[dict[str, Any]]:
        """The numbers of every line and matrix, one record a point: what a download holds."""
        records: list[dict[str, Any]] = []
        for panel in self.panels:
            for s in panel.series:
                records += [
                    {
                        "panel": panel.title,
                        "series": s.label,
                        "x": float(s.x[i]),
                        "y": float(s.y[i]),
                        "low": None if s.low is None else float(s.low[i]),
                        "high": None if s.high is None else float(s.high[i]),
                    }
                    for i in range(len(s.x))
                ]
            if panel.heat is not None:
                records += [
                    {"panel": panel.title, "series": "", "x": c, "y": r, "value": float(v)}
                    for (r, c), v in np.ndenumerate(panel.heat.z)
                ]
        return records

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """Interactive where a notebook can draw plotly, else the printed figure; no network."""
        draw, render = (cast(Callable[..., Any], load_object(ink)) for ink in INKS)
        return {
            "application/vnd.plotly.v1+json": draw(self).to_plotly_json(),
            "image/svg+xml": render(self, "svg").decode(),
            "text/plain": f"{self.title}\n{self.caption}",
        }


@dataclass(frozen=True, slots=True)
class Figure:
    """An entry of the registry.

    Args:
        name: its key.
        build: from plain arrays.
        from_run: from a stored run; every argument after the run has a default.
        choices: the arguments under which ``from_run`` can draw this run; empty where it cannot.
    """

    name: str
    build: Callable[..., FigureData]
    from_run: Callable[..., FigureData]
    choices: Callable[[Run], tuple[Mapping[str, Any], ...]] = field(default=lambda run: ())
