"""``undertow export``: a run's numbers for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from undertow.cli.show import tell_absent


def export(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    kind: Annotated[
        str, typer.Option("--format", help="csv, parquet, netcdf or tensorboard.")
    ] = "csv",
    out: Annotated[
        Path | None, typer.Option(help="The folder to write; RUN/export by default.")
    ] = None,
) -> None:
    """Write a run's tables as CSV, Parquet or NetCDF; or its profiles and images for TensorBoard.

    Parquet and NetCDF need the extra `undertow[export]`, TensorBoard `undertow[tensorboard]`.
    """
    from undertow.errors import UnknownName
    from undertow.report.tensorboard import export_tensorboard
    from undertow.store import open_run
    from undertow.store.export import Format
    from undertow.store.export import export as write

    if kind not in (*get_args(Format), "tensorboard"):
        raise UnknownName("format", kind, [*get_args(Format), "tensorboard"])
    found, folder = open_run(run), out or run / "export"
    tell_absent(found)
    if kind == "tensorboard":
        written = export_tensorboard(found, folder / "tensorboard" if out is None else folder)
    else:
        written = write(found, cast("Format", kind), folder)
    for path in written:
        print(path)
