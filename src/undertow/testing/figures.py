"""The contract of a figure, as checks that any figure can be put through.

``for check in CONTRACT: check(data)`` with a :class:`FigureData`; each raises ``AssertionError``
with what was broken. Every entry of the figure registry is put through all of them in this
project's tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from undertow.figures import Axis, FigureData
from undertow.figures.palette import DARK, DIVERGING, SEQUENTIAL
from undertow.figures.plotly_ink import draw, layout, repaint, traces
from undertow.figures.print_ink import pixels, render
from undertow.figures.wording import count

__all__ = ["CONTRACT"]

_HEX = re.compile(r"#[0-9a-fA-F]{6}")


def _axes(data: FigureData) -> list[tuple[str, Axis]]:
    return [
        (p.title, a) for p in data.panels if p.picture is None for a in (p.x, p.y) if a is not None
    ]


def units_on_every_axis(data: FigureData) -> None:
    """Every axis says its unit, or names its places; every colour bar says its unit."""
    for panel in data.panels:
        if panel.picture is None:
            assert panel.x is not None, f"{panel.title}: no horizontal axis"
            assert panel.y is not None, f"{panel.title}: no vertical axis"
        if panel.heat is not None:
            assert panel.heat.unit, f"{panel.title}: the colours have no unit"
    for title, axis in _axes(data):
        assert axis.unit or axis.ticks, f"{title}: axis '{axis.label}' has no unit"


def caption_says_n_and_interval(data: FigureData) -> None:
    """The caption tells how many inputs, and what bands and bars are."""
    assert count(data.n).split(" input")[0] in data.caption, f"no n in: {data.caption}"
    assert data.interval in data.caption, f"no '{data.interval}' in: {data.caption}"
    drawn = any(s.low is not None for p in data.panels for s in p.series)
    assert not drawn or data.interval != "none", "bands are drawn, but not explained"
    assert data.title, "no title"


def colors_come_from_the_palette(data: FigureData) -> None:
    """Every colour has a twin for dark screens; benign is black."""
    for panel in data.panels:
        for s in panel.series:
            assert s.color in DARK, f"{panel.title}: {s.color} is not in the palette"
            if s.label.split(" (n")[0] == "benign":
                assert s.color == "#000000", f"{panel.title}: benign is {s.color}"
        for mark in panel.marks:
            assert mark.color in DARK, f"{panel.title}: {mark.color} is not in the palette"


def curves_can_be_told_apart_without_colour(data: FigureData) -> None:
    """No two entries of the legend share line and marker."""
    looks = [(s.line, s.marker, s.hollow, s.color) for s in data.legend().values()]
    assert len(set(looks)) == len(looks), f"two curves look the same: {looks}"
    bare = [(s.line, s.marker, s.hollow) for s in data.legend().values() if s.marker]
    if data.name not in (
        "solid_dashed",
        "trajectory",
    ):  # there the colour says which model, or step
        assert len(set(bare)) == len(bare), f"two curves differ in colour only: {bare}"


def plotly_draws_it(data: FigureData) -> None:
    """It draws on wide and narrow screens, all its numbers are there, and JSON can hold it."""
    drawn = traces(data)
    json.dumps(drawn, allow_nan=False)
    lines = [
        t
        for t in drawn
        if t["type"] == "scatter" and t.get("meta") == "value" and not t["showlegend"]
    ]
    assert len(lines) == sum(len(p.series) for p in data.panels)
    for trace, series in zip(lines, (s for p in data.panels for s in p.series), strict=True):
        got = np.array([np.nan if v is None else v for v in trace["y"]])
        np.testing.assert_allclose(got, series.y, rtol=1e-5, err_msg=series.label)
    for columns in (None, 1):
        _inside(layout(data, columns))
        draw(data, theme="dark", columns=columns)


def _inside(laid: dict[str, Any]) -> None:
    boxes = []
    for name, axis in laid.items():
        if name.startswith("xaxis"):
            low, high = axis["domain"]
            down, up = laid["yaxis" + name.removeprefix("xaxis")]["domain"]
            assert 0 <= low < high <= 1, f"{name} lies outside"
            assert 0 <= down < up <= 1, f"y of {name} lies outside"
            boxes.append((low, high, down, up))
    for i, (a, b, c, d) in enumerate(boxes):
        for e, f, g, h in boxes[:i]:
            assert min(b, f) <= max(a, e) + 1e-9 or min(d, h) <= max(c, g) + 1e-9, "panels overlap"


def dark_twins_replace_every_colour(data: FigureData) -> None:
    """On a dark screen no colour of the light one is left, but those of heat maps."""
    kept = {c.lower() for c in (*DIVERGING, *SEQUENTIAL)}
    text = json.dumps(repaint({"data": traces(data), "layout": layout(data)}))
    left = {c.lower() for c in _HEX.findall(text)} - kept - set(DARK.values())
    assert not left, f"not exchanged: {sorted(left)}"


def print_draws_it(data: FigureData) -> None:
    """It draws as PDF, SVG and pixels; the same data give the same bytes."""
    assert render(data, "pdf").startswith(b"%PDF")
    drawn = render(data, "svg")
    assert drawn.startswith(b"<?xml")
    assert drawn == render(data, "svg"), "two drawings of the same data differ"
    picture = pixels(data, 500)
    assert picture.shape[1] == 500
    assert picture.std() > 5, "the picture is blank"


def numbers_can_be_downloaded(data: FigureData) -> None:
    """The tidy table has a row for every point."""
    points = sum(len(s.x) for p in data.panels for s in p.series)
    points += sum(p.heat.z.size for p in data.panels if p.heat is not None)
    assert len(data.tidy()) == points


CONTRACT: Final[tuple[Callable[[FigureData], None], ...]] = (
    units_on_every_axis,
    caption_says_n_and_interval,
    colors_come_from_the_palette,
    curves_can_be_told_apart_without_colour,
    plotly_draws_it,
    dark_twins_replace_every_colour,
    print_draws_it,
    numbers_can_be_downloaded,
)
