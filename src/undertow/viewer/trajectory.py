"""Trajectory: one recorded input, step by step; everything moves together."""

from __future__ import annotations

from typing import Any

import numpy as np
from dash import Dash, Input, Output, dcc, html

from undertow.figures.from_run import input_name
from undertow.figures.perturbation import thumbnail, unit_interval
from undertow.store import Cell
from undertow.viewer.parts import Query, cell_name, empty, field, on, pick
from undertow.viewer.path import recorded_path
from undertow.viewer.source import Source
from undertow.viewer.stage import stage

__all__ = ["cell_options", "connect", "started", "thumbnails", "view"]


def started(source: Source, query: Query) -> tuple[Cell, int] | None:
    """The recorded input that the address names, or the first there is."""
    recorded = source.recorded
    if not recorded:
        return None
    cell = source.cell(query.one("cell"))
    if cell not in recorded:
        cell = next(iter(recorded))
    return cell, query.one("input", recorded[cell], recorded[cell][0])


def cell_options(source: Source) -> list[dict[str, str]]:
    """Cells with recorded inputs."""
    return [{"label": cell_name(c), "value": c.slug} for c in source.recorded]


def _picture(source: Source, cell: Cell, index: int) -> tuple[str, str, str]:
    """Thumbnail, true class and last answer of a recorded input."""

    def make() -> tuple[str, str, str]:
        data = source.exemplar(cell, index)
        if data is None:
            return "", "?", "?"
        try:
            images = data["images"].isel(step=[0]).values
            logits = data["logits"].values
            names = source.class_names(logits.shape[1], data.attrs.get("classes"))
            label = int(data.attrs.get("label", logits[0].argmax()))
            return (
                thumbnail(unit_interval(images)[0]),
                names[label],
                names[int(logits[-1].argmax())],
            )
        except Exception as error:  # whatever a damaged file makes the decoder raise
            source.note(
                f"recorded input {index} of {cell.name} is damaged ({type(error).__name__})"
            )
            return "", "?", "?"

    return source.once(("thumbnail", cell, index), make)


def thumbnails(source: Source, cell: Cell) -> list[dict[str, Any]]:
    """Options of the choice of inputs."""
    found = []
    for index in source.recorded.get(cell, ())[:200]:
        picture, true, last = _picture(source, cell, index)
        words = f"{true} → {last}" if true != last else true
        image = html.Img(src=picture, alt="") if picture else html.Span("?", className="no-picture")
        label = html.Span(
            [
                image,
                html.Span(f"{index}", className="thumb-index"),
                html.Span(words, className="thumb-words"),
            ],
            className="thumb",
        )
        found.append({"label": label, "value": index, "title": f"input {index}: {words}"})
    return found


def view(source: Source, query: Query) -> list[Any]:
    """The whole view."""
    start = started(source, query)
    if start is None:
        words = "No input's iterates are in this run" + (" yet." if source.missing else ".")
        return [
            empty(
                "No recorded inputs",
                f"{words} Studies record `exemplars:` inputs; `undertow trace` records one.",
            )
        ]
    cell, index = start
    inputs = dcc.RadioItems(
        id="tr-input", options=thumbnails(source, cell), value=index, className="thumbs"
    )
    step = query.one("step", default="")
    return [
        html.Section(
            [
                html.Div(
                    [
                        pick("tr-cell", cell_options(source), cell.slug, "Attack and model"),
                        field("Input", inputs, wide=True),
                    ],
                    className="filters card",
                ),
                html.Div(
                    id="tr-stage",
                    className="stage",
                    **{"data-start": step if step.isdigit() else ""},
                ),
                dcc.Store(id="tr-data", data=_stage(source, cell, index)),
            ]
        )
    ]


def _stage(source: Source, cell: Cell, index: int) -> dict[str, Any]:
    path = recorded_path(source, cell, index, input_name(cell, index))
    if path is None or not np.isfinite(path.images).all():
        return {
            "message": f"Input {index} of {cell.name} cannot be read: "
            "its files are missing or damaged."
        }
    found = stage(path, f"{cell.slug}|{index}")
    found["layer"] = {"cell": cell.slug, "input": index}
    return found


def connect(app: Dash, source: Source) -> None:
    """Another cell, another input."""

    @on(
        app,
        Output("tr-input", "options"),
        Output("tr-input", "value"),
        Input("tr-cell", "value"),
        prevent_initial_call=True,
    )
    def other_cell(slug: Any) -> Any:
        cell = source.cell(slug)
        if cell not in source.recorded:
            cell = next(iter(source.recorded))
        return thumbnails(source, cell), source.recorded[cell][0]

    @on(
        app,
        Output("tr-data", "data"),
        Input("tr-input", "value"),
        Input("tr-cell", "value"),
        prevent_initial_call=True,
    )
    def other_input(index: Any, slug: Any) -> Any:
        cell = source.cell(slug)
        if cell is None or cell not in source.recorded:
            return {"message": "This run has no such cell."}
        if index not in source.recorded[cell]:
            index = source.recorded[cell][0]
        return _stage(source, cell, index)
