"""The report: summary first, then figures, tables, method, caveats and the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup, escape

from undertow.errors import BadInput, UndertowError
from undertow.figures import FIGURES, FigureData
from undertow.figures.palette import DARK, RAMP
from undertow.loading import home, is_folder
from undertow.prose import attack_name, prose
from undertow.report.asked import attack_lines, flat, pretty
from undertow.report.embed import Plot, packed_plotly, packed_plots, plot, script_json
from undertow.report.explained import explained
from undertow.report.tables import attack_table, gallery, profile_tables
from undertow.report.terms import SIGNS, TERMS, VERDICTS, glossed
from undertow.report.words import DEFINITIONS, caveats, interval, say, settings
from undertow.store import Answer, Run, Table
from undertow.store.files import disk_errors, replace_bytes

__all__ = ["chosen_figures", "write_report"]

_ORDER: Final = (
    "evidence",
    "leaning",
    "drift",
    "carrying",
    "restoration",
    "turning",
    "trajectory",
    "aggregate",
    "change",
    "streams",
    "takeover",
    "solid_dashed",
    "transfer",
    "plane",
    "matrices",
)
_MOST: Final = {
    "evidence": 1, "leaning": 1, "trajectory": 1, "turning": 1, "streams": 1, "perturbation": 1,
    "carrying": 1, "restoration": 12,
    "matrices": 1,
}  # fmt: skip
"""Recorded inputs are many; the page shows the first few, the viewer all."""


def chosen_figures(run: Run) -> Iterator[FigureData | str]:
    """Every figure that the run can show, or a sentence where one could not be drawn."""
    names = [*_ORDER, *(n for n in FIGURES if n not in _ORDER)]
    drawn: set[str] = set()
    for name in names:
        try:
            choices = FIGURES[name].choices(run)
        except UndertowError as error:
            yield f"{name}: {error}"
            continue
        if name == "perturbation" and "evidence" in drawn:
            continue  # the same pictures, with less
        if choices:
            drawn.add(name)
        for choice in choices[: _MOST.get(name, len(choices))]:
            try:
                yield FIGURES[name].from_run(run, **choice)
            except UndertowError as error:
                yield f"{name}: {error}"


def _counted(question: Answer) -> list[tuple[str, int]]:
    """How many claims have each verdict."""
    found = [claim.verdict for claim in question.claims]
    return [(verdict, found.count(verdict)) for verdict in SIGNS if verdict in found]


def _facts(run: Run) -> list[tuple[str, str]]:
    """The few things to know before anything else."""
    attacks = dict.fromkeys(c.attack for c in run.cells if not c.benign and c.control_of is None)
    sizes = [run.attacks(c).sizes["sample"] for c in run.cells if run.has("attacks", c)]
    data = run.manifest.get("data") or run.spec.get("data") or {}
    name = data.get("name") if isinstance(data, Mapping) else str(data)
    n = (
        f"{min(sizes)}"
        if sizes and min(sizes) == max(sizes)
        else f"{min(sizes)} to {max(sizes)}"
        if sizes
        else "0"
    )
    return [
        ("Models", "; ".join(run.models) or "none"),
        ("Attacks", "; ".join(map(attack_name, attacks)) or "none"),
        ("Data", str(name or "not said")),
        ("Inputs a cell", n),
        ("Started", str(run.manifest.get("created", "not said")).replace("T", " ").split("+")[0]),
    ]


def _failures(run: Run) -> list[dict[str, str]]:
    return [
        {
            "what": f"{cell.name}, {shard if isinstance(shard, str) else f'shard {shard}'}",
            "traceback": record.traceback or "",
        }
        for (cell, shard), record in run.records.items()
        if record.state == "failed"
    ]


def _current(width: int = 1200) -> list[tuple[str, str]]:
    """The emblem: a calm surface, and what is drawn away beneath it. (path, colour) a line."""
    lines = []
    for i in range(9):
        y, pull = 14 + i * 13.0, (i / 8) ** 1.6 * 58
        middle = f"C {width * 0.45:.0f} {y:.1f}, {width * 0.5:.0f} {y + pull:.1f}"
        end = f"S {width * 0.93:.0f} {y - pull * 0.35:.1f}, {width} {y - pull * 0.1:.1f}"
        bent = f"M 0 {y:.1f} {middle}, {width * 0.72:.0f} {y + pull * 0.9:.1f} {end}"
        lines.append((bent, RAMP[i + 3]))
    return lines


def _numeric(table: Table, column: int) -> bool:
    """Whether a column holds numbers, and where there are none, dashes."""
    return all(row[column] is None or isinstance(row[column], int | float) for row in table.rows)


def _without_attacks(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The rest of what was asked, where the attacks have lines of their own."""
    told = bool(attack_lines(spec))
    return {k: v for k, v in spec.items() if not (k == "attacks" and told)}


