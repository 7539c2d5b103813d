"""``undertow plane``: the population information plane of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from undertow.cli import options
from undertow.cli.options import DataDir, DataName, Device, Json, ModelName, Quiet
from undertow.cli.show import document, say, table

if TYPE_CHECKING:
    import xarray as xr

    from undertow.types import Attack


def plane(
    model: ModelName = "good_init",
    data: DataName = "cifar10",
    inputs: Annotated[int, typer.Option(min=2, help="How many inputs of the test split.")] = 1000,
    attack: Annotated[
        list[str] | None,
        typer.Option(help="An attack whose inputs are drawn beside the benign; may be repeated."),
    ] = None,
    set_: options.Set = None,
    target: options.Target = None,
    mean: options.Mean = None,
    std: options.Std = None,
    tap: Annotated[
        list[str] | None,
        typer.Option("--tap", "--taps", help="A layer, or a pattern; may be repeated."),
    ] = None,
    method: Annotated[str, typer.Option(help="kernel or binned.")] = "kernel",
    noise_variance: Annotated[
        float, typer.Option(help="Of the kernel's noise, in squared units of the activations.")
    ] = 0.1,
    bins: Annotated[int, typer.Option(help="Of the binned estimate.")] = 30,
    out: Annotated[
        Path | None, typer.Option(help="Write the figure: .pdf, .svg, .png or .html.")
    ] = None,
    data_dir: DataDir = None,
    device: Device = "cpu",
    seed: Annotated[int, typer.Option(min=0, help="The one seed of the attacks.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print I(X;T) and I(T;Y) of every layer over many inputs, with the published caveats.

    Another measure than the profiles of single inputs: that of Shwartz-Ziv and Tishby (2017) and
    Saxe et al. (2018).
    """
    from undertow.attacks.driver.craft import craft
    from undertow.data import load_data
    from undertow.errors import UnknownName
    from undertow.measuring.population import Method, information_plane
    from undertow.models import load_model
    from undertow.models.devices import usable
    from undertow.progress import terminal
    from undertow.studies.asked.inputs import target_of

    progress = terminal(quiet=quiet)
    if method not in get_args(Method):
        raise UnknownName("method", method, get_args(Method))
    _check_ending(out)
    asked = _attacks(attack or [], options.settings(set_))
    whole = load_data(data, "test", data_dir=data_dir, progress=progress)
    x, y = whole[:inputs]
    x = x.to(usable(device))
    network = load_model(
        model, channels=x.shape[1], device=device,
        mean=options.numbers(mean, "--mean"), std=options.numbers(std, "--std"),
    )  # fmt: skip
    how: Any = {"target": target_of(target, whole.classes), "seed": seed, "progress": progress}
    cells = {"benign": x, **{n: craft(a, network, x, y, **how).end for n, a in asked.items()}}
    found = information_plane(
        network, cells, y, tap, method=cast("Method", method), bins=bins,
        noise_variance=noise_variance, progress=progress,
    )  # fmt: skip
    _say(found, f"{len(y)} inputs of {data}", len(y), as_json=as_json)
    if out is not None:
        _write(found, model, out, told=not as_json)


def _say(found: xr.Dataset, what: str, inputs: int, *, as_json: bool) -> None:
    rows = found.to_dataframe().reset_index().to_dict("records")
    caveats = str(found.attrs["caveats"]).splitlines()
    if as_json:
        document({"layers": rows, "inputs": inputs, "unit": "bit", "caveats": caveats})
        return
    table(rows, title=f"Bits over {what}; no value can exceed log2 n")
    say("", *(f"- {caveat}" for caveat in caveats), sep="\n")


def _attacks(names: list[str], settings: dict[str, Any]) -> dict[str, Attack]:
    """The attacks by name, with their settings.

    Raises:
        BadInput: for settings of no attack, or of several.
    """
    from undertow.attacks import make
    from undertow.errors import BadInput

    if settings and len(names) != 1:
        raise BadInput(f"--set belongs to one attack; {len(names)} are named")
    return {name: make(name, **settings) for name in names}


def _write(found: xr.Dataset, model: str, out: Path, *, told: bool) -> None:
    from undertow.figures import draw, population_plane, save

    figure = population_plane(found, model=model)
    if out.suffix == ".html":
        draw(figure).write_html(out, include_plotlyjs=True)
    else:
        save(figure, out)
    if told:
        say(out)


def _check_ending(out: Path | None) -> None:
    from undertow.errors import BadInput
    from undertow.figures.print_ink import FORMATS

    allowed = [f".{f}" for f in (*FORMATS, "html")]
    if out is not None and out.suffix.lower() not in allowed:
        raise BadInput(f"unknown figure format '{out.suffix}' (allowed: {', '.join(allowed)})")
