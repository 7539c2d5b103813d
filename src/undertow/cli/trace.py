"""``undertow trace``: one input through one attack, Figure 1."""

from __future__ import annotations

from typing import Annotated

import typer

from undertow.cli import options
from undertow.cli.options import DataDir, DataName, Device, ModelName, Quiet
from undertow.cli.show import finish, say_explained


def trace(
    model: ModelName = "good_init",
    attack: options.AttackName = "jsma",
    data: DataName = "cifar10",
    index: Annotated[int, typer.Option(min=0, help="Which input of the test split.")] = 0,
    set_: options.Set = None,
    target: options.Target = None,
    mean: options.Mean = None,
    std: options.Std = None,
    output: options.Picked = None,
    classes: options.Classes = None,
    size: options.Size = None,
    taps: options.Taps = None,
    readers: Annotated[
        int, typer.Option(min=0, help="Training inputs of the class readers; 0 for none.")
    ] = 2000,
    out: options.Out = None,
    data_dir: DataDir = None,
    device: Device = "cpu",
    seed: options.Seed = 0,
    precision: options.Gradients = options.FLOAT32,
    unaware: options.Unaware = False,
    quiet: Quiet = False,
) -> None:
    """Follow one input through an attack, step by step, and say what it did to the flow.

    The last line is the report's path.
    """
    from undertow.progress import terminal
    from undertow.studies.trace import trace as run_trace

    run = run_trace(
        model=model, attack=attack, data=data, index=index, settings=options.settings(set_),
        target=target, output=options.place(output), classes=classes,
        size=options.square(size),
        mean=options.numbers(mean, "--mean"), std=options.numbers(std, "--std"),
        taps=taps or (), readers=readers, out=out, data_dir=data_dir, device=device, seed=seed,
        precision=precision, unaware=unaware, progress=terminal(quiet=quiet),
    )  # fmt: skip
    say_explained(run)
    finish(run)
