"""The rest of the overview: other figures of whole cells, and the table of cells."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from dash import html

from undertow.errors import UndertowError
from undertow.figures import FIGURES, FigureData
from undertow.figures.plotly_ink import layout, traces
from undertow.prose import attack_name
from undertow.store import Cell
from undertow.viewer.parts import cell_name, figure, pick
from undertow.viewer.source import Source

__all__ = ["also", "cells_table", "clean", "message", "more_figures", "payload", "shorter"]

_ALSO: Final = (
    "solid_dashed", "transfer", "drift", "restoration", "change", "plane", "takeover",
)  # fmt: skip
"""Models that were crossed come first, where a run crossed any: that is what it was made for."""


def _choices(source: Source) -> list[tuple[str, dict[str, Any]]]:
    """Figures about whole cells that this run can draw."""
    found = []
    for name in _ALSO:
        try:
            found += [(name, dict(choice)) for choice in FIGURES[name].choices(source.run)]
        except Exception as error:  # a damaged array ends here, the other figures stay
            source.note(f"figure '{name}' cannot be drawn ({type(error).__name__})")
    return found


def _also_options(source: Source) -> list[dict[str, Any]]:
    words = {
        "change": "Attack or control",
        "drift": "Drift",
        "restoration": "Carriers",
        "plane": "Information plane",
        "takeover": "Takeover",
        "transfer": "Transfer",
        "solid_dashed": "Aimed here or elsewhere",
    }
    return [
        {
            "label": f"{words[name]} · {_choice_words(choice)}",
            "value": f"{name}:{i}",
        }
        for i, (name, choice) in enumerate(_choices_of(source))
    ]


def _choice_words(choice: dict[str, Any]) -> str:
    told = []
    for key, value in choice.items():
        if key == "subsets":
            told += ["by transfer"] if value else []
        else:
            told.append(attack_name(str(value)) if key == "attack" else str(value))
    return " · ".join(told)


def _choices_of(source: Source) -> list[tuple[str, dict[str, Any]]]:
    return source.once("also", lambda: _choices(source))


def also(source: Source, value: str | None) -> dict[str, Any]:
    """One of the other figures."""
    _, _, place = str(value).partition(":")
    choices = _choices_of(source)
    if not place.isdigit() or int(place) >= len(choices):
        return message("This run has nothing more to draw.")
    name, choice = choices[int(place)]
    try:
        return payload(FIGURES[name].from_run(source.run, **choice))
    except Exception as error:  # whatever a damaged array makes the reader raise
        return message(
            "This figure cannot be drawn: "
            f"{error if isinstance(error, UndertowError) else type(error).__name__}"
        )


def more_figures(source: Source, wanted: Any) -> list[Any]:
    """A choice of the other figures, and the first of them or the one wanted."""
    options = _also_options(source)
    if not options:
        return [html.P("Nothing more can be drawn yet.", className="quiet")]
    values = [o["value"] for o in options]
    value = wanted if wanted in values else values[0]
    return [
        html.Div(pick("ov-also", options, value, "Figure"), className="filters card"),
        figure("also", also(source, value)),
    ]


def cells_table(source: Source) -> html.Div:
    """What became of each cell, and how far it is."""
    head = ("model", "attack", "inputs", "success", "mean L2", "shards")
    rows = [
        html.Tr([html.Th(cell.model, scope="row"), *(html.Td(v) for v in _row(source, cell))])
        for cell in source.cells
    ]
    table = html.Table(
        [html.Thead(html.Tr([html.Th(h, scope="col") for h in head])), html.Tbody(rows)]
    )
    return html.Div(table, className="scroll card")


def _row(source: Source, cell: Cell) -> tuple[str, str, str, str, str]:
    state, ends = source.state(cell), source.ends(cell)
    name = cell_name(cell).partition(" · ")[0]
    if ends is None or not len(ends):
        return name, "0", "–", "–", f"{state.done} / {state.planned}"
    fooled = "–" if cell.benign else f"{100 * float(np.mean(ends.success)):.0f} %"
    if cell.control_of:
        fooled = f"{100 * float(np.mean(ends.fooled)):.0f} %"
    l2 = "–" if cell.benign else f"{float(np.nanmean(ends.l2)):.3g}"
    failed = f", {state.failed} failed" if state.failed else ""
    return name, str(len(ends)), fooled, l2, f"{state.done} / {state.planned}{failed}"


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
