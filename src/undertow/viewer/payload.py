"""Figures as the browser gets them: plotly's traces, and a layout for every width."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from undertow.figures import FigureData
from undertow.figures.plotly_ink import layout, traces

__all__ = ["clean", "message", "payload", "shorter"]

_TAGS: Final = re.compile(r"<(?!/?(?:b|i|sub|sup|extra)>|br/?>)", re.IGNORECASE)
"""Plotly reads a little HTML in every text, links among it; names of a run must not use that."""


def clean(value: Any) -> Any:
    """JSON without markup but plotly's own emphasis, and with finite numbers only."""
    if isinstance(value, str):
        return _TAGS.sub("&lt;", value) if not value.startswith("data:image/png;base64,") else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [clean(v) for v in value]
    return value


def shorter(data: FigureData, scale: float) -> FigureData:
    """The same figure with lower panels."""
    panels = tuple(replace(p, height=p.height * scale) for p in data.panels)
    return replace(data, panels=panels)


def payload(data: FigureData, **more: Any) -> dict[str, Any]:
    """A figure as JSON.

    Args:
        data: the figure.
        more: further entries for the browser.

    Returns:
        ``traces``; ``layouts``, one for each number of columns; ``name``, ``title``, ``caption``.
    """
    return {
        "name": data.name,
        "title": data.title,
        "caption": data.caption,
        "traces": clean(traces(data)),
        "layouts": {str(n): clean(layout(data, n)) for n in range(1, data.columns + 1)},
        **more,
    }


def message(text: str) -> dict[str, Any]:
    """In place of a figure: why there is none."""
    return {"message": text}
