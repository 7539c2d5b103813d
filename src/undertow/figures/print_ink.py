"""Figures for print: :class:`FigureData` as a matplotlib figure (PDF, SVG, PNG)."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator

from undertow.errors import BadInput, of_kind
from undertow.figures.data import Axis, FigureData, Heat, Panel, Series
from undertow.figures.palette import DIVERGING, GRID, INK, SEQUENTIAL, veil

__all__ = ["FORMATS", "pixels", "render", "save", "to_print"]

FORMATS: Final = ("pdf", "svg", "png")
_DASH: Final = {"solid": "-", "dashed": (0, (5, 2.4)), "dotted": (0, (1.4, 1.8)), "none": ""}
_SYMBOL: Final = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle": "^",
    "cross": "X",
    "down": "v",
    "star": "*",
    "hexagon": "h",
}
_STYLE: Final = {
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.5,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "font.family": "DejaVu Sans",
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "undertow",
    "axes.edgecolor": INK,
    "text.color": INK,
    "axes.unicode_minus": True,
    "text.usetex": False,
    "text.parse_math": False,
    "figure.dpi": 100,
}
_COLUMN: Final = 2.35  # inches of a panel's width
_ROW: Final = 2.05


def _style(s: Series) -> dict[str, Any]:
    return {
        "color": s.color,
        "linestyle": _DASH[s.line],
        "linewidth": s.width * 0.75,
        "alpha": s.opacity,
        "marker": _SYMBOL.get(s.marker, ""),
        "markersize": 3.4,
        "markeredgewidth": 0.8,
        "markerfacecolor": "none" if s.hollow else s.color,
    }


def _series(ax: Any, s: Series) -> None:
    if s.low is not None and s.high is not None:
        if s.bars:
            reach = np.clip(np.stack([s.y - s.low, s.high - s.y]), 0, None)
            ax.errorbar(s.x, s.y, reach, fmt="none", ecolor=s.color, elinewidth=0.7, capsize=1.6)
        else:
            ax.fill_between(s.x, s.low, s.high, color=s.color, alpha=veil(s.color), linewidth=0)
    ax.plot(s.x, s.y, **_style(s))


def _legend(figure: Figure, legend: dict[str, Series], columns: int, place: str) -> None:
    lines = [Line2D([], [], **_style(s)) for s in legend.values()]
    figure.legend(
        lines,
        [s.label for s in legend.values()],
        loc=place,
        ncols=columns,
        frameon=False,
        handlelength=2.6,
        columnspacing=1.4,
    )


def _heat(figure: Figure, ax: Any, heat: Heat) -> None:
    colors = DIVERGING if heat.scale == "diverging" else SEQUENTIAL
    low, high = heat.limits
    image = ax.imshow(
        heat.z, aspect="auto", interpolation="nearest", vmin=low, vmax=high,
        cmap=LinearSegmentedColormap.from_list("undertow", list(colors)),
    )  # fmt: skip
    for r, row in enumerate(heat.text):
        for c, words in enumerate(row):
            deep = abs(heat.z[r, c] - (0 if heat.scale == "diverging" else low)) > 0.55 * (
                high - low
            )
            ax.text(c, r, words, ha="center", va="center", fontsize=7,
                    color="white" if deep else INK)  # fmt: skip
    if heat.bar:
        bar = figure.colorbar(image, ax=ax, fraction=0.05, pad=0.02)
        bar.set_label(heat.unit)
        bar.outline.set_visible(False)


def _axis(axis: Any, wanted: Axis | None, limits: Any, *, heat: bool) -> None:
    if wanted is None:
        return
    axis.set_label_text(wanted.title)
    if wanted.low is not None and wanted.high is not None and not heat:
        limits(wanted.low, wanted.high)
    if wanted.ticks:
        axis.set_major_locator(FixedLocator([t for t, _ in wanted.ticks]))
        axis.set_ticklabels([w for _, w in wanted.ticks])
    else:
        axis.set_major_locator(MaxNLocator(5, integer=wanted.integer))


def _panel(figure: Figure, ax: Any, panel: Panel, width: float) -> None:
    ax.set_title(
        textwrap.fill(panel.title, max(12, int(width / 0.078))), loc="left", fontweight="bold"
    )
    if panel.picture is not None:
        ax.imshow(panel.picture.pixels, interpolation="nearest")
        ax.set_axis_off()
        return
    for s in panel.series:
        _series(ax, s)
    if panel.heat is not None:
        _heat(figure, ax, panel.heat)
    else:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(color=GRID, linewidth=0.5)
        ax.set_axisbelow(True)
    for mark in panel.marks:
        line_at, style = (ax.axvline, "x") if mark.along == "x" else (ax.axhline, "y")
        line_at(
            mark.at,
            color=mark.color,
            linewidth=0.8,
            linestyle=_DASH[mark.line],
            zorder=3 if panel.heat is not None else 1,
        )
        if mark.label and style == "x":
            ax.annotate(
                mark.label,
                (mark.at, 1),
                xycoords=("data", "axes fraction"),
                xytext=(2, -2),
                textcoords="offset points",
                va="top",
                fontsize=7,
                color=mark.color,
            )
        elif mark.label:
            ax.annotate(
                mark.label,
                (1, mark.at),
                xycoords=("axes fraction", "data"),
                xytext=(-2, 2),
                textcoords="offset points",
                ha="right",
                fontsize=7,
                color=mark.color,
            )
    _axis(ax.xaxis, panel.x, ax.set_xlim, heat=panel.heat is not None)
    _axis(ax.yaxis, panel.y, ax.set_ylim, heat=panel.heat is not None)


def to_print(data: FigureData, *, width: float | None = None) -> Figure:
    """The figure for print.

    Args:
        data: what to draw.
        width: inches; ``None``: as wide as its columns need, 7 at most (two columns of a paper).
    """
    with mpl.rc_context(_STYLE):
        rows = [
            max((p.height for p in data.panels if p.row == r), default=1.0)
            for r in range(data.rows)
        ]
        wide = width or min(7.0, max(3.4, _COLUMN * data.columns))
        legend = data.legend()
        longest = max((len(s.label) for s in legend.values()), default=1)
        columns = max(1, min(len(legend), int(wide / (0.55 + 0.066 * longest))))
        notes = [line for note in data.notes for line in textwrap.wrap(note, int(wide / 0.043))]
        high = sum(rows) * _ROW + 0.3 + 0.18 * -(-len(legend) // columns) + 0.1 * len(notes)
        figure = Figure(figsize=(wide, high), layout="constrained", facecolor="white")
        grid = figure.add_gridspec(data.rows, data.columns, height_ratios=rows)
        for panel in data.panels:
            ax = figure.add_subplot(grid[panel.row, panel.column : panel.column + panel.span])
            _panel(figure, ax, panel, wide / data.columns * panel.span)
        if legend:
            # Notes lie beneath the panels, where else the legend would be.
            _legend(figure, legend, columns, f"outside {'upper' if notes else 'lower'} center")
        if notes:
            figure.supxlabel("\n".join(notes), x=0.01, ha="left", fontsize=5.8, linespacing=1.25)
        return figure


def render(data: FigureData, format: str = "svg", *, width: float | None = None) -> bytes:  # noqa: A002 - as everywhere
    """The printed figure as a file's content; the same data give the same bytes.

    Args:
        data: what to draw.
        format: ``pdf``, ``svg`` or ``png`` (300 dots an inch).
        width: inches.

    Raises:
        BadInput: for another format.
    """
    if format not in FORMATS:
        raise BadInput(f"unknown figure format '{format}' (allowed: {', '.join(FORMATS)})")
    figure = to_print(data, width=width)
    buffer = io.BytesIO()
    dated: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[
        format
    ]
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format=format, dpi=300, metadata={"Title": data.title, **dated})
    return buffer.getvalue()


def pixels(data: FigureData, width: int) -> np.ndarray:
    """The printed figure as uint8 (row, col, 3), ``width`` pixels wide."""
    with mpl.rc_context(_STYLE):
        figure = to_print(data)
        figure.set_dpi(width / figure.get_figwidth())
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        drawn: np.ndarray = np.asarray(canvas.buffer_rgba())[..., :3]
        return drawn


def save(data: FigureData, path: str | Path) -> Path:
    """Write the printed figure; the ending names the format.

    Raises:
        BadInput: for an ending that is none of :data:`FORMATS`.
    """
    of_kind(path, (str, Path), "the path", "a file ending in .pdf, .svg or .png")
    path = Path(path)
    path.write_bytes(render(data, path.suffix.lstrip(".").lower()))
    return path
