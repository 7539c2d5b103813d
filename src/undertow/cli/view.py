"""``undertow view``: explore a run in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from undertow.cli.show import say


def view(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port; 0 for any free one.")
    ] = 8050,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            envvar="UNDERTOW_TOKEN",
            help="The token that visitors show; made if none is given.",
        ),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="A certificate (PEM): visitors are spoken to by TLS.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Its private key (PEM), if not in the same file.")
    ] = None,
    other: Annotated[
        list[Path] | None,
        typer.Option("--with", help="Another run to compare with; may be repeated."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model of your own for live attacks; may be repeated."),
    ] = None,
) -> None:
    """Explore a run in the browser. Serves until interrupted; the first line is the address."""
    from undertow.viewer import open_viewer

    viewer = open_viewer(
        run, others=other or (), host=host, port=port, token=token, certificate=certificate,
        key=key, models=model or (),
    )  # fmt: skip
    say(viewer.url, flush=True)
    try:
        viewer.serve_forever()
    except KeyboardInterrupt:
        say("stopped")
