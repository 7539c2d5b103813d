"""Trimming and distilling your own networks."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from undertow.data import ImageSet, load_data
from undertow.data.cache import check_writable, new_file
from undertow.models.distill import distill
from undertow.models.evaluation import evaluate
from undertow.models.load import load_model, untrained
from undertow.models.measures import multiply_adds, parameters
from undertow.models.recipe import Recipe
from undertow.models.shipping import write_weights
from undertow.models.trim import trim
from undertow.models.trimming import Trimming
from undertow.progress import SILENT, Progress

__all__ = ["Made", "distill_own", "trim_own"]


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
        out: folder for checkpoints, ``trimmed.safetensors`` and ``trimmed.json``.
        weights: of the network before trimming.
        settings: how far.
        seed: of the trainings.
        device: where to train.
        data_dir: where the data may lie.
        progress: told about every training.

    Raises:
        BadInput: if no layer can be trimmed.
    """
    check_writable(Path(out))
    network = load_model(spec, weights=weights)
    fit, held_out, test = _parts(data, data_dir, progress)
    small, _, details = trim(
        network,
        fit,
        held_out,
        settings or Trimming(),
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
    """
    check_writable(Path(out))
    fit, held_out, test = _parts(data, data_dir, progress)
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


def _parts(
    data: str, data_dir: str | Path | None, progress: Progress
) -> tuple[ImageSet, ImageSet, ImageSet]:
    fit, held_out, test = (
        load_data(data, split, data_dir=data_dir, progress=progress)
        for split in ("fit", "held_out", "test")
    )
    return fit, held_out, test


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
