"""Overview: what was asked, what the run says, and the aggregated IPs behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, get_args

from dash import Dash, Input, Output, dcc, html

from undertow.axes import PROFILES, split_control
from undertow.errors import UndertowError
from undertow.figures import aggregate as aggregate_figure
from undertow.figures import drift as drift_figure
from undertow.figures.palette import paints
from undertow.store import BENIGN, curve_key, split_key
from undertow.viewer.parts import (
    Query,
    chips,
    empty,
    field,
    figure,
    on,
    pick,
    segments,
)
from undertow.viewer.questions import questions, said
from undertow.viewer.rest import also, cells_table, message, more_figures, payload
from undertow.viewer.selection import Outcome, Part, Which
from undertow.viewer.source import Source

__all__ = ["connect", "view"]

_OUTCOMES: Final = {"all": "All", "successful": "Successful", "failed": "Failed"}
_PARTS: Final = {"net": "Net", "raw": "Raw", "null": "Null"}


def view(source: Source, query: Query) -> list[Any]:
    """The whole view."""
    if not source.cells and source.answers is None:
        return [
            empty(
                "Nothing here yet",
                "This run has no cells and no answers. Is `undertow study` still starting?",
            )
        ]
    wanted = query.one("also", default="")
    waiting = html.P("Reading the run …", className="quiet")
    return [
        *said(source),
        questions(source),
        *_drift(source),
        _profiles(source, query),
        html.Section(
            [
                html.H2("More of the run"),
                html.Div(waiting, id="ov-more", **{"data-wanted": wanted}),
            ],
            className="later",
        ),
        html.Section([html.H2("Cells"), html.Div(waiting, id="ov-cells")], className="later"),
    ]


def _drift_told(source: Source) -> tuple[str, dict[str, Any]] | None:
    """The first model whose run tells drift, and each attack's."""
    answers = source.answers
    for model, by in (answers.contrasts if answers else {}).items():
        if drift := {a: q["drift"] for a, q in by.items() if "drift" in q}:
            return model, drift
    return None


def _drift(source: Source) -> list[Any]:
    """Where the flow turns, attack by attack; drawn after the first view."""
    if _drift_told(source) is None:
        return []
    waiting = html.P("Drawing …", className="quiet")
    return [html.Section([html.H2("Where the flow turns"), html.Div(waiting, id="ov-drift")],
                         className="later")]  # fmt: skip


# Aggregated IPs -----------------------------------------------------------------------------------


def _keys(source: Source, model: str) -> list[str]:
    return [
        curve_key(c.attack, c.source) for c in source.cells if c.model == model and not c.benign
    ]


def _chip(key: str, color: str) -> html.Span:
    from undertow.figures.wording import curve_name, is_control

    dashed = is_control(key) or split_key(key)[1] is not None
    sign = html.Span(
        className="swatch dashed" if dashed else "swatch", style={"borderColor": color}
    )
    return html.Span([sign, curve_name(key)], className="chip")


def _attack_options(source: Source, model: str) -> list[dict[str, Any]]:
    keys = _keys(source, model)
    color = paints([BENIGN, *keys])
    return [{"label": _chip(k, color[k]), "value": k} for k in keys]


def _first_keys(source: Source, model: str) -> list[str]:
    """At first: attacks aimed at the model that infers, without their controls."""
    keys = _keys(source, model)
    return [k for k in keys if split_key(k)[1] is None and not split_control(k)[0]] or keys[:1]


def _which(
    outcome: str | None,
    classes: Sequence[Any] | None,
    part: str | None,
    estimator: str | None,
    source: Source,
) -> Which:
    """The filters, as far as they are values that there are."""
    kept = tuple(sorted({int(c) for c in classes or () if isinstance(c, int) and c >= 0}))
    return Which(
        outcome=next((o for o in get_args(Outcome) if o == outcome), "all"),
        classes=kept,
        part=next((p for p in get_args(Part) if p == part), "net"),
        estimator=estimator if estimator in source.estimators else "",
    )


def _profiles(source: Source, query: Query) -> html.Section:
    if not source.models:
        return html.Section()
    model = query.one("model", source.models, source.models[0])
    keys = query.many("attack", _keys(source, model))
    keys = _first_keys(source, model) if keys is None else keys
    outcome, part = (
        query.one("success", list(_OUTCOMES), "all"),
        query.one("part", list(_PARTS), "net"),
    )
    names = source.classes
    classes = query.many("class", range(len(names))) or []
    estimator = query.one("estimator", source.estimators, "")
    which = _which(outcome, classes, part, estimator, source)
    filters = [
        pick("ov-model", [{"label": m, "value": m} for m in source.models], model, "Model"),
        segments(
            "ov-success",
            [{"label": w, "value": v} for v, w in _OUTCOMES.items()],
            outcome,
            "Attack",
        ),
        segments("ov-part", [{"label": w, "value": v} for v, w in _PARTS.items()], part, "Bits"),
        _classes(names, classes),
        _estimators(source, estimator),
        chips("ov-attacks", _attack_options(source, model), keys, "Curves"),
    ]
    return html.Section(
        [
            html.H2("Information profiles over depth"),
            html.Div(filters, className="filters card"),
            figure("aggregate", aggregate(source, model, keys, which)),
            html.P(id="ov-counts", className="quiet", children=_counts(source, model, keys, which)),
        ],
        id="profiles",
    )


