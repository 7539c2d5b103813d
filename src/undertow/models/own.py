"""Trimming, distilling, hardening and shielding your own networks."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from undertow.data import ImageSet, load_data
from undertow.data.cache import check_writable, new_file
from undertow.errors import BadInput, Foreign
from undertow.models.distill import distill, serve_at_one
from undertow.models.evaluation import (
    check_output,
    evaluate,
    fingerprint,
    multiply_adds,
    parameters,
)
from undertow.models.fitting import fit as train
from undertow.models.load import load_model, untrained
from undertow.models.magnet import Magnet
from undertow.models.recipe import Hardening, Recipe, Shielding, Trimming
from undertow.models.shield import shield
from undertow.models.shipping import write_weights
from undertow.models.trim import trim
from undertow.progress import SILENT, Progress
from undertow.seeds import derive, portable

__all__ = ["Made", "distill_own", "harden_own", "shield_own", "trim_own"]

_LEARNT = 0.1
"""A network is trained when it has come so much of the way from chance to perfection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Weights made from a network of yours.

    Args:
        weights: the file; ``load_model(spec, weights=...)`` reads it, shrinking the network first
            where it was trimmed.
        accuracy: on the test set.
        parameters: of the result.
        multiply_adds: of one input.
        details: as in the cards of the zoo.
    """

    weights: Path
    accuracy: float
    parameters: int
    multiply_adds: int
    details: dict[str, Any]


def trim_own(
    spec: str | nn.Module,
    *,
    data: str,
    out: str | Path,
    weights: str | Path | None = None,
    settings: Trimming | None = None,
    seed: int = 0,
    device: str = "cpu",
    data_dir: str | Path | None = None,
    progress: Progress = SILENT,
) -> Made:
    """Trim any plain convolutional network (:func:`undertow.models.trim.trim`).

    Args:
        spec: as for :func:`undertow.models.load_model`.
        data: a data set's name; its ``fit`` part trains, ``held_out`` counts zeros.
        out: folder for checkpoints, ``trimmed.safetensors`` and ``trimmed.json``; called again with
            the same folder, it goes on where it was killed.
        weights: of the network before trimming.
        settings: how far.
        seed: of the trainings.
        device: where to train.
        data_dir: where the data may lie.
        progress: told about every training.

    Raises:
        BadInput: if no layer can be trimmed, the network does not take these images, or it
            classifies them no better than chance.
        Foreign: if ``out`` holds the checkpoints of another trimming.
    """
    check_writable(Path(out))
    network = load_model(spec, weights=weights)
    fit, held_out, test = _parts(data, data_dir, progress)
    _check_fits(network, held_out)
    _check_trained(network, held_out, "trim")
    settings = settings or Trimming()
    _claim(
        Path(out),
        {"network": fingerprint(network), "data": fit.fingerprint, "seed": seed}
        | {"settings": asdict(settings)},
    )
    small, _, details = trim(
        network,
        fit,
        held_out,
        settings,
        seed=seed,
        out=Path(out),
        device=device,
        progress=progress,
    )
    return _finish(small, test, Path(out) / "trimmed.safetensors", details)


def distill_own(
    spec: str,
    *,
    data: str,
    out: str | Path,
    recipe: Recipe | None = None,
    seed: int = 0,
    device: str = "cpu",
    data_dir: str | Path | None = None,
    progress: Progress = SILENT,
) -> Made:
    """Distill a network from its architecture (:func:`undertow.models.distill.distill`).

    Args:
        spec: ``path/to/file.py:factory``, or a name in the zoo; it must end in a linear layer.
        data: a data set's name; ``held_out`` chooses the temperature.
        out: folder for checkpoints, ``distilled.safetensors`` and ``distilled.json``.
        recipe: of both trainings.
        seed: of first weights and trainings.
        device: where to train.
        data_dir: where the data may lie.
        progress: told about both trainings.

    Raises:
        BadInput: if the network does not take these images, or does not end in a linear layer.
        Foreign: if ``out`` holds the checkpoints of another distillation.
    """
    check_writable(Path(out))
    fit, held_out, test = _parts(data, data_dir, progress)
    first = untrained(spec, seed=seed, purpose="teacher").eval()
    _check_fits(first, held_out)
    serve_at_one(first, 1.0)
    student, _, details = distill(
        lambda role: untrained(spec, seed=seed, purpose=role),
        fit,
        held_out,
        recipe or Recipe(epochs=20, smoothing=0.0),
        name=spec,
        seed=seed,
        out=Path(out),
        device=device,
        progress=progress,
    )
    return _finish(student, test, Path(out) / "distilled.safetensors", details)


def harden_own(
    spec: str,
    *,
    data: str,
    out: str | Path,
    recipe: Recipe | None = None,
    hardening: Hardening | None = None,
    seed: int = 0,
    device: str = "cpu",
    data_dir: str | Path | None = None,
    progress: Progress = SILENT,
) -> Made:
    """Train a network from its architecture on inputs under attack (:mod:`undertow.models.harden`).

    Args:
        spec: ``path/to/file.py:factory``, or a name in the zoo.
        data: a data set's name; ``held_out`` is watched for a collapse.
        out: folder for the checkpoint, ``robust.safetensors`` and ``robust.json``.
        recipe: of the training.
        hardening: the attack to learn from.
        seed: of first weights, order and noise.
        device: where to train.
        data_dir: where the data may lie.
        progress: told about the training.

    Raises:
        BadInput: if the network does not take these images, or the training collapses again and
            again.
        Foreign: if ``out`` holds the checkpoint of another training.
    """
    check_writable(Path(out))
    fit, held_out, test = _parts(data, data_dir, progress)
    network = untrained(spec, seed=seed, purpose="robust")
    _check_fits(network.eval(), held_out)
    chosen = hardening or Hardening()
    log = train(
        network,
        fit,
        recipe or Recipe(epochs=30, smoothing=0.0),
        seed=derive(seed, portable(spec), "robust"),
        checkpoint=Path(out) / "robust.pt",
        held_out=held_out,
        hardening=chosen,
        device=device,
        title=f"hardening {spec}",
        progress=progress,
    )
    details = {"hardening": asdict(chosen), "log": log}
    return _finish(network.cpu(), test, Path(out) / "robust.safetensors", details)


def shield_own(
    spec: str | nn.Module,
    *,
    data: str,
    out: str | Path,
    weights: str | Path | None = None,
    shielding: Shielding | None = None,
    seed: int = 0,
    device: str = "cpu",
    data_dir: str | Path | None = None,
    progress: Progress = SILENT,
) -> Made:
    """Put a trained network behind MagNet (:mod:`undertow.models.shield`).

    Args:
        spec: as for :func:`undertow.models.load_model`.
        data: a data set's name; ``fit`` is learnt, ``held_out`` sets the thresholds.
        out: folder for the checkpoint, ``magnet.safetensors`` and ``magnet.json``.
        weights: of the network.
        shielding: how.
        seed: of first weights, order and noise.
        device: where to train.
        data_dir: where the data may lie.
        progress: told about the training.

    Raises:
        BadInput: if the network does not take these images, or classifies them no better than
            chance.
        Foreign: if ``out`` holds the checkpoint of another training.
    """
    check_writable(Path(out))
    network = load_model(spec, weights=weights)
    fit, held_out, test = _parts(data, data_dir, progress)
    _check_fits(network, held_out)
    _check_trained(network, held_out, "shield")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "magnet"))
        defended = Magnet(network, channels=fit.shape[0], shape=fit.shape)
    _, details = shield(
        defended, fit, held_out, shielding or Shielding(), seed=derive(seed, "shield"),
        out=Path(out), device=device, progress=progress,
    )  # fmt: skip
    return _finish(defended.cpu(), test, Path(out) / "magnet.safetensors", details)


def _parts(
    data: str, data_dir: str | Path | None, progress: Progress
) -> tuple[ImageSet, ImageSet, ImageSet]:
    fit, held_out, test = (
        load_data(data, split, data_dir=data_dir, progress=progress)
        for split in ("fit", "held_out", "test")
    )
    return fit, held_out, test


def _check_fits(network: nn.Module, images: ImageSet) -> None:
    """Whether a network takes such images and tells their classes apart.

    Raises:
        BadInput: says what it was given and what came out.
    """
    x = images[:2][0]
    try:
        with torch.no_grad():
            logits = network(x)
    except RuntimeError as error:
        shape = " × ".join(map(str, x.shape[1:]))
        reason = str(error).splitlines()[0]
        raise BadInput(f"the network does not take images of {shape}: {reason}") from None
    check_output(logits, x, len(images.classes))


def _check_trained(network: nn.Module, held_out: ImageSet, what: str) -> None:
    """Whether a network has learnt anything of these classes.

    Raises:
        BadInput: if it classifies them no better than chance.
    """
    right, chance = evaluate(network, held_out).accuracy, 1 / len(held_out.classes)
    if right < chance + _LEARNT * (1 - chance):
        raise BadInput(
            f"the network classifies {100 * right:.0f} % of held-out images, which is chance: "
            f"{what} a trained one, or give its weights"
        )


def _claim(out: Path, told: dict[str, Any]) -> None:
    """Note in ``out`` what is made there, so that nothing else goes on from its checkpoints.

    Raises:
        Foreign: if something else is made there.
    """
    told = json.loads(json.dumps(told))
    note = out / "start.json"
    if note.is_file():
        try:
            had = json.loads(note.read_bytes())
            other = [k for k in told if had.get(k) != told[k]]
        except (ValueError, AttributeError):
            raise Foreign(f"{note} is damaged; choose another folder") from None
        if other:
            raise Foreign(
                f"'{out}' holds another trimming (differs in {', '.join(other)}); "
                "choose another folder"
            )
    else:
        with new_file(note) as temporary:
            temporary.write_text(json.dumps(told, indent=1) + "\n")


def _finish(network: nn.Module, test: ImageSet, path: Path, details: dict[str, Any]) -> Made:
    network.eval().requires_grad_(False)
    state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    made = Made(
        weights=write_weights(state, path),
        accuracy=evaluate(network, test).accuracy,
        parameters=parameters(network),
        multiply_adds=multiply_adds(network, test[:1][0]),
        details=details,
    )
    with new_file(path.with_suffix(".json")) as temporary:
        report = {**asdict(made), "weights": path.name}
        temporary.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    return made
