"""How strong each attack is: its settings, or those at which magnitudes match."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from undertow.attacks import make, match_strength, settings_of
from undertow.data import ImageSet
from undertow.errors import BadInput
from undertow.progress import Progress
from undertow.seeds import derive
from undertow.studies.spec import AttackSpec, StudySpec
from undertow.types import Images, Labels

__all__ = ["settle"]

CALIBRATION: Final = 128
"""Held-out inputs on which magnitudes are matched: classified correctly, and none is measured."""

Strengths = dict[str, dict[str, dict[str, Any]]]


def settle(
    spec: StudySpec,
    held_out: ImageSet,
    models: Mapping[str, nn.Module],
    known: Mapping[str, Any] | None,
    device: str,
    progress: Progress,
) -> Strengths:
    """The settings of every attack on every model, and what matching reached.

    Args:
        spec: the study.
        held_out: benign inputs that the models were not trained on, to match magnitudes on.
        models: the loaded models.
        known: what an earlier start of the run settled; taken as it is.
        device: where to compute.
        progress: told about every match.
    """
    found: Strengths = {name: dict((known or {}).get(name, {})) for name in models}
    lacking = [(m, a) for m in models for a in spec.attacks if a.id not in found[m]]
    with progress("Matching magnitudes", len(lacking), "attacks") as advance:
        for name, attack in lacking:
            found[name][attack.id] = _one(spec, attack, models[name], held_out, device)
            advance(1, f"{name} {attack.id}")
    return found


def _one(
    spec: StudySpec, attack: AttackSpec, model: nn.Module, held_out: ImageSet, device: str
) -> dict[str, Any]:
    given = make(attack.name, **attack.settings)
    if attack.match_l2 is None:
        return {"settings": settings_of(given)}
    x, y = _calibration(spec, model, held_out, device)
    matched = match_strength(
        given, model, x, y, l2=attack.match_l2, target=attack.target,
        seed=derive(spec.seed, "strength", attack.id),
    )  # fmt: skip
    return {
        "settings": settings_of(matched.attack),
        "matched": matched.matched,
        "asked": matched.asked,
        "reached": dict(matched.reached),
        "tried": [dict(probe) for probe in matched.table],
    }


def _calibration(
    spec: StudySpec, model: nn.Module, held_out: ImageSet, device: str
) -> tuple[Images, Labels]:
    """Inputs that the model classifies correctly, as those that the study measures."""
    rng = np.random.default_rng(derive(spec.seed, "strength"))
    rows = rng.permutation(len(held_out))[: 2 * CALIBRATION]
    x, y = held_out[rows]
    x, y = x.to(device), y.to(device)
    with torch.no_grad():
        right = model(x).argmax(dim=1) == y
    if not right.any():
        raise BadInput(f"magnitudes cannot be matched: the model gets all of {len(y)} inputs wrong")
    return x[right][:CALIBRATION], y[right][:CALIBRATION]
