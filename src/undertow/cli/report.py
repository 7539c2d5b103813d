"""``undertow report``: the page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from undertow.cli.show import say, tell_absent


def report(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    out: Annotated[
        Path | None, typer.Option(help="The HTML file; RUN/report.html by default.")
    ] = None,
) -> None:
    """Write the report of a run: one HTML file that opens offline."""
    from undertow.report import write_report
    from undertow.store import open_run

    found = open_run(run)
    tell_absent(found)
    say(write_report(found, out or run / "report.html"))
