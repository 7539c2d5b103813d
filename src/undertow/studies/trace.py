"""One input of a data set through one attack, step by step: Figure 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from undertow.progress import SILENT, Progress
from undertow.store import Run
from undertow.studies.explain import flat_name, run_explanation
from undertow.types import Precision

__all__ = ["trace"]


def trace(
    *,
    model: str,
    attack: str,
    data: str,
    index: int,
    settings: Mapping[str, Any] | None = None,
    target: int | str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    output: int | str | None = None,
    classes: str | None = None,
    size: tuple[int, int] | None = None,
    taps: Sequence[str] = (),
    readers: int = 2000,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    device: str = "cpu",
    seed: int = 0,
    precision: Precision = "float32",
    unaware: bool = False,
    progress: Progress = SILENT,
) -> Run:
    """Follow one input through every iterate of an attack, controls of the same norms beside it.

    Args:
        model: as ``load_model`` takes it.
        attack: a name from the attack registry.
        data: a data set.
        index: which input of its test split.
        settings: of the attack.
        target: of the attack: a rule, a class number or a class name.
        mean: subtracted from the input of a model that does not normalise it, one a channel.
        std: divides it.
        output: which of several things that the model puts out are its logits.
        classes: a file of the model's class names, a line each.
        size: (row, col) that pictures of your own are brought to.
        taps: names or patterns of layers; empty for the automatic choice.
        readers: training inputs that class readers are fitted on; 0 for none.
        out: the run directory; ``runs/trace-MODEL-ATTACK-INDEX`` by default.
        data_dir: where the data set lies.
        device: where to compute.
        seed: the one seed.
        precision: of the attack's gradients, as ``craft`` takes it.
        unaware: of a defended network attack what is behind the defence.
        progress: told how far it is.

    Raises:
        BadInput: for an attack that cannot be followed on one model.
    """
    named = attack.rpartition(":")[2]
    name = f"trace-{flat_name(model)}-{named}-{index}"
    options = (
        settings or None, target, mean, std, output, classes, size, tuple(taps) or None,
        *([True] if unaware else []),
    )  # fmt: skip
    usual = (data, readers, seed, precision) == ("cifar10", 2000, 0, "float32")
    if not usual or any(option is not None for option in options):
        asked = (data, readers, seed, precision, *options)
        name += f"-{sha256(repr(asked).encode()).hexdigest()[:8]}"
    return run_explanation(
        model, f"{data}:{index}", attack=attack, settings=settings, target=target, mean=mean,
        std=std, output=output, classes=classes, size=size, taps=taps, readers=readers,
        out=out or Path("runs") / name, data_dir=data_dir, device=device, seed=seed, name=name,
        iterates=None, precision=precision, unaware=unaware, progress=progress,
    )  # fmt: skip
