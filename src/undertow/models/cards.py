"""Model cards: what a network of the zoo is, how it was made and what it does."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from undertow.data.cache import new_file
from undertow.errors import BadInput, Unavailable
from undertow.models.devices import processor
from undertow.models.evaluation import fingerprint
from undertow.models.registry import MODELS

__all__ = ["WEIGHTS", "Card", "known_card", "machine", "read_card", "shipped", "stem", "write_card"]

WEIGHTS: Final = Path(__file__).parent / "weights"
"""Where the shipped weights lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What is known about one set of weights.

    Args:
        name: the model's name.
        summary: one line.
        method: ``train``, ``trim``, ``distill``, ``harden`` or ``shield``.
        data: the data set's name.
        classes: class names.
        shape: (channel, height, width) of an input.
        arguments: what the architecture's factory is called with.
        recipe: how it was trained.
        seed: of the training.
        accuracy: on the whole test set, with the weights as shipped.
        held_out_accuracy: on the images held out of training, with the weights as shipped.
        confusion: test images by true class (rows) and answer (columns), without those that a
            defence rejects.
        ece: expected calibration error on the test set, 15 bins.
        test_images: how many there are.
        parameters: trainable numbers.
        multiply_adds: of one input.
        bytes: of the weights' file.
        sha256: of the weights' file.
        fingerprint: of the network as loaded (:func:`undertow.models.evaluation.fingerprint`).
        made_on: machine, versions, precision and seconds of training.
        details: of trimming, distillation or hardening.
        robust: ``accuracy`` of the first ``images`` of the test set under projected gradient
            descent with so many ``steps`` and ``restarts`` and radius ``epsilon``
            (:func:`undertow.models.robustness.robustness`).
    """

    name: str
    summary: str
    method: str
    data: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    arguments: Mapping[str, Any]
    recipe: Mapping[str, Any]
    seed: int
    accuracy: float
    held_out_accuracy: float
    confusion: tuple[tuple[int, ...], ...]
    ece: float
    test_images: int
    parameters: int
    multiply_adds: int
    bytes: int
    sha256: str
    fingerprint: str
    made_on: Mapping[str, Any]
    details: Mapping[str, Any] = field(default_factory=dict)
    robust: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """The file name without its ending."""
        return stem(self.name)


def shipped(folder: Path = WEIGHTS) -> tuple[str, ...]:
    """The models of the zoo that have weights, in the zoo's order; others await their training."""
    return tuple(name for name in MODELS if (folder / f"{stem(name)}.json").is_file())


def stem(name: str) -> str:
    """The file name of a model, without its ending."""
    return name.replace("/", "-")


def known_card(model: str | nn.Module) -> Card | None:
    """The card of a model by its name, or of a network whose weights are shipped ones.

    ``None`` if it has none.
    """
    if isinstance(model, str):
        plain = model.removeprefix("zoo:")
        return read_card(plain) if (WEIGHTS / f"{stem(plain)}.json").is_file() else None
    own = fingerprint(model)
    cards = (read_card(str(json.loads(f.read_text())["name"])) for f in WEIGHTS.glob("*.json"))
    return next((card for card in cards if card.fingerprint == own), None)


def read_card(name: str, folder: Path = WEIGHTS) -> Card:
    """The card of a model of the zoo.

    Args:
        name: a name in :data:`undertow.models.registry.MODELS`.
        folder: where cards and weights lie.

    Raises:
        UnknownName: if there is no such model.
        Unavailable: if it has no weights yet.
        BadInput: if the card cannot be read.
    """
    MODELS.entry(name)
    path = folder / f"{stem(name)}.json"
    if not path.is_file():
        raise Unavailable(
            f"there are no weights of '{name}' in {folder}; "
            f"make them: undertow models {MODELS[name].method} {name}"
        )
    try:
        fields = json.loads(path.read_text())
        for key in ("classes", "shape"):
            fields[key] = tuple(fields[key])
        fields["confusion"] = tuple(tuple(row) for row in fields["confusion"])
        return Card(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(f"the model card {path} cannot be read: {error}") from None


def write_card(card: Card, folder: Path) -> Path:
    """Write a card, atomically."""
    path = folder / f"{card.stem}.json"
    text = json.dumps(asdict(card), indent=1, ensure_ascii=False) + "\n"
    with new_file(path) as temporary:
        temporary.write_text(_compact(text), encoding="utf-8")
    return path


def _compact(text: str) -> str:
    """Short lists of numbers on one line, so that a confusion matrix can be read."""
    return re.sub(
        r"\[\s+([-\d.e,\s]+?)\s+\]",
        lambda m: "[" + re.sub(r"\s+", " ", m.group(1)) + "]",
        text,
    )


def machine(precision: str) -> dict[str, Any]:
    """The machine, as cards name it."""
    return {
        "processor": processor(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "precision": precision,
    }
