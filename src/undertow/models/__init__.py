"""The zoo, and the loading of any other classifier."""

from __future__ import annotations

from undertow.models.asking import Around, Picked, ask, plainly
from undertow.models.cards import Card, known_card, read_card
from undertow.models.checking import Checked, check_model, listing
from undertow.models.defended import Defended, rejected, undefended
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
    "MODELS", "Around", "Card", "Checked", "Defended", "Evaluation", "Normalised", "Picked",
    "ZooModel", "ask", "check_model", "check_output", "class_names", "evaluate", "fingerprint",
    "known_card", "listing", "load_model", "multiply_adds", "parameters", "plainly", "read_card",
    "rejected", "undefended",
]  # fmt: skip
