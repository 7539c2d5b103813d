"""``undertow carriers``: which maps carried an attack, and what proves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from undertow.cli import options
from undertow.cli.options import DataDir, DataName, Device, Json, ModelName, Quiet
from undertow.cli.show import finish, say_answers, table

if TYPE_CHECKING:
    from undertow.store import Restoration


def carriers(
    model: ModelName = "good_init",
    attack: options.AttackName = "igsm",
    data: DataName = "cifar10",
    inputs: Annotated[int, typer.Option(min=2, help="How many inputs.")] = 50,
    set_: options.Set = None,
    target: options.Target = None,
    ranking: Annotated[
        list[str] | None,
        typer.Option(
            help="Rank maps by this, the first is told most; repeat for several. "
            "integrated, attribution, change, drift, or path/to/mine.py:ranking."
        ),
    ] = None,
    mean: options.Mean = None,
    std: options.Std = None,
    output: options.Picked = None,
    classes: options.Classes = None,
    size: options.Size = None,
    taps: options.Taps = None,
    out: options.Out = None,
    data_dir: DataDir = None,
    device: Device = "cpu",
    seed: options.Seed = 0,
    precision: options.Gradients = options.FLOAT32,
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Local processes that share the work.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rank the maps of every layer by what they carry of an attack, and put them back.

    Says at how many inputs the true label returns with a quarter of the maps, layer by layer,
    beside random maps; the last line is the report's path.
    """
    from undertow.progress import terminal
    from undertow.studies.carriers import run_carriers

    run = run_carriers(
        model=model, attack=attack, data=data, inputs=inputs, settings=options.settings(set_),
        target=target, output=options.place(output), classes=classes,
        size=options.square(size), rankings=ranking or (),
        mean=options.numbers(mean, "--mean"),
        std=options.numbers(std, "--std"), taps=taps or (), out=out, data_dir=data_dir,
        device=device, seed=seed, precision=precision, workers=workers,
        progress=terminal(quiet=quiet or as_json),
    )  # fmt: skip
    assert run.answers is not None
    (found,) = (one for by in run.answers.restorations.values() for one in by.values())
    table([_row(found, k) for k in range(len(found.tap))], as_json=as_json)
    if as_json:
        return
    say_answers(run)
    finish(run)


def _row(found: Restoration, k: int) -> dict[str, object]:
    """One layer: a quarter of its maps put back and implanted, beside random ones."""
    from undertow.statistics.restoration import quarter_place

    place = quarter_place(found.count[k])
    first, *_ = found.restored
    back = found.restored[first][k]
    maps = max(found.count[k])
    return {
        "layer": found.tap[k],
        "maps": maps,
        "n": found.n,
        "quarter returns": back.mean[place],
        "low": back.low[place],
        "high": back.high[place],
        "random": found.restored["random"][k].mean[place],
        "random, as large": found.restored["matched"][k].mean[place],
        "implanted": found.implanted[first][k].mean[place],
        "fewest": round((found.smallest[0][k] or 0) * maps, 1),
        "in random order": round((found.smallest[1][k] or 0) * maps, 1),
        "carriers": ", ".join(str(j) for j, _ in found.carriers[k][:3]),
    }
