"""``undertow models``: the zoo, its accuracies, and how its weights are made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from undertow.cli.options import DataDir, Device, Json, Quiet, Seed
from undertow.cli.show import document, say, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from undertow.models import Checked
    from undertow.models.own import Made

app = typer.Typer(help="The models that ship with Undertow.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The models that ship with Undertow."""


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """List the models with accuracy and size, from their cards; dashes await their training."""
    from undertow.models import listing

    table(listing(), as_json=as_json)


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Models; none with --all.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Check every model that has weights.")
    ] = False,
    device: Device = "cpu",
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate shipped weights on the full test set and hold the result against the card."""
    from undertow.errors import BadInput
    from undertow.models import check_model
    from undertow.models.cards import shipped
    from undertow.progress import terminal

    if bool(names) == every:
        raise BadInput("name the models to check, or give --all")
    progress = terminal(quiet=quiet)
    checked = [
        check_model(name, device=device, data_dir=data_dir, progress=progress)
        for name in (shipped() if every else names or ())
    ]
    rows = [_checked(found) for found in checked]
    if as_json:
        document(rows)
    else:
        table([{k: v for k, v in r.items() if k not in ("confusion", "classes")} for r in rows])
        for row in rows:
            _confusion(row)
    for found in checked:
        for fault in found.differs:
            print(f"undertow: {found.card.name}: {fault}", file=sys.stderr)
    if any(found.differs for found in checked):
        raise typer.Exit(1)


def _checked(found: Checked) -> dict[str, object]:
    return {
        "model": found.card.name,
        "accuracy": found.evaluation.accuracy,
        "card": found.card.accuracy,
        "rejected": found.evaluation.rejected,
        "robust": found.robust["accuracy"],
        "robust, card": found.card.robust.get("accuracy"),
        "calibration error": found.evaluation.ece,
        "images": found.evaluation.count,
        "as the card says": not found.differs,
        "classes": list(found.card.classes),
        "confusion": found.evaluation.confusion.tolist(),
    }


def _confusion(result: dict[str, object]) -> None:
    classes, counts = result["classes"], result["confusion"]
    assert isinstance(classes, list)
    assert isinstance(counts, list)
    rows = [
        {"true class": name, **dict(zip(classes, row, strict=True))}
        for name, row in zip(classes, counts, strict=True)
    ]
    say()
    table(rows, title=f"{result['model']}: answers (columns) to images of each class (rows)")


def _make(
    method: str,
    name: str,
    out: Path | None,
    seed: int,
    device: str,
    data_dir: Path | None,
    quiet: bool,
) -> None:
    from undertow.errors import BadInput
    from undertow.models import MODELS
    from undertow.models.train import train as make
    from undertow.progress import terminal

    if MODELS[name].method != method:
        raise BadInput(f"'{name}' is made by: undertow models {MODELS[name].method} {name}")
    folder = out or Path("runs") / "models" / name.replace("/", "-")
    card = make(
        name,
        out=folder,
        seed=seed,
        device=device,
        data_dir=data_dir,
        progress=terminal(quiet=quiet),
    )
    table([{"name": card.name, "accuracy": card.accuracy, "held out": card.held_out_accuracy}])
    say(folder)


Out = Annotated[Path | None, typer.Option(help="Checkpoints, weights and card; runs/models/NAME.")]
Data = Annotated[
    str | None,
    typer.Option(help="For a network of your own: a data set, a folder of images or an .npz file."),
]
Epochs = Annotated[
    int | None,
    typer.Option(min=1, help="For a network of your own: passes over the data, a training."),
]


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="A model of the zoo.")],
    out: Out = None,
    seed: Seed = 0,
    device: Device = "cpu",
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Train a model from nothing, or go on where a killed training stopped."""
    _make("train", name, out, seed, device, data_dir, quiet)


@app.command()
def trim(
    name: Annotated[
        str, typer.Argument(help="A trimmed model of the zoo, or path/file.py:factory with --data.")
    ] = "good_init/trimmed",
    data: Data = None,
    weights: Annotated[
        Path | None, typer.Option(help="For a network of your own: its weights before trimming.")
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=0.99, help="For a network of your own: share of parameters that may stay."
        ),
    ] = None,
    epochs: Epochs = None,
    out: Out = None,
    seed: Seed = 0,
    device: Device = "cpu",
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Compress a model, or a network of your own, by Network Trimming (Hu et al. 2016)."""
    if not _own(name, data, {"--weights": weights, "--keep": keep, "--epochs": epochs}):
        _make("trim", name, out, seed, device, data_dir, quiet)
        return
    from undertow.models.own import trim_own
    from undertow.models.recipe import Recipe, Trimming
    from undertow.progress import terminal

    usual = Trimming()
    share = usual.parameters if keep is None else keep
    settings = Trimming(
        parameters=share,
        # Narrower maps cost less in both; the rest is the proportion of the usual settings.
        multiply_adds=min(0.99, share * usual.multiply_adds / usual.parameters),
        between=Recipe(epochs=max(1, epochs // 3), rate=0.05) if epochs else usual.between,
        last=Recipe(epochs=epochs, rate=0.1) if epochs else usual.last,
    )
    _told(
        trim_own(
            name, data=data or "", out=_folder(name, "trimmed", out), weights=weights,
            settings=settings, seed=seed, device=device, data_dir=data_dir,
            progress=terminal(quiet=quiet),
        )
    )  # fmt: skip


@app.command()
def distill(
    name: Annotated[
        str,
        typer.Argument(help="A distilled model of the zoo, or path/file.py:factory with --data."),
    ] = "good_init/distilled",
    data: Data = None,
    epochs: Epochs = None,
    out: Out = None,
    seed: Seed = 0,
    device: Device = "cpu",
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Defend a model, or a network of your own, by defensive distillation (Papernot et al. 2016).

    A network of your own is trained from its architecture, twice: teacher, then student.
    """
    if not _own(name, data, {"--epochs": epochs}):
        _make("distill", name, out, seed, device, data_dir, quiet)
        return
    from undertow.models.own import distill_own
    from undertow.models.recipe import Recipe
    from undertow.progress import terminal

    recipe = Recipe(epochs=epochs, smoothing=0.0) if epochs else None
    _told(
        distill_own(
            name, data=data or "", out=_folder(name, "distilled", out), recipe=recipe, seed=seed,
            device=device, data_dir=data_dir, progress=terminal(quiet=quiet),
        )
    )  # fmt: skip


