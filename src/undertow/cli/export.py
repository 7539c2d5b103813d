"""``undertow export``: a run's numbers for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from undertow.cli.show import say, tell_absent


def export(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    kind: Annotated[
        str, typer.Option("--format", help="csv, parquet, netcdf, tensorboard, mlflow or wandb.")
    ] = "csv",
    out: Annotated[
        Path | None, typer.Option(help="The folder to write; RUN/export by default.")
    ] = None,
) -> None:
    """Write a run's tables as CSV, Parquet or NetCDF; or its profiles and images for TensorBoard.

    Or log its numbers and its report to MLflow or Weights & Biases. Parquet and NetCDF need the
    extra `undertow[export]`, the others those of their names.
    """
    from undertow.errors import UnknownName
    from undertow.report.tensorboard import export_tensorboard
    from undertow.report.tracking import TRACKERS, track
    from undertow.store import open_run
    from undertow.store.export import Format
    from undertow.store.export import export as write

    allowed = (*get_args(Format), "tensorboard", *TRACKERS)
    if kind not in allowed:
        raise UnknownName("format", kind, allowed)
    found, folder = open_run(run), out or run / "export"
    tell_absent(found)
    if kind in TRACKERS:
        say(track(found, kind))
        return
    if kind == "tensorboard":
        written = export_tensorboard(found, folder / "tensorboard" if out is None else folder)
    else:
        written = write(found, cast("Format", kind), folder)
    for path in written:
        say(path)