def _typeset(value: object) -> Markup:
    """Words as they are printed: see :func:`undertow.prose.prose`; d_z with its index."""
    return Markup(str(escape(prose(str(value)))).replace("d_z", "<i>d</i><sub>z</sub>"))


def _places(run: Run) -> dict[str, str]:
    """Where each layer lies, in words, where its name is that of one place only."""
    found: dict[str, set[str]] = {}
    for model in run.models:
        cell = run.benign(model)
        if run.has("profiles", cell):
            data = run.profiles(cell)
            for tap, depth in zip(data["tap"].values, data["depth"].values, strict=True):
                found.setdefault(str(tap), set()).add(f"{float(depth):.0%} in".replace("%", " %"))
    return {tap: at.pop() for tap, at in found.items() if len(at) == 1}


def _content(run: Run, plots: list[Plot], lost: list[str]) -> dict[str, Any]:
    answers, hung = run.answers, gallery(plots)
    first = None if answers and answers.tables else attack_table(run)
    name = run.spec.get("name") or run.manifest.get("name") or run.path.name
    return {
        "title": str(name),
        "path": run.path.name,
        "facts": _facts(run),
        "emblem": _current(),
        "missing": [*run.missing, *lost],
        "failures": _failures(run),
        "questions": answers.questions if answers else (),
        "outdated": answers.outdated if answers else "",
        "signs": SIGNS,
        "plots": plots,
        "gallery": hung,
        "explained": explained(run),
        "headline": answers.headline if answers else "",
        "terms": TERMS,
        "meanings": VERDICTS,
        "plots_packed": packed_plots((*hung.open, *hung.more)),
        "tables": [*((first,) if first else ()), *(answers.tables if answers else ())],
        "profile_tables": profile_tables(run),
        "attacks": attack_lines(run.spec),
        "asked": flat(_without_attacks(run.spec)),
        "settings": settings(run.spec, run.manifest, _plugins(run)),
        "definitions": DEFINITIONS,
        "caveats": caveats(answers.caveats if answers else ()),
        "manifest": pretty(run.manifest),
        "twins": script_json(DARK),
        "plotly": packed_plotly(),
        "say": say,
        "numeric": _numeric,
        "counted": _counted,
        "interval": interval,
    }


def write_report(run: Run, out: str | Path | None = None) -> Path:
    """Write the report of a run, finished or not, as one HTML file.

    Args:
        run: the run.
        out: the file; ``None``: ``report.html`` in the run's directory.

    Returns:
        The file.

    Raises:
        BadInput: if ``out`` is a folder.
        Unavailable: if it cannot be written.
        Foreign: if the run's files are damaged beyond reading.
    """
    target = run.path / "report.html" if out is None else home(out)
    if not target.name or is_folder(target):
        raise BadInput(f"the report is one file; '{out}' is a folder (allowed: DIR/report.html)")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    found = list(chosen_figures(run))
    plots = [plot(f) for f in found if isinstance(f, FigureData)]
    lost = [f for f in found if isinstance(f, str)]
    here = files("undertow.report")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"prose": _typeset, "gloss": partial(glossed, places=_places(run))}
    template = environment.from_string(here.joinpath("page.html.j2").read_text("utf-8"))
    parts = {k: here.joinpath(f"page.{k}").read_text("utf-8") for k in ("css", "js")}
    html = template.render(**parts, **_content(run, plots, lost))
    with disk_errors(target):
        replace_bytes(target, html.encode())
    return target


def _plugins(run: Run) -> list[str]:
    """What a run was made with beside what Undertow ships, and whether it is here."""
    absent = run.absent
    told = [f"{p['kind']} '{p['name']}' of {p['source']}" for p in run.plugins]
    return [t + (" (not loaded here; shown as it was stored)" if t in absent else "") for t in told]
