"""Live: one attack on one input, watched while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dash import ALL, Dash, Input, Output, State, dcc, html, no_update

from undertow.errors import BadInput, UndertowError
from undertow.figures.perturbation import thumbnail
from undertow.viewer.compute import known_models
from undertow.viewer.form import (
    UPLOAD,
    attacks,
    chosen_input,
    controls,
    declared,
    setting,
    work_of,
)
from undertow.viewer.jobs import Jobs, LiveAttack
from undertow.viewer.parts import Query, empty, on
from undertow.viewer.source import Source

__all__ = ["connect", "view"]


COMING: Final = (
    "Choose an input and an attack, then press Run. You will watch the input change step by step, "
    "what the model answers, and where drift, the flow towards the wrong class, turns from layer "
    "to layer; a classifier of this size takes a few seconds."
)
"""What a visitor reads before the first run."""


def view(source: Source, query: Query) -> list[Any]:
    """The whole view. What needs torch to be listed comes a moment later."""
    models = known_models(source.models_allowed)
    if not models:
        return [
            empty(
                "No model to attack",
                "There are no shipped weights here; name a model with --model.",
            )
        ]
    asked = {n: query.one(n, default="") for n in ("model", "data", "index", "attack", "target")}
    return [
        html.Section(
            [
                html.Div(
                    [html.P("Getting ready …", className="quiet")],
                    id="li-controls",
                    className="filters card",
                ),
                dcc.Store(id="li-asked", data={**asked, "settings": query.start("s.")}),
                dcc.Store(id="li-data"),
                dcc.Store(id="li-job"),
                dcc.Interval(id="li-clock", interval=350, disabled=True),
                html.Div(
                    html.P(COMING, className="quiet card coming"), id="li-stage", className="stage"
                ),
            ]
        )
    ]


# Callbacks ----------------------------------------------------------------------------------------


def connect(app: Dash, source: Source, models: Sequence[str]) -> None:
    """The form, the run, the clock."""
    source.models_allowed = tuple(models)
    jobs = Jobs()
    _connect_form(app, source)
    _connect_run(app, source, jobs)
    _connect_stop(app, jobs)

    @on(
        app,
        Output("li-data", "data"),
        Output("li-job", "data", allow_duplicate=True),
        Output("li-words", "children", allow_duplicate=True),
        Output("li-clock", "disabled", allow_duplicate=True),
        Output("li-run", "disabled", allow_duplicate=True),
        Output("li-stop", "disabled", allow_duplicate=True),
        Input("li-clock", "n_intervals"),
        State("li-job", "data"),
        prevent_initial_call=True,
    )
    def tick(_: Any, known: Any) -> Any:
        job = jobs.get((known or {}).get("id"))
        if job is None:
            return no_update, None, "This attack is gone; run it again.", True, False, True
        over = job.state != "running"
        words = f"{job.words} ({job.seconds:.1f} s)"
        if (
            job.path is None
            or job.version == known.get("version")
            or not (over or _worth(job, known))
        ):
            return no_update, no_update, words, over, not over, over
        version = job.version
        seen = {
            "id": job.id,
            "version": version,
            "steps": len(job.path.steps),
            "taps": len(job.path.taps),
        }
        return job.payload(), seen, words, over, not over, over


def _worth(job: LiveAttack, known: Mapping[str, Any]) -> bool:
    """Whether enough is new: of a long trajectory not every step is sent."""
    assert job.path is not None
    steps = len(job.path.steps)
    return (
        steps <= 30
        or steps >= 1.1 * known.get("steps", 0)
        or len(job.path.taps) != known.get("taps", 0)
    )


def _connect_form(app: Dash, source: Source) -> None:
    @on(app, Output("li-controls", "children"), Input("li-asked", "data"))
    def show_controls(asked: Any) -> Any:
        return controls(source, asked or {})

    @on(
        app,
        Output("li-settings", "children"),
        Input("li-attack", "value"),
        State("li-asked", "data"),
    )
    def settings(attack: Any, asked: Any) -> Any:
        if attack not in attacks():
            return no_update
        given = (asked or {}).get("settings", {}) if attack == (asked or {}).get("attack") else {}
        return [setting(f, given) for f in declared(attack)]

    @on(
        app,
        Output("li-preview", "children"),
        Output("li-index-field", "hidden"),
        Output("li-upload-field", "hidden"),
        Input("li-model", "value"),
        Input("li-data-set", "value"),
        Input("li-index", "value"),
        Input("li-upload", "contents"),
    )
    def preview(model: Any, data: Any, index: Any, upload: Any) -> Any:
        own = data == UPLOAD
        known = known_models(source.models_allowed).get(model)
        if known is None or (own and not upload):
            return [], own, not own
        try:
            image, label, classes, words = chosen_input(known, data, index, upload)
        except UndertowError as error:
            return [html.Span(str(error), className="error", role="alert")], own, not own
        told = words if label is None else f"{words}: {classes[label]}"
        return (
            [html.Img(src=thumbnail(image), alt=told), html.Span(told, className="quiet")],
            own,
            not own,
        )


def _connect_run(app: Dash, source: Source, jobs: Jobs) -> None:
    @on(
        app,
        Output("li-job", "data"),
        Output("li-words", "children"),
        Output("li-clock", "disabled"),
        Output("li-run", "disabled"),
        Output("li-stop", "disabled"),
        Input("li-run", "n_clicks"),
        State("li-model", "value"),
        State("li-data-set", "value"),
        State("li-index", "value"),
        State("li-upload", "contents"),
        State("li-attack", "value"),
        State("li-target", "value"),
        State({"type": "li-setting", "name": ALL}, "value"),
        State({"type": "li-setting", "name": ALL}, "id"),
        prevent_initial_call=True,
    )
    def run(
        clicks: Any,
        model: Any,
        data: Any,
        index: Any,
        upload: Any,
        attack: Any,
        target: Any,
        given: Any,
        ids: Any,
    ) -> Any:
        if not clicks:
            return no_update, no_update, no_update, no_update, no_update
        known = known_models(source.models_allowed).get(model)
        form = {
            "data": data,
            "index": index,
            "upload": upload,
            "attack": attack,
            "target": target,
            "settings": {i["name"]: v for i, v in zip(ids, given, strict=True)},
        }
        try:
            if known is None:
                raise BadInput(f"there is no model '{model}' here")
            job = jobs.start(work_of(source, known, form))
        except UndertowError as error:
            return (
                no_update,
                html.Span(str(error), className="error", role="alert"),
                no_update,
                no_update,
                no_update,
            )
        return {"id": job.id, "version": 0, "steps": 0}, "Loading the model", False, True, False


def _connect_stop(app: Dash, jobs: Jobs) -> None:
    @on(
        app,
        Output("li-stop", "disabled", allow_duplicate=True),
        Input("li-stop", "n_clicks"),
        State("li-job", "data"),
        prevent_initial_call=True,
    )
    def stop(clicks: Any, known: Any) -> Any:
        job = jobs.get((known or {}).get("id"))
        if clicks and job is not None:
            job.stop()
        return True
