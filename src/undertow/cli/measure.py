"""``undertow measure``: profiles without an attack."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from undertow.cli import options
from undertow.cli.options import DataDir, DataName, Device, Json, ModelName, Quiet
from undertow.cli.show import say, table


def measure(
    model: ModelName = "good_init",
    data: DataName = "cifar10",
    inputs: Annotated[int, typer.Option(min=2, help="How many inputs.")] = 100,
    out: options.Out = None,
    mean: options.Mean = None,
    std: options.Std = None,
    output: options.Picked = None,
    classes: options.Classes = None,
    size: options.Size = None,
    taps: options.Taps = None,
    readers: Annotated[
        int, typer.Option(min=0, help="Training inputs of the class readers; 0 for none.")
    ] = 2000,
    data_dir: DataDir = None,
    device: Device = "cpu",
    seed: options.Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the information profiles of benign inputs and print their means, tap by tap."""
    from undertow.progress import terminal
    from undertow.studies.asked.spec import DataSpec, StudySpec
    from undertow.studies.explain import flat_name
    from undertow.studies.run import study

    name = flat_name(f"measure-{model}")
    spec = StudySpec(
        name=name, models=(model,), attacks=(), questions=(), exemplars=0, seed=seed,
        output=options.place(output),
        mean=options.numbers(mean, "--mean"), std=options.numbers(std, "--std"),
        taps=tuple(taps or ()), readers=readers,
        data=DataSpec(name=data, inputs=inputs, select="all", classes=classes,
                      size=options.square(size)),
    )  # fmt: skip
    run = study(spec, out=out, data_dir=data_dir, device=device, progress=terminal(quiet=quiet))
    failed = [r.traceback or "" for r in run.records.values() if r.state == "failed"]
    if failed:
        why = (failed[0].strip().splitlines() or ["unknown"])[-1]
        print(f"undertow: {len(failed)} shards failed, the first with {why}", file=sys.stderr)
    found = run.answers.tables[-1] if run.answers and run.answers.tables else None
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows] if found else []
    table(rows, as_json=as_json)
    if not as_json:
        say(run.path)
    if failed:
        raise typer.Exit(1)