def _classes(names: Sequence[str], value: Sequence[int]) -> html.Div:
    options = [{"label": n, "value": i} for i, n in enumerate(names)]
    return field(
        "True class",
        dcc.Dropdown(
            id="ov-class", options=options, value=list(value), multi=True, placeholder="all"
        ),
    )


def _estimators(source: Source, value: str) -> html.Div:
    own = (
        str(source.manifest.get("spec", {}).get("estimator", "study's own"))
        if isinstance(source.manifest.get("spec"), dict)
        else "own"
    )
    options = [
        {"label": own.replace("_", " "), "value": ""},
        *({"label": e.replace("_", " "), "value": e} for e in source.estimators),
    ]
    found = pick("ov-estimator", options, value, "Estimator")
    if not source.estimators:
        found.style = {"display": "none"}
    return found


def aggregate(source: Source, model: str, keys: Sequence[str], which: Which) -> dict[str, Any]:
    """The figure of aggregated IPs, or why there is none."""
    curves = source.curves(model, keys, which)
    if not any(curves.values()):
        return message("No finished input fits these filters.")
    try:
        data = aggregate_figure.build(curves, model=model, profiles=PROFILES)
    except UndertowError as error:
        return message(str(error))
    found = payload(data)
    if not which.everything:
        found["caption"] = f"{data.caption} Shown: {_said(source, which)}."
    return found


def _said(source: Source, which: Which) -> str:
    told = [] if which.outcome == "all" else [f"{which.outcome} attacks, all benign inputs"]
    if which.classes:
        told.append(
            "true class "
            + ", ".join(source.classes[c] for c in which.classes if c < len(source.classes))
        )
    if which.part != "net":
        told.append(
            "bits as estimated, not net of the null" if which.part == "raw" else "the null itself"
        )
    if which.estimator:
        told.append(f"estimator {which.estimator}")
    return "; ".join(told)


def _counts(source: Source, model: str, keys: Sequence[str], which: Which) -> str:
    """How many inputs each curve has left."""
    told = []
    for cell in source.cells:
        if cell.model == model and (cell.benign or curve_key(cell.attack, cell.source) in keys):
            ends = source.ends(cell) if not which.everything else None
            if ends is not None:
                told.append(f"{cell.label}: {int(source.chosen(cell, which).sum())} of {len(ends)}")
    return "Inputs: " + " · ".join(told) if told else ""


def connect(app: Dash, source: Source) -> None:
    """Filters redraw the figure."""

    @on(
        app,
        Output({"type": "figure-data", "name": "aggregate"}, "data"),
        Output("ov-counts", "children"),
        Input("ov-model", "value"),
        Input("ov-attacks", "value"),
        Input("ov-success", "value"),
        Input("ov-class", "value"),
        Input("ov-part", "value"),
        Input("ov-estimator", "value"),
        prevent_initial_call=True,
    )
    def redraw(model: Any, keys: Any, outcome: Any, classes: Any, part: Any, estimator: Any) -> Any:
        model = model if model in source.models else source.models[0]
        kept = [k for k in _keys(source, model) if k in (keys or ())]
        which = _which(outcome, classes, part, estimator, source)
        return aggregate(source, model, kept, which), _counts(source, model, kept, which)

    @on(
        app,
        Output("ov-attacks", "options"),
        Output("ov-attacks", "value"),
        Input("ov-model", "value"),
        prevent_initial_call=True,
    )
    def other_model(model: Any) -> Any:
        model = model if model in source.models else source.models[0]
        return _attack_options(source, model), _first_keys(source, model)

    @on(app, Output("ov-drift", "children"), Input("ov-drift", "id"))
    def drift(_: Any) -> Any:
        told = _drift_told(source)
        if told is None:
            return html.P("This run tells no drift.", className="quiet")
        model, found = told
        return figure("drift", payload(drift_figure.build(found, model=model)))

    # What needs arrays of every cell comes after the first view.
    @on(app, Output("ov-more", "children"), Input("ov-more", "data-wanted"))
    def more(wanted: Any) -> Any:
        return more_figures(source, wanted)

    @on(app, Output("ov-cells", "children"), Input("ov-cells", "id"))
    def cells(_: Any) -> Any:
        return cells_table(source)

    @on(
        app,
        Output({"type": "figure-data", "name": "also"}, "data"),
        Input("ov-also", "value"),
        prevent_initial_call=True,
    )
    def other_figure(value: Any) -> Any:
        return also(source, value)
