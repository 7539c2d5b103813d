"""``undertow study``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from undertow.cli.options import DataDir, Device, Quiet
from undertow.cli.show import finish, say, say_answers


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
        int | None, typer.Option(min=1, max=1024, help="Local processes that share the work.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="A Dask scheduler whose workers share the work: tcp://HOST:8786."),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="Run the code that a study file names, though it does not lie in this folder.",
        ),
    ] = False,
    init: Annotated[bool, typer.Option("--init", help="Print a commented example.")] = False,
    quiet: Quiet = False,
) -> None:
    """Run a study, or go on with it, and write its report. The last line is the report's path."""
    from undertow.errors import BadInput
    from undertow.progress import terminal
    from undertow.studies.asked.spec import example, presets

    if init:
        say(example(), end="")
        return
    if spec is None:
        raise BadInput(f"a study is needed: a preset ({', '.join(presets())}) or a YAML file")
    from undertow.studies.run import study as run_study

    if not trust:
        _check_own(spec)
    run = run_study(
        spec, out=out, inputs=inputs, seed=seed, data_dir=data_dir, device=device,
        workers=workers, cluster=cluster, progress=terminal(quiet=quiet),
    )  # fmt: skip
    say_answers(run)
    finish(run)


def _check_own(given: str) -> None:
    """A study file from elsewhere may run code only where its user says so.

    One that lies in the folder in which the command is given, or beneath it, is the user's own.

    Raises:
        BadInput: names the file's code.
    """
    from undertow.errors import BadInput, shown
    from undertow.loading import home, is_file
    from undertow.studies.asked.spec import load_spec
    from undertow.studies.names import code_named

    if not is_file(given) or home(given).resolve().is_relative_to(Path.cwd().resolve()):
        return
    if named := code_named(load_spec(given)):
        raise BadInput(
            f"the study '{shown(given, 300)}' lies outside this folder and runs code: "
            f"{', '.join(named)}. Read it, then give --trust"
        )
