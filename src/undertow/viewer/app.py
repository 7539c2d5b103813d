"""The application: its page, its views by address, and who may see them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from dash import MATCH, ClientsideFunction, Dash, Input, Output, State, dcc, html
from flask import Flask, Response, request, send_file

from undertow.errors import UndertowError
from undertow.figures.palette import DARK, SEQUENTIAL
from undertow.figures.plotly_ink import plotly_script
from undertow.viewer import compare, layer, live, overview, trajectory
from undertow.viewer.guard import Door, protect
from undertow.viewer.parts import Query, empty, on
from undertow.viewer.source import Source

__all__ = ["VIEWS", "make_app"]

View = Callable[[Source, Query], list[Any]]
VIEWS: Final[Mapping[str, tuple[str, View]]] = {
    "/": ("Overview", overview.view),
    "/trajectory": ("Trajectory", trajectory.view),
    "/layer": ("Layer", layer.view),
    "/compare": ("Compare", compare.view),
    "/live": ("Live", live.view),
}

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
{%metas%}
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{%title%}</title>
<link rel="icon" type="image/svg+xml" href="/assets/undertow.svg">
<script src="/assets/theme.js"></script>
<script src="/undertow/plotly.js" defer></script>
<script id="undertow-palette" type="application/json">PALETTE</script>
{%css%}
</head>
<body>
<noscript>The viewer needs JavaScript; report.html in the run's folder does not.</noscript>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""


def _shell(source: Source) -> html.Div:
    theme = html.Button(
        html.Span(className="theme-sign"),
        id="theme",
        className="icon-button",
        title="Light or dark",
        **{"aria-label": "Switch between light and dark"},
    )
    brand = dcc.Link(
        [
            html.Img(src="/assets/undertow.svg", alt="", width=26, height=26),
            html.Span("Undertow", className="brand-name"),
        ],
        href="/",
        className="brand",
    )
    links = [
        dcc.Link(title, href=path, className="nav-link", id=f"nav-{title.lower()}")
        for path, (title, _) in VIEWS.items()
    ]
    return html.Div(
        [
            dcc.Location(id="url", refresh=False),
            html.A("Skip to the view", href="#view", className="skip"),
            html.Header(
                [
                    brand,
                    html.Span(source.name, className="run-name", title=str(source.path)),
                    html.Nav(links, **{"aria-label": "Views"}),
                    theme,
                ],
                className="top",
            ),
            html.Div(id="notices"),
            html.Main(id="view", tabIndex=-1),
            dcc.Store(id="here"),
        ]
    )


def _notices(source: Source) -> list[Any]:
    """What the run lacks and what in it is damaged."""
    found: list[Any] = []
    if source.missing:
        lines = [html.Li(line) for line in source.missing[:40]]
        if len(source.missing) > 40:
            lines.append(html.Li(f"… and {len(source.missing) - 40} more"))
        count = len(source.missing)
        parts = "1 part is" if count == 1 else f"{count} parts are"
        title = f"Half-finished: {parts} missing. What is there is shown."
        found.append(
            html.Details([html.Summary(title), html.Ul(lines)], className="notice missing")
        )
    if source.problems:
        lines = [html.Li(line) for line in list(source.problems)[:40]]
        found.append(
            html.Details(
                [html.Summary("Parts of this run cannot be read"), html.Ul(lines)],
                className="notice damaged",
            )
        )
    return found


def _route(app: Dash, source: Source) -> None:
    titles = [f"nav-{title.lower()}" for title, _ in VIEWS.values()]

    @on(
        app,
        Output("view", "children"),
        Output("notices", "children"),
        *(Output(t, "className") for t in titles),
        Output("here", "data"),
        Input("url", "pathname"),
        Input("url", "search"),
    )
    def show(path: str | None, search: str | None) -> Any:
        source.refresh()
        known = path if path in VIEWS else "/" if not path else None
        classes = ["nav-link current" if known == p else "nav-link" for p in VIEWS]
        if known is None:
            return [empty("There is no such view", "Choose one above.")], [], *classes, None
        title, view = VIEWS[known]
        try:
            body = view(source, Query(search))
        except UndertowError as error:
            body = [empty(f"{title} cannot be shown", str(error))]
        heading = html.H1(f"{title}: {source.name}", className="view-title")
        return [heading, *body], _notices(source), *classes, title

    app.clientside_callback(
        ClientsideFunction("undertow", "title"), Input("here", "data"), prevent_initial_call=True
    )


def _clientside(app: Dash) -> None:
    """What happens in the browser alone: drawing, the stage, the address."""

    def run(name: str, output: Output | None, *inputs: Input, late: bool = False) -> None:
        outputs = () if output is None else (output,)
        app.clientside_callback(
            ClientsideFunction("undertow", name), *outputs, *inputs, prevent_initial_call=late
        )

    app.clientside_callback(
        ClientsideFunction("undertow", "draw"),
        Output({"type": "figure", "name": MATCH}, "className"),
        Input({"type": "figure-data", "name": MATCH}, "data"),
        State({"type": "figure-data", "name": MATCH}, "id"),
    )
    run("stage", Output("tr-stage", "className"), Input("tr-data", "data"))
    run("live_stage", Output("li-stage", "className"), Input("li-data", "data"))
    run("maps", Output("la-maps", "className"), *_values("la-data:data", "la-order", "la-tint"))
    run("carried", Output("la-carry", "className"), *_values("la-carried:data", "la-answer:data"))
    written = {
        "overview": ("ov-model", "ov-attacks", "ov-success", "ov-class", "ov-part", "ov-estimator"),
        "also": ("ov-also",),
        "trajectory": ("tr-cell", "tr-input"),
        "layer": ("la-cell", "la-input", "la-tap", "la-order", "la-tint"),
        "compare": ("co-a", "co-b", "co-part", "co-class"),
        "live": ("li-model", "li-data-set", "li-index", "li-attack", "li-target"),
    }
    for view, ids in written.items():
        run(f"address_{view}", None, *_values(*ids), late=True)


def _values(*ids: str) -> tuple[Input, ...]:
    return tuple(Input(i.partition(":")[0], i.partition(":")[2] or "value") for i in ids)


def make_app(
    source: Source, door: Door, *, others: Sequence[Source] = (), models: Sequence[str] = ()
) -> Dash:
    """The application of one run.

    Args:
        source: the run.
        door: who may see it.
        others: further runs to compare it with.
        models: further models that may be attacked live; a run cannot name any by itself.
    """
    app = Dash(
        "undertow.viewer",
        assets_folder=str(Path(__file__).parent / "assets"),
        assets_ignore=r"^theme\.js$",
        serve_locally=True,
        suppress_callback_exceptions=True,
        update_title=None,
        title=f"{escape(source.name)} · Undertow",  # Dash puts it into the page as it is
        add_log_handler=False,
    )
    colors = json.dumps({"dark": DARK, "sequential": SEQUENTIAL})
    app.index_string = _PAGE.replace("PALETTE", colors)
    app.layout = _shell(source)
    _route(app, source)
    overview.connect(app, source)
    trajectory.connect(app, source)
    layer.connect(app, source)
    compare.connect(app, source, others)
    live.connect(app, source, models)
    _clientside(app)

    server: Flask = app.server

    @server.get("/undertow/plotly.js")
    def plotly_file() -> Any:
        return send_file(plotly_script(), mimetype="text/javascript", max_age=86400)

    @server.after_request
    def nowhere(answer: Response) -> Response:
        """Dash answers every path with its page; one that shows no view is not there."""
        if request.endpoint == "/<path:path>" and request.path not in VIEWS:
            answer.status_code = 404
        return answer

    protect(server, door, tuple(app.csp_hashes()))
    return app
