"""``undertow study``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from undertow.cli.options import DataDir, Device, Quiet
from undertow.cli.show import finish, say_answers


def study(
    spec: Annotated[
        str | None, typer.Argument(help="A preset (quick, …) or a YAML file.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run directory; runs/NAME by default.")
    ] = None,
    inputs: Annotated[int | None, typer.Option(min=1, help="Inputs a cell.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The study's seed.")] = None,
    data_dir: DataDir = None,
    device: Device = "cpu",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Local processes that share the work.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="A Dask scheduler whose workers share the work: tcp://HOST:8786."),
    ] = None,
    init: Annotated[bool, typer.Option("--init", help="Print a commented example.")] = False,
    quiet: Quiet = False,
) -> None:
    """Run a study, or go on with it, and write its report. The last line is the report's path."""
    from undertow.errors import BadInput
    from undertow.progress import terminal
    from undertow.studies.asked.spec import example, presets

    if init:
        print(example(), end="")
        return
    if spec is None:
        raise BadInput(f"a study is needed: a preset ({', '.join(presets())}) or a YAML file")
    from undertow.studies.run import study as run_study

    run = run_study(
        spec, out=out, inputs=inputs, seed=seed, data_dir=data_dir, device=device,
        workers=workers, cluster=cluster, progress=terminal(quiet=quiet),
    )  # fmt: skip
    say_answers(run)
    finish(run)
