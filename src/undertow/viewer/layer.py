"""Layer: the feature maps of one tap, benign beside adversarial, and the matrices S and T."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dash import Dash, Input, Output, State, dcc, html, no_update

from undertow.errors import UndertowError
from undertow.figures import FIGURES
from undertow.figures.from_run import input_name
from undertow.figures.matrices import build as matrices_figure
from undertow.figures.matrices import matrix_taps
from undertow.store import Cell
from undertow.viewer.compute import computable
from undertow.viewer.maps import mapped_taps, maps_payload, stored_maps
from undertow.viewer.parts import Query, empty, field, figure, on, pick, segments
from undertow.viewer.rest import message, payload
from undertow.viewer.source import Source
from undertow.viewer.trajectory import cell_options, started, thumbnails

__all__ = ["connect", "view"]

ORDERS: Final = {
    "carried": "Carried",
    "change": "Change",
    "source": "Source bits",
    "target": "Target bits",
    "number": "Number",
}
TINTS: Final = {
    "carried": "Carried",
    "change": "Change",
    "source": "Source bits",
    "target": "Target bits",
    "none": "None",
}


def _taps(source: Source, cell: Cell, index: int) -> list[dict[str, Any]]:
    """Spatial taps of a recorded input; those without stored maps say so."""
    data = source.exemplar(cell, index)
    if data is None or "tap" not in data.coords:
        return []
    names = [str(t) for t in data["tap"].values]
    have = set(mapped_taps(data)) | set(matrix_taps(data))
    return [
        {"label": n if k in have else f"{n} (nothing stored)", "value": k}
        for k, n in enumerate(names)
    ]


def _first_tap(source: Source, cell: Cell, index: int, query: Query) -> int:
    data = source.exemplar(cell, index)
    options = [o["value"] for o in _taps(source, cell, index)]
    have = (mapped_taps(data) or matrix_taps(data)) if data is not None else []
    fallback = have[len(have) // 2] if have else (options[0] if options else 0)
    found: int = query.one("tap", options, fallback)
    return found


def _fullest(source: Source, cell: Cell, fallback: int) -> int:
    """The first recorded input of a cell of which maps or matrices are kept."""
    for index in source.recorded.get(cell, ())[:60]:
        data = source.exemplar(cell, index)
        if data is not None and (mapped_taps(data) or matrix_taps(data)):
            return index
    return fallback


def _filters(source: Source, cell: Cell, index: int, tap: int, query: Query) -> html.Div:
    def words(id_: str, options: Mapping[str, str], title: str) -> Any:
        value = query.one(id_, list(options), "carried")
        named = [{"label": w, "value": v} for v, w in options.items()]
        return segments(f"la-{id_}", named, value, title)

    inputs = dcc.RadioItems(
        id="la-input", options=thumbnails(source, cell), value=index, className="thumbs"
    )
    return html.Div(
        [
            pick("la-cell", cell_options(source), cell.slug, "Attack and model"),
            pick("la-tap", _taps(source, cell, index), tap, "Tap"),
            words("order", ORDERS, "Order by"),
            words("tint", TINTS, "Tint by"),
            field("Input", inputs, wide=True),
        ],
        className="filters card",
    )


def view(source: Source, query: Query) -> list[Any]:
    """The whole view."""
    start = started(source, query)
    if start is None:
        return [
            empty(
                "No recorded inputs",
                "Feature maps are those of recorded inputs, and this run has none.",
            )
        ]
    cell, index = start
    if query.one("input") is None:
        index = _fullest(source, cell, index)
    tap = _first_tap(source, cell, index, query)
    maps, matrices = _shown(source, cell, index, tap)
    return [
        html.Section(
            [
                _filters(source, cell, index, tap, query),
                html.H2("Feature maps"),
                html.Div(
                    id="la-live-row",
                    className="live-row",
                    children=[
                        html.Button(
                            "Compute these maps now", id="la-live", n_clicks=0, className="button"
                        ),
                        html.Span(id="la-live-words", className="hint", role="status"),
                    ],
                ),
                html.Div(id="la-carry", className="carry"),
                dcc.Store(id="la-carried"),
                dcc.Store(id="la-ticked"),
                dcc.Store(id="la-answer"),
                html.Div(id="la-maps", className="maps"),
                dcc.Store(id="la-data", data=maps),
                html.H2("Matrices"),
                figure("matrices", matrices),
            ]
        )
    ]


def layer_maps(source: Source, cell: Cell, index: int, tap: int) -> dict[str, Any]:
    """The stored maps of a tap, or the words that stand in for them."""
    found = stored_maps(source, cell, index, tap)
    if found is None:
        able = computable(source, cell)
        words = "The run keeps no feature maps of this tap; they are computed now …"
        if not able:
            words = (
                f"The run keeps no feature maps of this tap, and '{cell.model}' is no shipped "
                "model: start the viewer with --model to have them computed."
            )
        return {"message": words, "computable": able}
    return maps_payload(found, f"{cell.slug}|{index}|{tap}")


def _matrices(source: Source, cell: Cell, index: int, tap: int) -> dict[str, Any]:
    data = source.exemplar(cell, index)
    if data is None or tap not in matrix_taps(data):
        return message("The run keeps no source and target MI of this input at this tap.")
    try:
        choice = {"model": cell.model, "attack": cell.attack, "source": cell.source, "index": index}
        return payload(
            FIGURES["matrices"].from_run(source.run, **choice, tap=str(data["tap"].values[tap]))
        )
    except UndertowError as error:
        return message(str(error))
    except Exception as error:  # whatever a damaged file makes the decoder raise
        return message(f"These matrices cannot be read ({type(error).__name__}).")


def _named(source: Source, slug: Any, index: Any, tap: Any) -> tuple[Cell, int, int] | None:
    cell = source.cell(slug)
    if cell is None or cell not in source.recorded:
        return None
    index = index if index in source.recorded[cell] else source.recorded[cell][0]
    taps = [o["value"] for o in _taps(source, cell, index)]
    return (cell, index, tap if tap in taps else (taps[0] if taps else 0))


def connect(app: Dash, source: Source) -> None:
    """Another input, another tap; maps that are not stored are computed when asked for."""

    @on(
        app,
        Output("la-input", "options"),
        Output("la-input", "value"),
        Output("la-tap", "options"),
        Output("la-tap", "value"),
        Input("la-cell", "value"),
        State("la-tap", "value"),
        prevent_initial_call=True,
    )
    def other_cell(slug: Any, tap: Any) -> Any:
        found = _named(source, slug, None, tap)
        if found is None:
            return no_update, no_update, no_update, no_update
        cell, index, tap = found
        return thumbnails(source, cell), index, _taps(source, cell, index), tap

    @on(
        app,
        Output("la-data", "data"),
        Output({"type": "figure-data", "name": "matrices"}, "data"),
        Input("la-input", "value"),
        Input("la-tap", "value"),
        State("la-cell", "value"),
        prevent_initial_call=True,
    )
    def other_tap(index: Any, tap: Any, slug: Any) -> Any:
        found = _named(source, slug, index, tap)
        if found is None:
            return {"message": "This run has no such cell."}, message("This run has no such cell.")
        return _shown(source, *found)

    @on(
        app,
        Output("la-data", "data", allow_duplicate=True),
        Output({"type": "figure-data", "name": "matrices"}, "data", allow_duplicate=True),
        Output("la-live-words", "children"),
        Input("la-live", "n_clicks"),
        State("la-input", "value"),
        State("la-tap", "value"),
        State("la-cell", "value"),
        prevent_initial_call=True,
    )
    def compute(clicks: Any, index: Any, tap: Any, slug: Any) -> Any:
        found = _named(source, slug, index, tap)
        if not clicks or found is None:
            return no_update, no_update, no_update
        try:
            return *_computed(source, *found), ""
        except UndertowError as error:
            return no_update, no_update, str(error)

    _connect_carrying(app, source)


def _connect_carrying(app: Dash, source: Source) -> None:
    """What maps carry, once they are shown; then an answer for every tick."""
    from undertow.viewer.carrying import answer, carried

    @on(
        app,
        Output("la-carried", "data"),
        Input("la-data", "data"),
        State("la-input", "value"),
        State("la-tap", "value"),
        State("la-cell", "value"),
    )
    def show(data: Any, index: Any, tap: Any, slug: Any) -> Any:
        found = _named(source, slug, index, tap)
        if found is None or not isinstance(data, dict) or "key" not in data:
            return None
        cell, at, _ = found
        told = carried(source, cell, at, str(data["tap"]))
        return {"key": data["key"], "cell": cell.slug, "input": at, "tap": data["tap"], **told}

    @on(
        app,
        Output("la-answer", "data"),
        Input("la-ticked", "data"),
        prevent_initial_call=True,
    )
    def put_back(ticked: Any) -> Any:
        if not isinstance(ticked, dict):
            return no_update
        cell, index = source.cell(ticked.get("cell")), ticked.get("input")
        maps = [k for k in ticked.get("maps") or () if isinstance(k, int)]
        if cell is None or index not in source.recorded.get(cell, ()):
            return no_update
        back = bool(ticked.get("back", True))
        try:
            told = answer(source, cell, int(index), str(ticked.get("tap")), maps, back=back)
        except UndertowError as error:
            told = {"words": str(error)}
        return {"key": ticked.get("key"), "back": back, "asked": ticked.get("asked"), **told}


def _computed(source: Source, cell: Cell, index: int, tap: int) -> tuple[Any, Any]:
    """Maps and matrices that the run does not keep; from now on they are computed unasked."""
    from undertow.viewer.compute import live_maps

    found = live_maps(source, cell, index, tap)
    source.computes = True
    sent = maps_payload(found.maps, f"{cell.slug}|{index}|{tap}|live")
    stored = _matrices(source, cell, index, tap)
    if "message" not in stored or not found.matrices:
        return sent, stored
    bits = found.matrices
    classes = source.class_names(bits["T_raw"].shape[1])
    data = matrices_figure(
        source=(bits["S_raw"], bits["S_null"]),
        target=(bits["T_raw"], bits["T_null"]),
        classes=classes,
        tap=found.maps.tap,
        name=f"{input_name(cell, index)}, step {found.maps.steps[1]}, computed now",
    )
    return sent, payload(data)


def _shown(source: Source, cell: Cell, index: int, tap: int) -> tuple[Any, Any]:
    """Maps and matrices as stored; computed where they are not, once the user asked for it."""
    maps, matrices = layer_maps(source, cell, index, tap), _matrices(source, cell, index, tap)
    if "message" in maps and source.computes:
        try:
            return _computed(source, cell, index, tap)
        except UndertowError as error:
            return {"message": str(error)}, matrices
    return maps, matrices
