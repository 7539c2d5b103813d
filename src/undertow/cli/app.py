"""The commands, by name. Nothing heavy is imported until a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from undertow.cli import (
    attacks,
    calibrate,
    carriers,
    data,
    doctor,
    explain,
    export,
    measure,
    models,
    plane,
    report,
    runs,
    study,
    taps,
    trace,
    view,
)
from undertow.cli.show import only_ours

app = typer.Typer(
    name="undertow",
    help="See how information flows through a neural network, and how an attack bends it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(show: bool | None) -> None:
    if show:
        from undertow import __version__

        print(f"undertow {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool | None,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Say more of what happens, on standard error."),
    ] = False,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it to a file, with tracebacks.")
    ] = None,
) -> None:
    """See how information flows through a neural network, and how an attack bends it."""
    from undertow.cli.logs import begin

    begin(verbose, log)


app.command("study")(study.study)
app.command("explain")(explain.explain)
app.command("trace")(trace.trace)
app.command("carriers")(carriers.carriers)
app.command("measure")(measure.measure)
app.command("report")(report.report)
app.command("export")(export.export)
app.command("calibrate")(calibrate.calibrate)
app.command("plane")(plane.plane)
app.command("taps")(taps.taps)
app.command("view")(view.view)
app.command("doctor")(doctor.doctor)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(attacks.app, name="attacks")
app.add_typer(runs.app, name="runs")
for _group in (app, data.app, models.app, attacks.app, runs.app):
    for _command in _group.registered_commands:
        if _command.callback is not None:
            _command.callback = only_ours(_command.callback)
