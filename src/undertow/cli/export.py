"""``undertow export``: a run's numbers for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer


def export(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    kind: Annotated[str, typer.Option("--format", help="csv, parquet or netcdf.")] = "csv",
    out: Annotated[
        Path | None, typer.Option(help="The folder to write; RUN/export by default.")
    ] = None,
) -> None:
    """Write a run's tables as CSV, Parquet or NetCDF."""
    from undertow.errors import UnknownName
    from undertow.store import open_run
    from undertow.store.export import Format
    from undertow.store.export import export as write

    if kind not in get_args(Format):
        raise UnknownName("format", kind, get_args(Format))
    for path in write(open_run(run), cast("Format", kind), out or run / "export"):
        print(path)
