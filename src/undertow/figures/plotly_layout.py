"""Where the pieces of a figure lie on a screen: plotly's layout, for any number of columns."""

from __future__ import annotations

from textwrap import wrap
from typing import Any, Final

import numpy as np

from undertow.figures.data import Axis, FigureData, Mark, Panel
from undertow.figures.palette import GRID, INK

__all__ = ["DASH", "FONT", "axis_pairs", "bars", "escape", "layout"]

FONT: Final = "Inter, 'Helvetica Neue', 'Segoe UI', Roboto, 'Noto Sans', Arial, sans-serif"
DASH: Final = {"solid": "solid", "dashed": "6px 4px", "dotted": "2px 3px", "none": "solid"}
_ROW: Final = 300  # pixels of a panel of height 1
_GAP: Final = 92  # pixels between rows: tick labels, axis title, panel title
_TOP: Final = 34
_TICKS: Final = 7  # at most so many numbers along an axis
_LEGEND: Final = 24  # pixels a line of the legend
_NOTE: Final = 15  # pixels a line of a note
_NOTE_WIDTH: Final = 56  # letters of a note a column

Place = tuple[int, int, int]
"""Row, column and span of a panel."""


def escape(text: str) -> str:
    """Words as plotly shows them: it reads a little markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def axis_pairs(data: FigureData) -> list[tuple[str, str]]:
    """The numbers of each panel's axes, as plotly counts them."""
    return [("", "") if i == 0 else (str(i + 1), str(i + 1)) for i in range(len(data.panels))]


def _axis(axis: Axis | None, panel: Panel) -> dict[str, Any]:
    if axis is None or panel.picture is not None:
        return {"visible": False, "showgrid": False, "zeroline": False}
    found: dict[str, Any] = {
        "title": {"text": escape(axis.title), "standoff": 6, "font": {"size": 12}},
        "gridcolor": GRID, "showgrid": panel.heat is None, "zeroline": False, "automargin": True,
        "linecolor": INK, "linewidth": 1, "showline": panel.heat is None, "ticks": "outside",
        "ticklen": 4, "tickcolor": INK, "tickfont": {"size": 11}, "nticks": _TICKS,
    }  # fmt: skip
    if axis.low is not None and axis.high is not None:
        found["range"] = [axis.low, axis.high]
    if axis.ticks:
        found |= {
            "tickvals": [t for t, _ in axis.ticks],
            "ticktext": [escape(w) for _, w in axis.ticks],
        }
    if axis.integer:
        # Left alone, plotly puts several ticks between neighbours and rounds their words.
        found |= {"tickformat": "d"} | ({"dtick": 1} if _span(panel) < _TICKS else {})
    return found


def _span(panel: Panel) -> float:
    """How far apart the places of a panel's series are; the longer side of a heat map."""
    if panel.heat is not None:
        return float(max(panel.heat.z.shape))
    places = [x for x in (s.x[np.isfinite(s.x)] for s in panel.series) if x.size]
    return max((float(np.ptp(x)) for x in places), default=0.0)


