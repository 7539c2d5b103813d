"""Options that several commands take, each with one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from undertow.errors import BadInput

__all__ = [
    "FLOAT32", "AttackName", "Classes", "DataDir", "DataName", "Device", "Gradients", "Json",
    "Mean", "ModelName", "Out", "Picked", "Quiet", "Seed", "Set", "Size", "Std", "Taps", "Target",
    "numbers", "place", "settings", "square",
]  # fmt: skip

ModelName = Annotated[str, typer.Option(help="A model: a name, path/file.py:factory, …")]
AttackName = Annotated[str, typer.Option(help="An attack; `undertow attacks list` names them.")]
DataName = Annotated[str, typer.Option(help="A data set, a folder of images or an .npz file.")]
DataDir = Annotated[Path | None, typer.Option(help="Where the data set lies.")]
Out = Annotated[Path | None, typer.Option(help="The run directory.")]
Seed = Annotated[int, typer.Option(min=0, help="The one seed.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
FLOAT32: Final = "float32"
Gradients = Annotated[
    Literal["float32", "bf16"],
    typer.Option(
        "--precision",
        help="bf16: gradients of the attack in half precision, faster where the processor has it; "
        "every success is verified in float32.",
    ),
]
Unaware = Annotated[
    bool,
    typer.Option(
        "--unaware",
        help="Attack what is behind a network's defence, without a thought of it; the whole then "
        "judges what came of it.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE",
        help="A setting of the attack, such as epsilon=8/255; may be repeated.",
    ),
]  # fmt: skip
Target = Annotated[
    str | None,
    typer.Option(help="A class, by name or number; untargeted, easiest, least_likely or second."),
]
Mean = Annotated[
    str | None,
    typer.Option(help="Of the model's normalisation, one a channel: 0.49,0.48,0.45."),
]
Picked = Annotated[
    str | None,
    typer.Option(
        "--output",
        help="Of several things that the model puts out, which are its logits: a place, counted "
        "from 0, or a name.",
    ),
]  # fmt: skip
Classes = Annotated[
    str | None,
    typer.Option(
        "--classes",
        help="A file of the model's class names, a line each, where the model does not tell them.",
    ),
]
Size = Annotated[
    int | None,
    typer.Option(min=1, max=8192, help="Height and width that your own pictures are brought to."),
]
Std = Annotated[str | None, typer.Option(help="Likewise, by which it divides.")]
Taps = Annotated[
    list[str] | None,
    typer.Option("--taps", help="A layer to read, or a pattern; may be repeated. By choice."),
]


def square(given: int | None) -> tuple[int, int] | None:
    """Height and width, where one number was given for both."""
    return None if given is None else (given, given)


def place(given: str | None) -> int | str | None:
    """A place where a whole number was given, else a name."""
    return int(given) if given is not None and given.lstrip("-").isdecimal() else given


def settings(given: list[str] | None) -> dict[str, Any]:
    """``--set name=value`` as a mapping; the attack reads the values.

    Raises:
        BadInput: for something that is no pair, or a name that stands twice.
    """
    found: dict[str, Any] = {}
    for pair in given or ():
        name, equals, value = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not (equals and name and value.strip()):
            raise BadInput(f"--set {pair}: give name=value, for example --set epsilon=8/255")
        if name in found:
            raise BadInput(f"--set {name} stands twice")
        found[name] = value.strip()
    return found


def numbers(given: str | None, option: str) -> tuple[float, ...] | None:
    """``0.49,0.48,0.45`` as numbers.

    Raises:
        BadInput: names the option.
    """
    if given is None:
        return None
    from undertow.prose import told_number

    found = [told_number(part) for part in given.split(",")]
    if None in found:
        raise BadInput(f"{option} {given}: give numbers with commas between, one a channel")
    return tuple(float(v) for v in found if v is not None)