@app.command()
def harden(
    name: Annotated[
        str,
        typer.Argument(help="A robust model of the zoo, or path/file.py:factory with --data."),
    ] = "good_init/robust",
    data: Data = None,
    epsilon: Annotated[
        str | None, typer.Option(help="For a network of your own: radius, such as 8/255.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="For a network of your own: gradient steps a batch; 1."),
    ] = None,
    epochs: Epochs = None,
    out: Out = None,
    seed: Seed = 0,
    device: Device = "cpu",
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Defend a model, or a network of your own, by adversarial training (Madry et al. 2018).

    One gradient step from a random start (de Jorge et al. 2022), under a guard that sees a
    collapse on held-out images, takes the epoch back and goes on with more steps.
    """
    if not _own(name, data, {"--epsilon": epsilon, "--steps": steps, "--epochs": epochs}):
        _make("harden", name, out, seed, device, data_dir, quiet)
        return
    from undertow.models.own import harden_own
    from undertow.models.recipe import Hardening, Recipe
    from undertow.progress import terminal

    usual = Hardening()
    _told(
        harden_own(
            name, data=data or "", out=_folder(name, "robust", out),
            recipe=Recipe(epochs=epochs, smoothing=0.0) if epochs else None,
            hardening=Hardening(
                epsilon=usual.epsilon if epsilon is None else _radius(epsilon),
                steps=steps or usual.steps,
            ),
            seed=seed, device=device, data_dir=data_dir, progress=terminal(quiet=quiet),
        )
    )  # fmt: skip


@app.command()
def shield(
    name: Annotated[
        str,
        typer.Argument(help="A defended model of the zoo, or path/file.py:factory with --data."),
    ] = "good_init/magnet",
    data: Data = None,
    weights: Annotated[
        Path | None, typer.Option(help="For a network of your own: its weights.")
    ] = None,
    epochs: Epochs = None,
    out: Out = None,
    seed: Seed = 0,
    device: Device = "cpu",
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Put a network as it is behind MagNet (Meng and Chen 2017): detectors and a reformer.

    An autoencoder learns the images; thresholds are set on held-out ones. Feature squeezing
    (good_init/squeezed) has thresholds only.
    """
    if not _own(name, data, {"--weights": weights, "--epochs": epochs}):
        _make("shield", name, out, seed, device, data_dir, quiet)
        return
    from undertow.models.own import shield_own
    from undertow.models.recipe import Shielding
    from undertow.progress import terminal

    _told(
        shield_own(
            name, data=data or "", out=_folder(name, "magnet", out), weights=weights,
            shielding=Shielding(epochs=epochs) if epochs else None, seed=seed, device=device,
            data_dir=data_dir, progress=terminal(quiet=quiet),
        )
    )  # fmt: skip


def _radius(text: str) -> float:
    from undertow.errors import BadInput
    from undertow.prose import told_number

    given = told_number(text)
    if given is None:
        raise BadInput(f"--epsilon {text}: give a number, such as 8/255")
    return float(given)


def _own(name: str, data: str | None, options: Mapping[str, object]) -> bool:
    """Whether a network of the user's own is meant.

    Raises:
        BadInput: for one without data, or a model of the zoo with options that it does not take.
    """
    from undertow.errors import BadInput
    from undertow.models import MODELS

    if data is not None:
        return True
    given = [option for option, value in options.items() if value is not None]
    if ":" in name:
        raise BadInput(f"'{name}' needs --data: the images to train and to test on")
    if given and name in MODELS:
        raise BadInput(
            f"{', '.join(given)}: for networks of your own, with --data; not for '{name}'"
        )
    return False


def _folder(name: str, what: str, out: Path | None) -> Path:
    file, _, factory = name.rpartition(":")
    plain = f"{Path(file).stem}-{factory}" if file.endswith(".py") else name
    return out or Path("runs") / "models" / f"{plain}-{what}".replace("/", "-").replace(":", "-")


def _told(made: Made) -> None:
    table(
        [
            {
                "accuracy": made.accuracy,
                "parameters": made.parameters,
                "multiply-adds": made.multiply_adds,
            }
        ]
    )
    say(made.weights)