def _places(data: FigureData, columns: int | None) -> list[Place]:
    """Row, column and span of each panel on a screen with room for so many columns."""
    if columns is None or columns >= data.columns:
        return [(p.row, p.column, p.span) for p in data.panels]
    if columns == 1:
        return [(i, 0, 1) for i in range(len(data.panels))]
    return [(i // columns, i % columns, 1) for i in range(len(data.panels))]


def _frame(height: float, bottom: int, *, legend: bool) -> dict[str, Any]:
    place = {"yref": "container", "y": 0, "yanchor": "bottom", "x": 0.5, "xanchor": "center"}
    return {
        "height": round(height + _TOP + bottom),
        "margin": {"l": 58, "r": 18, "t": _TOP, "b": bottom, "pad": 0},
        "font": {"family": FONT, "size": 12, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": legend,
        "hovermode": "closest",
        "legend": {"orientation": "h", "font": {"size": 12}, "itemwidth": 36, **place},
        "annotations": [],
        "shapes": [],
    }


def _pair(panel: Panel, box: tuple[float, float, float, float], pair: tuple[str, str]) -> Any:
    """Both axes of a panel inside its box (left, right, bottom, top)."""
    left, right, bottom, top = box
    if panel.heat is not None and panel.heat.bar:
        right -= 0.1 * (right - left)
    x = _axis(panel.x, panel) | {"domain": [left, right], "anchor": f"y{pair[1]}"}
    y = _axis(panel.y, panel) | {"domain": [bottom, top], "anchor": f"x{pair[0]}"}
    if panel.heat is not None or panel.picture is not None:
        y["autorange"] = "reversed"
        y.pop("range", None)
    if panel.picture is not None:
        y |= {"scaleanchor": f"x{pair[0]}", "constrain": "domain"}
        x |= {"constrain": "domain"}
        y["constraintoward"] = "top"
    return x, y


def _title(panel: Panel, left: float, top: float) -> dict[str, Any]:
    place = {"xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom", "yshift": 8}
    words = {"text": f"<b>{escape(panel.title)}</b>", "showarrow": False, "font": {"size": 13}}
    return {**words, **place, "x": left, "y": top}


def _notes(lines: list[str]) -> dict[str, Any]:
    """Warnings beneath the panels, above the legend."""
    place = {"xref": "paper", "yref": "paper", "x": 0, "y": 0, "xanchor": "left", "yanchor": "top"}
    words = "<br>".join(escape(line) for line in lines)
    return {**place, "text": words, "align": "left", "showarrow": False, "yshift": -42,
            "font": {"size": 10.5}}  # fmt: skip


def layout(data: FigureData, columns: int | None = None) -> dict[str, Any]:
    """Where everything lies.

    Args:
        data: the figure.
        columns: the most columns there is room for; ``None``: as the figure says.
    """
    places = _places(data, columns)
    wide = max(c + s for _, c, s in places)
    heights = [0.0] * (max(r for r, _, _ in places) + 1)
    for (r, _, _), panel in zip(places, data.panels, strict=True):
        heights[r] = max(heights[r], panel.height * _ROW)
    inner = sum(heights) + _GAP * (len(heights) - 1)
    lines = -(-len(data.legend()) // (2 if columns == 1 else max(4, 2 * wide)))
    notes = [line for note in data.notes for line in wrap(note, _NOTE_WIDTH * wide)]
    below = 44 + _NOTE * len(notes)
    found = _frame(inner, below + _LEGEND * lines, legend=lines > 0)
    if notes:
        found["annotations"].append(_notes(notes))
    gutter = 0.0 if wide == 1 else 0.085 if wide == 2 else 0.075
    each = (1 - gutter * (wide - 1)) / wide
    for pair, panel, (row, column, span) in zip(axis_pairs(data), data.panels, places, strict=True):
        left = column * (each + gutter)
        right = min(1.0, left + each * span + gutter * (span - 1))
        top = 1 - (sum(heights[:row]) + _GAP * row) / inner
        box = (left, right, max(0.0, top - panel.height * _ROW / inner), top)
        found[f"xaxis{pair[0]}"], found[f"yaxis{pair[1]}"] = _pair(panel, box, pair)
        found["annotations"].append(_title(panel, left, top))
        for mark in panel.marks:
            _mark(found, mark, pair, "above" if panel.heat is not None else "below")
    return found


def _mark(found: dict[str, Any], mark: Mark, pair: tuple[str, str], layer: str) -> None:
    upright = mark.along == "x"
    axes = {
        "xref": f"x{pair[0]}" if upright else f"x{pair[0]} domain",
        "yref": f"y{pair[1]} domain" if upright else f"y{pair[1]}",
    }
    x, y = ((mark.at, mark.at), (0, 1)) if upright else ((0, 1), (mark.at, mark.at))
    line = {"color": mark.color, "width": 1, "dash": DASH[mark.line]}
    ends = {"x0": x[0], "x1": x[1], "y0": y[0], "y1": y[1]}
    found["shapes"].append({"type": "line", "line": line, "layer": layer, **axes, **ends})
    if mark.label:
        anchors = (
            {"xanchor": "left", "yanchor": "top"}
            if upright
            else {"xanchor": "right", "yanchor": "bottom"}
        )
        words = {"text": escape(mark.label), "font": {"size": 11, "color": mark.color}}
        found["annotations"].append(
            {**words, "showarrow": False, **axes, **anchors, "x": x[1], "y": y[1]}
        )


def bars(drawn: list[dict[str, Any]], laid: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Where the colour bar of each trace lies: beside its own panel."""
    found = {}
    for i, trace in enumerate(drawn):
        if trace["type"] == "heatmap":
            x = laid["xaxis" + trace["xaxis"][1:]]["domain"]
            y = laid["yaxis" + trace["yaxis"][1:]]["domain"]
            found[i] = {
                "x": x[1] + 0.005,
                "xanchor": "left",
                "y": (y[0] + y[1]) / 2,
                "len": y[1] - y[0],
            }
    return found
