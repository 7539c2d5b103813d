"""``undertow data``: what data sets there are, and bringing one here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from undertow.cli.options import Json, Quiet
from undertow.cli.show import say, table

app = typer.Typer(help="The data sets.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The data sets."""


@app.command("list")
def list_data(as_json: Json = False) -> None:
    """List the data sets and whether they are here."""
    from undertow.data import listing

    table(listing(), as_json=as_json)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A data set; `undertow data list` names them.")],
    data_dir: Annotated[
        Path | None, typer.Option(help="A folder that may hold the files already.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Bring a data set into the cache, verified; nothing happens if it is there."""
    from undertow.data import load_data
    from undertow.progress import terminal

    for split in ("train", "test"):
        found = load_data(name, split=split, data_dir=data_dir, progress=terminal(quiet=quiet))
        say(f"{name} {split}: {len(found)} inputs, sha256 {found.fingerprint[:16]}")
