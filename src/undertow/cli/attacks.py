"""``undertow attacks``: what attacks there are."""

from __future__ import annotations

import typer

from undertow.cli.options import Json
from undertow.cli.show import table

app = typer.Typer(help="The attacks.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The attacks."""


def _norm(kind: object, defaults: dict[str, object]) -> object:
    """The distance an attack keeps small: fixed, a setting, or that of an inner attack."""
    norm = getattr(kind, "norm", "")
    return norm if isinstance(norm, str) else defaults.get("norm", "as the inner attack")


@app.command("list")
def list_attacks(as_json: Json = False) -> None:
    """List the attacks with their settings."""
    from dataclasses import MISSING, fields, is_dataclass

    from undertow.attacks import ATTACKS

    rows = []
    for entry in ATTACKS.entries():
        kind = entry.load()
        defaults = {
            f.name: f.default
            for f in (fields(kind) if is_dataclass(kind) else ())
            if f.default is not MISSING
        }
        rows.append(
            {
                "name": entry.name,
                "norm": _norm(kind, defaults),
                "what": entry.summary,
                "settings": defaults
                if as_json
                else ", ".join(f"{k}={v}" for k, v in defaults.items()),
            }
        )
    table(rows, as_json=as_json)
