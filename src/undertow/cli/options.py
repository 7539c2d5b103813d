"""Options that several commands take, each with one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["DataDir", "DataName", "Device", "Json", "ModelName", "Quiet"]

ModelName = Annotated[str, typer.Option(help="A model: a name, path/file.py:factory, …")]
DataName = Annotated[str, typer.Option(help="A data set, a folder of images or an .npz file.")]
DataDir = Annotated[Path | None, typer.Option(help="Where the data set lies.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
