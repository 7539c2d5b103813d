"""``undertow runs``: what runs there are, how far they are, and whether they are whole."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from undertow.cli.options import Json
from undertow.cli.show import document, say, table, tell_absent

if TYPE_CHECKING:
    from undertow.store import Answers, Run

app = typer.Typer(help="The runs on this disk.", no_args_is_help=True)

OneRun = Annotated[Path, typer.Argument(help="A run's directory.", show_default=False)]


@app.callback()
def _group() -> None:
    """The runs on this disk."""


@app.command("list")
def list_runs(
    folder: Annotated[Path, typer.Argument(help="The folder to look in.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """List the runs under a folder: how far each is, and when it was begun."""
    from undertow.errors import BadInput

    if not folder.is_dir():
        raise BadInput(f"there is no folder '{folder}'")
    table([_line(run, folder) for run in _found(folder)], as_json=as_json)


def _found(folder: Path) -> Iterator[Run]:
    """The runs in a folder and below it; a run is not searched for others."""
    from undertow.errors import Foreign
    from undertow.store import open_run

    if (folder / "manifest.json").is_file():
        try:
            yield open_run(folder)
        except Foreign as problem:
            print(f"undertow: {problem}", file=sys.stderr)
        return
    for place in sorted(folder.iterdir()):
        if place.is_dir() and not place.is_symlink() and not place.name.startswith("."):
            yield from _found(place)


def _line(run: Run, folder: Path) -> dict[str, object]:
    states = [run.state(cell) for cell in run.cells]
    failed = sum(record.state == "failed" for record in run.records.values())
    sessions = run.manifest.get("sessions") or [{}]
    return {
        "run": str(run.path.relative_to(folder.resolve())) if run.path != folder.resolve() else ".",
        "study": run.spec.get("name"),
        "state": _state(run, failed),
        "inputs": _inputs(run),
        "cells": len(states),
        "done": sum(state.finished for state in states),
        "failed shards": failed,
        "begun": run.manifest.get("created"),
        "seconds": _seconds(sessions),
    }


def _state(run: Run, failed: int) -> str:
    if not run.missing:
        return "finished"
    return "failed" if failed else "half-finished"


def _inputs(run: Run) -> int | None:
    inputs = run.manifest.get("inputs")
    return len(inputs) if isinstance(inputs, list) else None


def _seconds(sessions: Any) -> float | None:
    told = [s["seconds"] for s in sessions if isinstance(s, dict) and "seconds" in s]
    return round(float(sum(told)), 1) if told else None


@app.command()
def show(run: OneRun, as_json: Json = False) -> None:
    """Show a run: its cells, shards and times, what failed, and its verdicts."""
    from undertow.store import open_run

    found = open_run(run)
    tell_absent(found)
    facts = _line(found, found.path) | {"run": str(found.path)}
    cells = [_cell_line(found, cell) for cell in found.cells]
    verdicts = [
        {"question": question.id, "verdict": claim.verdict, "claim": claim.claim or claim.sentence}
        for question in (found.answers.questions if found.answers else ())
        for claim in question.claims
    ]
    failures = [
        {"cell": cell.name, "shard": shard, "why": _last_line(record.traceback)}
        for (cell, shard), record in found.records.items()
        if record.state == "failed"
    ]
    if as_json:
        keep = ("sessions", "versions", "hardware", "hashes", "seed")
        told = {name: found.manifest.get(name) for name in keep}
        document({**facts, "missing": found.missing, "by cell": cells, "failures": failures,
                  "verdicts": verdicts, "manifest": told})  # fmt: skip
        return
    for name, value in facts.items():
        say(f"{name}: {'–' if value is None else value}")
    say()
    table(cells)
    for title, rows in (("failed", failures), ("verdicts", verdicts)):
        if rows:
            say()
            table(rows, title=title)
    for line in found.missing:
        say(f"missing: {line}")


def _cell_line(run: Run, cell: Any) -> dict[str, object]:
    state = run.state(cell)
    records = [r for (c, shard), r in run.records.items() if c == cell and isinstance(shard, int)]
    return {
        "model": cell.model,
        "attack": cell.label,
        "shards": state.planned,
        "done": state.done,
        "failed": state.failed,
        "tries": sum(record.tries for record in records),
        "seconds": round(sum(record.seconds or 0 for record in records), 1),
        "exemplars": len(run.exemplars(cell)),
    }


def _last_line(text: str | None) -> str:
    lines = (text or "").strip().splitlines()
    return lines[-1] if lines else "no reason was written down"


@app.command()
def answer(run: OneRun, as_json: Json = False) -> None:
    """Answer a run's questions anew by today's rules, where it holds what they need."""
    from undertow.errors import BadInput
    from undertow.store import open_run

    old = open_run(run)
    new = _concluded(old)
    had = {q.id for q in (old.answers.questions if old.answers else ()) if q.claims}
    if lost := [q for q in new.questions if q.missing and q.id in had]:
        raise BadInput(
            f"{', '.join(q.id for q in lost)} cannot be answered anew, and the older answers stay: "
            f"{lost[0].missing}"
        )
    found = _written(old, new)
    rows = [
        {"question": q.id, "verdict": claim.verdict, "claim": claim.claim, "why": claim.reason}
        for q in new.questions
        for claim in q.claims
    ]
    missing = {q.id: q.missing for q in new.questions if q.missing}
    if as_json:
        document({"run": str(found.path), "verdicts": rows, "missing": missing})
        return
    if rows:
        table(rows)
    for name, why in missing.items():
        say(f"{name}: not answered: {why}")


@app.command()
def check(
    run: OneRun,
    repair: Annotated[
        bool, typer.Option("--repair", help="Have damaged shards done again by the next start.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Read a whole run and name what is damaged; exit code 1 if anything is, and stays so."""
    from undertow.store import create_run, open_run

    found = open_run(run)
    if repair:
        with create_run(found.path, found.spec, {}) as writer:
            words = writer.repair()
    else:
        words = [fault.words for fault in found.check()]
    if as_json:
        document({"run": str(found.path), "faults": words, "repaired": repair and bool(words)})
    else:
        for line in words:
            say(line)
        say(_conclusion(len(words), repair))
    if words and not repair:
        raise typer.Exit(1)


