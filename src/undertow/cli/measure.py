"""``undertow measure``: profiles without an attack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from undertow.cli.show import Json, Quiet, table


def measure(
    model: Annotated[
        str, typer.Option(help="A model: a name, path/file.py:factory, …")
    ] = "good_init",
    data: Annotated[
        str, typer.Option(help="A data set, a folder of images or an .npz file.")
    ] = "cifar10",
    inputs: Annotated[int, typer.Option(min=2, help="How many inputs.")] = 100,
    out: Annotated[Path | None, typer.Option(help="The run directory.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the data set lies.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    seed: Annotated[int, typer.Option(min=0, help="The one seed.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the information profiles of benign inputs and print their means, tap by tap."""
    from undertow.progress import terminal
    from undertow.studies.run import study
    from undertow.studies.spec import DataSpec, StudySpec

    name = f"measure-{model.replace('/', '-').replace(':', '-')}"
    spec = StudySpec(
        name=name, models=(model,), attacks=(), questions=(), exemplars=0, seed=seed,
        data=DataSpec(name=data, inputs=inputs, select="all"),
    )  # fmt: skip
    run = study(spec, out=out, data_dir=data_dir, device=device, progress=terminal(quiet=quiet))
    found = run.answers.tables[-1] if run.answers else None
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows] if found else []
    table(rows, as_json=as_json)
    if not as_json:
        print(run.path)
