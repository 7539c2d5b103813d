"""Do the shipped weights do what their cards say?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from undertow.data import load_data
from undertow.errors import Unavailable
from undertow.models.cards import WEIGHTS, Card, read_card
from undertow.models.devices import usable
from undertow.models.evaluation import Evaluation, evaluate, fingerprint, multiply_adds, parameters
from undertow.models.registry import MODELS
from undertow.models.robustness import robustness
from undertow.models.shipping import load_zoo
from undertow.progress import SILENT, Progress

__all__ = ["Checked", "check_model", "listing"]

TOLERANCE: Final = 0.002
"""Accuracy may differ so much between machines that add in another order."""

ROBUST_TOLERANCE: Final = 0.015
"""Fifty steps in half precision carry the last digit further."""


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """What a check found.

    Args:
        card: as shipped.
        evaluation: on the full test set, here and now.
        robust: as :func:`undertow.models.robustness.robustness` gives it, here and now.
        differs: what is not as the card says, in words; empty where all agrees.
    """

    card: Card
    evaluation: Evaluation
    robust: Mapping[str, float | int]
    differs: tuple[str, ...]


def check_model(
    name: str,
    *,
    folder: Path = WEIGHTS,
    device: str = "cpu",
    data_dir: str | Path | None = None,
    progress: Progress = SILENT,
) -> Checked:
    """Evaluate the shipped weights of a model of the zoo on its full test set.

    Args:
        name: a name in :data:`undertow.models.registry.MODELS`.
        folder: where card and weights lie.
        device: where to compute.
        data_dir: where the data may lie.
        progress: told about every batch.

    Raises:
        UnknownName: if there is no such model.
        Unavailable: if it has no weights, or its data are not to be had.
        BadInput: if the weights are damaged.
    """
    card, place = read_card(name, folder), usable(device)
    model = load_zoo(name, folder)
    test = load_data(card.data, "test", data_dir=data_dir, progress=progress)
    pairs: list[tuple[str, object, object]] = [
        ("fingerprint", card.fingerprint, fingerprint(model)),
        ("parameters", card.parameters, parameters(model)),
        ("multiply-adds", card.multiply_adds, multiply_adds(model, test[:1][0])),
        ("classes", card.classes, test.classes),
        ("test images", card.test_images, len(test)),
    ]
    found = evaluate(model.to(place), test, progress=progress, title=name)
    differs = [
        f"{what}: {here} here, {said} on the card" for what, said, here in pairs if said != here
    ]
    if abs(found.accuracy - card.accuracy) > TOLERANCE:
        differs.append(f"accuracy: {found.accuracy:.4f} here, {card.accuracy:.4f} on the card")
    robust = robustness(model, test, progress=progress, title=name)
    here, said = robust["accuracy"], card.robust.get("accuracy")
    if said is None or abs(here - said) > ROBUST_TOLERANCE:
        differs.append(f"robust accuracy: {here:.3f} here, {said} on the card")
    return Checked(card, found, robust, tuple(differs))


def listing(folder: Path = WEIGHTS) -> list[Mapping[str, object]]:
    """One row a model of the zoo: what it is, and what its card says where it has weights."""
    rows: list[Mapping[str, object]] = []
    for entry in MODELS.entries():
        try:
            card = read_card(entry.name, folder)
        except Unavailable:
            card = None
        rows.append(
            {
                "name": entry.name,
                "what": entry.summary,
                "data": MODELS[entry.name].data,
                "accuracy": None if card is None else card.accuracy,
                "robust": None if card is None else card.robust.get("accuracy"),
                "parameters": None if card is None else card.parameters,
                "multiply_adds": None if card is None else card.multiply_adds,
                "bytes": None if card is None else card.bytes,
            }
        )
    return rows
