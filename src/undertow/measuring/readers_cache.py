"""Class readers of a model on a data set: fitted once, then kept on disk."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from undertow.data import DATASETS, ImageSet, load_data
from undertow.data.cache import cache_dir, new_file
from undertow.data.images import divide
from undertow.errors import BadInput, Unavailable
from undertow.information import readers as reading
from undertow.information.readers import Reader, Readers
from undertow.progress import SILENT, Progress
from undertow.seeds import derive
from undertow.taps import read
from undertow.types import Tap

__all__ = ["fingerprint", "load_readers", "readers_for", "save_readers", "two_sets"]

VERSION = 2
"""Raised whenever fitting changes, so that readers fitted before are not used."""


def readers_for(
    model: nn.Module,
    taps: Sequence[Tap],
    train: ImageSet,
    count: int = 2000,
    *,
    held_out: ImageSet | None = None,
    seed: int = 0,
    directory: Path | None = None,
    batch_size: int = 64,
    progress: Progress = SILENT,
) -> Readers:
    """The readers of ``model`` at ``taps``: from the cache, or fitted now and cached.

    ``count`` training inputs are drawn, as many of each class as there are to draw, and half as
    many held-out inputs, which are of the data set's own held-out split where it has one: the
    model was not trained on those.

    Args:
        model: in evaluation mode.
        taps: where to read.
        train: benign training inputs.
        count: how many of them to fit on.
        held_out: other benign inputs, to calibrate on.
        seed: fixes the draw.
        directory: the cache; the data cache's folder ``readers`` by default.
        batch_size: inputs read at once.
        progress: told how far it is.

    Raises:
        BadInput: if there are too few inputs.
    """
    train, held_out = two_sets(train, held_out)
    rows = _draw(train, count, derive(seed, "readers", "fit"))
    held = _draw(held_out, max(count // 2, 1), derive(seed, "readers", "held_out"))
    folder = directory or cache_dir() / "readers"
    key = fingerprint(model, taps, (train, rows), (held_out, held))
    path = folder / f"{key}.safetensors"
    cached = load_readers(path)
    if cached is not None:
        return cached
    with progress("Fitting class readers", len(rows) + len(held), "inputs") as advance:
        sets = []
        for images, chosen in ((train, rows), (held_out, held)):
            parts: dict[str, list[Tensor]] = {tap.name: [] for tap in taps}
            for start in range(0, len(chosen), batch_size):
                some = chosen[start : start + batch_size]
                maps = read(model, images[some][0], taps).maps
                for name, values in maps.items():
                    parts[name].append(reading.features(values).cpu())
                advance(len(some))
            sets.append(({n: torch.cat(v) for n, v in parts.items()}, images.labels[chosen]))
    _tell(train, rows)
    fitted = reading.fit(*sets[0], *sets[1], classes=len(train.classes))
    with suppress(Unavailable):  # a cache that cannot be written costs time, not results
        save_readers(fitted, path)
    return fitted


def _tell(train: ImageSet, rows: np.ndarray) -> None:
    """Say which classes have no reader, for want of training inputs."""
    there = set(train.labels[rows].tolist())
    absent = [name for k, name in enumerate(train.classes) if k not in there]
    if absent:
        few = ", ".join(absent[:3]) + (", …" if len(absent) > 3 else "")
        warnings.warn(
            f"{len(absent)} of {len(train.classes)} classes have no training input in {train.name} "
            f"({few}): class information tells nothing of them",
            stacklevel=3,
        )


def two_sets(train: ImageSet, held_out: ImageSet | None = None) -> tuple[ImageSet, ImageSet]:
    """Inputs to fit on, and others to choose by: the data set's own held-out split, or a part."""
    if held_out is not None:
        return train, held_out
    if train.name in DATASETS and train.split == "fit":
        try:
            return train, load_data(train.name, "held_out")
        except Unavailable:
            pass
    return divide(train, "fit", 0.3), divide(train, "held_out", 0.3)


def _draw(images: ImageSet, count: int, seed: int) -> np.ndarray:
    """Rows, as evenly over the classes as the set allows."""
    if count < 1 or not len(images):
        raise BadInput(f"readers need training inputs, got {count} of {len(images)}")
    generator = np.random.default_rng(seed)
    labels = images.labels.numpy()
    order = generator.permutation(len(labels))
    # Number each input within its class, then take the first of every class, the second, ...
    sorted_by_class = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels, minlength=len(images.classes))
    turn = np.concatenate([np.arange(c) for c in counts])
    return np.sort(sorted_by_class[np.argsort(turn, kind="stable")][:count])


def fingerprint(model: nn.Module, taps: Sequence[Tap], *sets: tuple[ImageSet, np.ndarray]) -> str:
    """A hash of everything that the readers depend on: weights, structure, taps, inputs."""
    digest = sha256(f"{VERSION}\n{type(model).__qualname__}\n{model}\n".encode())
    digest.update(repr([(tap.name, tap.shape) for tap in taps]).encode())
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    for images, rows in sets:
        digest.update(images.pixels(rows).contiguous().numpy().data)
        digest.update(images.labels[rows].contiguous().numpy().data)
    return digest.hexdigest()


def save_readers(readers: Readers, path: Path) -> None:
    """Write readers as safetensors, atomically.

    Raises:
        Unavailable: if the folder cannot be written.
    """
    tensors = {"prior": readers.prior}
    facts: dict[str, Mapping[str, float]] = {}
    for tap, reader in readers.by_tap.items():
        tensors |= {f"{tap}/weight": reader.weight, f"{tap}/bias": reader.bias}
        facts[tap] = {name: getattr(reader, name) for name in _FACTS}
    with new_file(path) as temporary:
        plain = {name: value.cpu().contiguous() for name, value in tensors.items()}
        save_file(plain, temporary, {"readers": json.dumps(facts)})


def load_readers(path: Path) -> Readers | None:
    """Readers that :func:`save_readers` wrote; ``None`` if there are none, or they are damaged."""
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads(file.metadata()["readers"])
            by_tap = {
                tap: Reader(
                    weight=file.get_tensor(f"{tap}/weight"),
                    bias=file.get_tensor(f"{tap}/bias"),
                    **numbers,
                )
                for tap, numbers in facts.items()
            }
            return Readers(by_tap, file.get_tensor("prior"))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


_FACTS = ("cross_entropy", "accuracy", "temperature", "penalty")
