"""Making the weights of a network of the zoo, from nothing to the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from undertow.data import load_data
from undertow.data.cache import check_writable
from undertow.models.cards import Card
from undertow.models.defended import Thresholded
from undertow.models.fitting import fit
from undertow.models.registry import MODELS, fresh
from undertow.models.shipping import load_zoo, ship
from undertow.progress import SILENT, Progress
from undertow.seeds import derive

__all__ = ["train"]


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    network: nn.Module
    log: Sequence[Mapping[str, int | float]]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


def train(
    name: str,
    *,
    out: str | Path,
    seed: int = 0,
    device: str = "cpu",
    data_dir: str | Path | None = None,
    progress: Progress = SILENT,
) -> Card:
    """Make the weights of a model of the zoo, by the method that its registry line names.

    The same seed gives the same weights on one device and number of threads. Killed at any
    moment, the same call goes on from the last whole epoch and ends in the same weights.

    Args:
        name: a name in :data:`undertow.models.registry.MODELS`.
        out: folder for checkpoints, weights and card.
        seed: of first weights, order, shifts and mirrors.
        device: ``"cpu"``, ``"cuda"``, ...
        data_dir: where the data may lie.
        progress: told about everything.

    Returns:
        The card; the test set is used for it, once, and for nothing else.

    Raises:
        UnknownName: if there is no such model.
        Unavailable: if ``out`` cannot be written.
        Foreign: if ``out`` holds checkpoints of another training.
    """
    folder = Path(out)
    methods = {
        "train": _train, "harden": _train, "distill": _distill, "trim": _trim, "shield": _shield,
    }  # fmt: skip
    how = methods[MODELS[name].method]
    check_writable(folder)
    made = how(name, seed=seed, out=folder, device=device, data_dir=data_dir, progress=progress)
    return ship(
        name,
        made.network.cpu(),
        seed=seed,
        out=folder,
        seconds=sum(line["seconds"] for line in made.log),
        arguments=made.arguments,
        details={
            **made.details,
            "log": [{k: round(v, 5) for k, v in line.items()} for line in made.log],
        },
        device=device,
        data_dir=data_dir,
        progress=progress,
    )


def _train(
    name: str, *, seed: int, out: Path, device: str, data_dir: Any, progress: Progress
) -> _Made:
    model = MODELS[name]
    data = load_data(model.data, "fit", data_dir=data_dir, progress=progress)
    network = fresh(name, data, seed)
    log = fit(
        network,
        data,
        model.recipe,
        seed=derive(seed, name, "fit"),
        checkpoint=out / "checkpoint.pt",
        held_out=load_data(model.data, "held_out", data_dir=data_dir),
        hardening=model.hardening,
        device=device,
        title=f"training {name}",
        progress=progress,
    )
    told = {} if model.hardening is None else {"hardening": asdict(model.hardening)}
    return _Made(network, log, details=told)


def _distill(
    name: str, *, seed: int, out: Path, device: str, data_dir: Any, progress: Progress
) -> _Made:
    from undertow.models.distill import distill

    model = MODELS[name]
    data = load_data(model.data, "fit", data_dir=data_dir, progress=progress)
    student, log, details = distill(
        lambda role: fresh(name, data, derive(seed, role)),
        data,
        load_data(model.data, "held_out", data_dir=data_dir),
        model.recipe,
        name=name,
        seed=seed,
        out=out,
        device=device,
        progress=progress,
    )
    return _Made(student, log, details=details)


def _shield(
    name: str, *, seed: int, out: Path, device: str, data_dir: Any, progress: Progress
) -> _Made:
    from undertow.models.shield import shield

    model = MODELS[name]
    assert model.parent is not None
    assert model.shielding is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, name, "init"))
        defended = model.build()
    assert isinstance(defended, Thresholded)
    defended.network = load_zoo(model.parent)
    log, details = shield(
        defended,
        load_data(model.data, "fit", data_dir=data_dir, progress=progress),
        load_data(model.data, "held_out", data_dir=data_dir),
        model.shielding,
        seed=derive(seed, name, "shield"),
        out=out,
        device=device,
        title=f"the autoencoder of {name}",
        progress=progress,
    )
    return _Made(defended, log, details={"parent": model.parent, **details})


def _trim(
    name: str, *, seed: int, out: Path, device: str, data_dir: Any, progress: Progress
) -> _Made:
    from undertow.models.trim import trim

    model = MODELS[name]
    assert model.parent is not None
    assert model.trimming is not None
    parent = load_zoo(model.parent)
    small, log, details = trim(
        parent,
        load_data(model.data, "fit", data_dir=data_dir, progress=progress),
        load_data(model.data, "held_out", data_dir=data_dir),
        model.trimming,
        seed=derive(seed, name),
        out=out,
        device=device,
        title=f"trimming {model.parent}",
        progress=progress,
    )
    widths = [layer["maps"] for layer in details["layers"]]
    return _Made(
        small, log, arguments={"widths": widths}, details={"parent": model.parent, **details}
    )
