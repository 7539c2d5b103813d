"""Compare: two cells, of one run or of two, and what differs between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from dash import Dash, Input, Output, dcc, html

from undertow.errors import UndertowError
from undertow.store import Cell
from undertow.viewer.difference import Side, figure_of
from undertow.viewer.parts import Query, cell_name, empty, field, figure, on, pick, segments
from undertow.viewer.rest import message, payload
from undertow.viewer.selection import Which
from undertow.viewer.source import Source

__all__ = ["connect", "view"]

_PARTS: Final = {"net": "Net", "raw": "Raw", "null": "Null"}


def _sources(source: Source) -> tuple[Source, ...]:
    return (source, *source.beside)


def _sides(source: Source) -> dict[str, Side]:
    """All cells with profiles, of all runs that are open."""
    found = {}
    several = bool(source.beside)
    for place, one in enumerate(_sources(source)):
        for cell in one.cells:
            if one.has("profiles", cell):
                name = cell_name(cell) + (f" · {one.name}" if several else "")
                found[f"{place}:{cell.slug}"] = Side(one, cell, name)
    return found


def _first(sides: dict[str, Side]) -> tuple[str, str]:
    """At first: an attack against the same model's benign inputs."""
    keys = list(sides)
    attacks = [k for k in keys if not sides[k].cell.benign and sides[k].cell.control_of is None]
    a = attacks[0] if attacks else keys[0]
    home = Cell(sides[a].cell.model, "benign")
    b = next(
        (k for k in keys if sides[k].cell == home and k.partition(":")[0] == a.partition(":")[0]),
        keys[-1],
    )
    return a, b


def view(source: Source, query: Query) -> list[Any]:
    """The whole view."""
    sides = _sides(source)
    if not sides:
        return [empty("Nothing to compare", "No cell of this run has profiles yet.")]
    first = _first(sides)
    a, b = (
        query.one(name, list(sides), default) for name, default in zip("ab", first, strict=True)
    )
    part = query.one("part", list(_PARTS), "net")
    classes = query.many("class", range(len(source.classes))) or []
    options = [{"label": s.name, "value": k} for k, s in sides.items()]
    which = Which(part=part, classes=tuple(classes))
    names = [{"label": n, "value": i} for i, n in enumerate(source.classes)]
    return [
        html.Section(
            [
                html.Div(
                    [
                        pick("co-a", options, a, "First"),
                        pick("co-b", options, b, "Second"),
                        segments(
                            "co-part",
                            [{"label": w, "value": v} for v, w in _PARTS.items()],
                            part,
                            "Bits",
                        ),
                        field(
                            "True class",
                            dcc.Dropdown(
                                id="co-class",
                                options=names,
                                value=classes,
                                multi=True,
                                placeholder="all",
                            ),
                        ),
                    ],
                    className="filters card",
                ),
                html.Div(_table(sides[a], sides[b], which), id="co-table", className="scroll card"),
                figure("compare", compared(sides[a], sides[b], which)),
            ]
        )
    ]


def compared(a: Side, b: Side, which: Which) -> dict[str, Any]:
    """The figure, or why there is none."""
    try:
        data = figure_of(a, b, which)
    except UndertowError as error:
        return message(str(error))
    return (
        message("No finished inputs on either side fit these filters.")
        if data is None
        else payload(data)
    )


def _facts(side: Side, which: Which) -> dict[str, str]:
    ends = side.source.ends(side.cell)
    spec = side.source.manifest.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    found = {"run": side.source.name, "model": side.cell.model, "attack": side.cell.label}
    if ends is not None:
        mask = side.source.chosen(side.cell, which)
        found["inputs"] = str(int(mask.sum()))
        if mask.any() and not side.cell.benign:
            found["fooled"] = f"{100 * float(np.mean(ends.fooled[mask])):.0f} %"
            found["mean L2"] = f"{float(np.nanmean(ends.l2[mask])):.3g}"
    found |= {k: str(spec[k]) for k in ("estimator", "null", "seed") if k in spec}
    return found


def _table(a: Side, b: Side, which: Which) -> html.Table:
    left, right = _facts(a, which), _facts(b, which)
    names = list(dict.fromkeys([*left, *right]))
    head = html.Tr(
        [
            html.Th(""),
            html.Th("First", scope="col", className="side-a"),
            html.Th("Second", scope="col", className="side-b"),
        ]
    )
    rows = [
        html.Tr([html.Th(n, scope="row"), html.Td(left.get(n, "–")), html.Td(right.get(n, "–"))])
        for n in names
    ]
    return html.Table([html.Thead(head), html.Tbody(rows)])


def connect(app: Dash, source: Source, others: Sequence[Source]) -> None:
    """Another pair, other filters."""
    source.beside = tuple(others)

    @on(
        app,
        Output({"type": "figure-data", "name": "compare"}, "data"),
        Output("co-table", "children"),
        Input("co-a", "value"),
        Input("co-b", "value"),
        Input("co-part", "value"),
        Input("co-class", "value"),
        prevent_initial_call=True,
    )
    def other_pair(a: Any, b: Any, part: Any, classes: Any) -> Any:
        sides = _sides(source)
        if a not in sides or b not in sides:
            return message("There is no such cell."), []
        kept = tuple(sorted({c for c in classes or () if isinstance(c, int)}))
        which = Which(part=part if part in _PARTS else "net", classes=kept)
        return compared(sides[a], sides[b], which), _table(sides[a], sides[b], which)
