"""How a run's command ends: the report's path last, or what failed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from undertow.store import Run


def tell_absent(run: Run) -> None:
    """Say on standard error which plugins a run was made with that are not here."""
    if run.absent:
        told = f"{', '.join(run.absent)}; read as stored"
        print(f"undertow: made with what is not loaded here: {told}", file=sys.stderr)


def finish(run: Run) -> None:
    """Write the report and print its path; name failed shards, and leave with exit code 1."""
    from undertow.report import write_report
    from undertow.report.tables import vanished

    for sentence in vanished(run):
        print(sentence)
    print(write_report(run, run.path / "report.html"))
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
