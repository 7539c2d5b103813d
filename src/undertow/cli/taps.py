"""``undertow taps``: where a model is read."""

from __future__ import annotations

from typing import Annotated

import typer

from undertow.cli import options
from undertow.cli.options import Json
from undertow.cli.show import table


def taps(
    model: Annotated[str, typer.Argument(help="A model: a name, path/file.py:factory, …")],
    which: Annotated[
        list[str] | None,
        typer.Option("--tap", "--taps", help="A name, a glob or kind:NAME; may be repeated."),
    ] = None,
    size: Annotated[int, typer.Option(min=1, max=8192, help="Height and width of an input.")] = 32,
    channels: Annotated[int, typer.Option(min=1, max=4096, help="Channels of an input.")] = 3,
    mean: options.Mean = None,
    std: options.Std = None,
    output: options.Picked = None,
    as_json: Json = False,
) -> None:
    """List the taps of a model: name, shape, depth and multiply-adds."""
    import torch

    from undertow.data import load_data
    from undertow.models import MODELS, load_model
    from undertow.taps.choose import table as rows

    example = torch.full((1, channels, size, size), 0.5, dtype=torch.float32)
    name = model.removeprefix("zoo:")
    if name in MODELS and MODELS[name].data == "digits":
        example = load_data("digits")[:1][0]
    pair = options.numbers(mean, "--mean"), options.numbers(std, "--std")
    network = load_model(model, mean=pair[0], std=pair[1], output=options.place(output))
    table(rows(network, example, which or None), as_json=as_json)
