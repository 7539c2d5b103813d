"""Figures for screens: :class:`FigureData` as a plotly figure.

Every panel has a pair of axes of its own, so the same traces can be laid out for a wide and for a
narrow screen (:func:`layout`).
"""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go

from undertow.figures.data import FigureData, Heat, Panel, Picture, Series
from undertow.figures.palette import DARK, DIVERGING, SEQUENTIAL, veil
from undertow.figures.plotly_layout import DASH, FONT, axis_pairs, bars, escape, layout

__all__ = ["FONT", "bars", "draw", "layout", "plotly_script", "repaint", "traces"]

_SYMBOL: Final = {
    "circle": "circle", "square": "square", "diamond": "diamond", "triangle": "triangle-up",
    "cross": "x", "down": "triangle-down", "star": "star", "hexagon": "hexagon",
}  # fmt: skip


def _faint(color: str, alpha: float) -> str:
    r, g, b = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({r},{g},{b},{alpha:g})"


def _floats(values: np.ndarray) -> list[float | None]:
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in values]


def _series(s: Series, place: dict[str, str]) -> list[dict[str, Any]]:
    group = escape(s.group or s.label)
    found: list[dict[str, Any]] = []
    common = {**place, "legendgroup": group, "type": "scatter"}
    if s.low is not None and s.high is not None and not s.bars:
        edge = {
            **common,
            "mode": "lines",
            "line": {"width": 0},
            "hoverinfo": "skip",
            "showlegend": False,
        }
        found.append({**edge, "meta": "low", "x": _floats(s.x), "y": _floats(s.low)})
        found.append(
            {
                **edge,
                "x": _floats(s.x),
                "y": _floats(s.high),
                "meta": "high",
                "fill": "tonexty",
                "fillcolor": _faint(s.color, veil(s.color)),
            }
        )
    mode = "+".join(m for m in ("lines" * (s.line != "none"), "markers" * bool(s.marker)) if m)
    trace = {
        **common,
        "x": _floats(s.x),
        "y": _floats(s.y),
        "mode": mode or "lines",
        "name": escape(s.label),
        "meta": "value",
        "showlegend": False,
        "opacity": s.opacity,
        "line": {"color": s.color, "width": s.width, "dash": DASH[s.line]},
    }
    if s.marker:
        symbol = _SYMBOL[s.marker] + ("-open" if s.hollow else "")
        trace["marker"] = {"symbol": symbol, "size": 6.5, "color": s.color}
    if s.hover:
        trace["text"] = [escape(words) for words in s.hover]
        trace["hovertemplate"] = "%{text}<br>%{y:.4g}<extra>%{fullData.name}</extra>"
    if s.bars and s.low is not None and s.high is not None:
        trace["error_y"] = {
            "type": "data", "symmetric": False, "array": _floats(s.high - s.y),
            "arrayminus": _floats(s.y - s.low), "color": s.color, "thickness": 1, "width": 3,
        }  # fmt: skip
    return [*found, trace]


def _heat(heat: Heat, panel: Panel, place: dict[str, str]) -> dict[str, Any]:
    colors = DIVERGING if heat.scale == "diverging" else SEQUENTIAL
    low, high = heat.limits
    trace = {
        **place,
        "type": "heatmap",
        "z": [_floats(row) for row in heat.z],
        "colorscale": [[i / (len(colors) - 1), c] for i, c in enumerate(colors)],
        "zmin": low,
        "zmax": high,
        "showscale": heat.bar,
        "colorbar": {
            "title": {"text": escape(heat.unit), "side": "top", "font": {"size": 11}},
            "thickness": 10,
            "outlinewidth": 0,
        },
        "hovertemplate": "%{y} · %{x}<br>%{z:.4g} " + heat.unit + "<extra></extra>",
    }
    # Named places may be some of the rows and columns only.
    rows, columns = heat.z.shape
    trace |= {"x": list(range(columns)), "y": list(range(rows))}
    if heat.text:
        trace["text"] = [[escape(w).replace("\n", "<br>") for w in row] for row in heat.text]
        trace["texttemplate"] = "%{text}"
    return trace


def _png(picture: Picture) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture.pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def traces(data: FigureData) -> list[dict[str, Any]]:
    """The traces of all panels, as plotly's JSON."""
    found: list[dict[str, Any]] = []
    for (nx, ny), panel in zip(axis_pairs(data), data.panels, strict=True):
        place = {"xaxis": f"x{nx}", "yaxis": f"y{ny}"}
        for s in panel.series:
            found += _series(s, place)
        if panel.heat is not None:
            found.append(_heat(panel.heat, panel, place))
        if panel.picture is not None:
            found.append(
                {**place, "type": "image", "source": _png(panel.picture), "hoverinfo": "skip"}
            )
    for group, s in data.legend().items():  # nothing but an entry of the legend
        key = replace(
            s,
            x=np.array([np.nan]),
            y=np.array([np.nan]),
            low=None,
            high=None,
            hover=(),
            group=group,
        )
        found += [
            t | {"showlegend": True, "hoverinfo": "skip"}
            for t in _series(key, {"xaxis": "x", "yaxis": "y"})
        ]
    return found


def repaint(value: Any, twins: dict[str, str] = DARK) -> Any:
    """Plotly's JSON with every colour exchanged for its twin (bands included)."""
    if isinstance(value, dict):
        return {k: repaint(v, twins) for k, v in value.items()}
    if isinstance(value, list):
        return [repaint(v, twins) for v in value]
    if isinstance(value, str) and value.startswith("rgba("):
        *rgb, alpha = value[5:-1].split(",")
        color = "#" + "".join(f"{int(v):02x}" for v in rgb)
        return _faint(twins[color], float(alpha)) if color in twins else value
    return twins.get(value, value) if isinstance(value, str) else value


def draw(data: FigureData, *, theme: str = "light", columns: int | None = None) -> go.Figure:
    """The figure for a screen.

    Args:
        data: what to draw.
        theme: ``light`` or ``dark``.
        columns: the most columns there is room for.
    """
    raw: dict[str, Any] = {"data": traces(data), "layout": layout(data, columns)}
    for i, bar in bars(raw["data"], raw["layout"]).items():
        raw["data"][i]["colorbar"] |= bar
    return go.Figure(repaint(raw) if theme == "dark" else raw)


_PART: Final = Path(__file__).parent / "vendor" / "plotly-cartesian.min.js"


def plotly_script() -> Path:
    """The part of plotly.js that the figures need, else the whole of it."""
    whole = Path(str(files("plotly"))) / "package_data" / "plotly.min.js"
    return _PART if _PART.is_file() else whole
