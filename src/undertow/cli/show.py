"""How commands print: tables for people, JSON for machines."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TextIO, TypeVar

import typer

__all__ = ["document", "only_ours", "say", "table"]

P = ParamSpec("P")
T = TypeVar("T")
_OURS: ContextVar[TextIO | None] = ContextVar("ours", default=None)


def say(*words: object, sep: str = " ", end: str = "\n", flush: bool = False) -> None:
    """Print what a command answers, on standard output."""
    print(*words, sep=sep, end=end, flush=flush, file=_OURS.get() or sys.stdout)


def only_ours(command: Callable[P, T]) -> Callable[P, T]:
    """A command whose standard output is what it says; a model's own words go to standard error."""

    @wraps(command)
    def called(*arguments: P.args, **options: P.kwargs) -> T:
        token = _OURS.set(sys.stdout)
        try:
            with redirect_stdout(sys.stderr):
                return command(*arguments, **options)
        finally:
            _OURS.reset(token)

    return called


def _plain(value: object) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def document(content: object) -> None:
    """Print one JSON document; numbers that are not finite become null."""
    say(json.dumps(_plain(content), indent=2, default=str, ensure_ascii=False, allow_nan=False))


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}"
    return "–" if value is None else str(value)


def table(rows: Sequence[Mapping[str, object]], *, as_json: bool = False, title: str = "") -> None:
    """Print rows as a table, or as a JSON list.

    Args:
        rows: mappings with the same keys; the keys are the columns.
        as_json: print JSON instead.
        title: a line above the table.
    """
    if as_json:
        document(list(rows))
        return
    if title:
        say(title)
    if not rows:
        say("(none)")
        return
    columns = list(rows[0])
    numeric = {c: all(isinstance(r[c], int | float | None) for r in rows) for c in columns}
    text = [[_cell(row[c]) for c in columns] for row in rows]
    widths = [max(len(c), *(len(line[i]) for line in text)) for i, c in enumerate(columns)]

    def line(cells: Sequence[str]) -> str:
        parts = (
            cell.rjust(width) if numeric[c] else cell.ljust(width)
            for c, cell, width in zip(columns, cells, widths, strict=True)
        )
        return "  ".join(parts).rstrip()

    say(line(columns))
    say("  ".join("─" * width for width in widths))
    for cells in text:
        say(line(cells))
    say(end="", flush=True)


if TYPE_CHECKING:
    from undertow.store import Run


def tell_absent(run: Run) -> None:
    """Say on standard error which plugins are not here, and whether answers are of older rules."""
    if run.absent:
        told = f"{', '.join(run.absent)}; read as stored"
        print(f"undertow: made with what is not loaded here: {told}", file=sys.stderr)
    if run.answers is not None and run.answers.outdated:
        print(f"undertow: {run.answers.outdated}", file=sys.stderr)


def say_explained(run: Run) -> None:
    """Print the sentence of an explained input; of several a line each, those to look at first."""
    from undertow.prose import prose

    told = run.answers.explanations if run.answers else ()
    if len(told) == 1:
        say(prose(told[0].sentence), flush=True)
        return
    for one in sorted(told, key=lambda e: -(e.interest or 0.0)):
        say(f"{one.input}: {prose(one.sentence)}", flush=True)


def say_answers(run: Run) -> None:
    """Print every claim with its verdict, then the headline."""
    from undertow.prose import prose

    for answer in run.answers.questions if run.answers else ():
        for claim in answer.claims:
            say(f"{answer.id}: {claim.verdict}: {prose(claim.sentence)}")
    if run.answers and run.answers.headline:
        say(prose(run.answers.headline))


def finish(run: Run) -> None:
    """Write the report and print its path; name failed shards, and leave with exit code 1."""
    from undertow.report import write_report
    from undertow.report.tables import vanished

    for sentence in vanished(run):
        say(sentence)
    say(write_report(run, run.path / "report.html"))
    failed = [
        f"{cell.name}, shard {shard}"
        for (cell, shard), r in run.records.items()
        if r.state == "failed"
    ]
    if failed:
        print(f"undertow: failed: {'; '.join(failed)}", file=sys.stderr)
        print(
            "undertow: the same command tries them again; tracebacks are in ledger.jsonl",
            file=sys.stderr,
        )
        raise typer.Exit(1)
