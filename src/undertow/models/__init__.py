"""The zoo, and the loading of any other classifier."""

from __future__ import annotations

from undertow.models.cards import Card, known_card, read_card
from undertow.models.checking import Checked, check_model, listing
from undertow.models.evaluation import (
    Evaluation,
    check_output,
    evaluate,
    fingerprint,
    multiply_adds,
    parameters,
)
from undertow.models.load import Normalised, class_names, load_model
from undertow.models.registry import MODELS, ZooModel

__all__ = [
    "MODELS", "Card", "Checked", "Evaluation", "Normalised", "ZooModel", "check_model",
    "check_output", "class_names", "evaluate", "fingerprint", "known_card", "listing", "load_model",
    "multiply_adds", "parameters", "read_card",
]  # fmt: skip