def _conclusion(faults: int, repaired: bool) -> str:
    if not faults:
        return "no fault found"
    count = f"{faults} fault{'s' if faults > 1 else ''}"
    if repaired:
        return f"{count} set right; the study's own command does what is missing again"
    return f"{count}; --repair has what is damaged done again"


@app.command()
def merge(
    runs: Annotated[
        list[Path], typer.Argument(help="Runs of the same study, two or more.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="The directory of the merged run.")],
    as_json: Json = False,
) -> None:
    """Put the finished shards of several runs of one study together; answer it if it is whole."""
    from undertow.store import merge_runs

    merged = merge_runs(runs, out)
    if merged.missing == ("no answers yet",):
        merged = _answered(merged)
    if as_json:
        document({**_line(merged, merged.path), "run": str(merged.path), "missing": merged.missing})
        return
    for line in merged.missing:
        say(f"missing: {line}")
    say(merged.path)


def _answered(run: Run) -> Run:
    """The run with its questions answered."""
    return _written(run, _concluded(run))


def _concluded(run: Run) -> Answers:
    from pydantic import ValidationError

    from undertow.errors import BadInput
    from undertow.studies.answered.conclude import conclude

    try:
        return conclude(run)
    except ValidationError:
        raise BadInput(
            f"'{run.path}' is whole, but its spec is not one that this undertow can answer"
        ) from None


def _written(run: Run, answers: Answers) -> Run:
    from undertow.store import create_run, open_run

    with create_run(run.path, run.spec, {}) as writer:
        writer.answers(answers)
    return open_run(run.path)
