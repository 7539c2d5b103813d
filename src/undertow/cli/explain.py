"""``undertow explain``: why was this image classified so, in a sentence."""

from __future__ import annotations

from typing import Annotated

import typer

from undertow.cli import options
from undertow.cli.options import DataDir, Device, Json, ModelName, Quiet
from undertow.cli.show import document, finish, say_explained


def explain(
    image: Annotated[
        str, typer.Argument(help="A picture, a folder of pictures, or DATASET:INDEX.")
    ],
    model: ModelName = "good_init",
    label: Annotated[
        str | None, typer.Option(help="What the picture shows: a class, by name or number.")
    ] = None,
    attack: Annotated[
        str | None, typer.Option(help="Attack it, and explain what that did.")
    ] = None,
    set_: options.Set = None,
    target: options.Target = None,
    beside: Annotated[
        str | None,
        typer.Option(help="A data set to compare with; the model's own where that is known."),
    ] = None,
    mean: options.Mean = None,
    std: options.Std = None,
    output: options.Picked = None,
    classes: options.Classes = None,
    size: options.Size = None,
    taps: options.Taps = None,
    readers: Annotated[
        int, typer.Option(min=0, help="Training inputs of the class readers; 0 for none.")
    ] = 0,
    out: options.Out = None,
    data_dir: DataDir = None,
    device: Device = "cpu",
    seed: options.Seed = 0,
    precision: options.Gradients = options.FLOAT32,
    unaware: options.Unaware = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say why a model answers as it does: from which layer the flow goes to which class.

    Attacked or not, labelled or not, one picture or a folder. The first line is the sentence, the
    last one the report's path.
    """
    from undertow.progress import terminal
    from undertow.studies.explain import run_explanation

    run = run_explanation(
        model, image, label=label, attack=attack, settings=options.settings(set_), target=target,
        beside=beside, output=options.place(output), classes=classes,
        size=options.square(size),
        mean=options.numbers(mean, "--mean"), std=options.numbers(std, "--std"),
        taps=taps or (), readers=readers, out=out, data_dir=data_dir, device=device, seed=seed,
        precision=precision, unaware=unaware, progress=terminal(quiet=quiet or as_json),
    )  # fmt: skip
    if as_json:
        told = run.answers.explanations if run.answers else ()
        inputs = [{"sentence": e.sentence, **e.model_dump(mode="json")} for e in told]
        document({"explanations": inputs, "run": str(run.path)})
        return
    say_explained(run)
    finish(run)
