"""``undertow doctor``: what is here, what is missing, and how to get it."""

from __future__ import annotations

import typer

from undertow.cli.options import Json


def doctor(as_json: Json = False) -> None:
    """Say what is here and what is missing: versions, device, cache, data, weights, extras."""
    from undertow.cli.health import findings
    from undertow.cli.show import table

    found = findings()
    table([one.row() for one in found], as_json=as_json)
    if any(one.state == "missing" for one in found):
        raise typer.Exit(1)
