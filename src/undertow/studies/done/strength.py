"""How strong each attack is: its settings, or those at which magnitudes match."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from undertow.attacks import make, settings_of
from undertow.attacks.driver.match import match as match_strength
from undertow.data import ImageSet
from undertow.errors import BadInput
from undertow.models.asking import ask
from undertow.progress import Progress
from undertow.seeds import derive
from undertow.studies.asked.plan import TOGETHER
from undertow.studies.asked.spec import AttackSpec, StudySpec
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
    keep: Callable[[Strengths], None],
) -> Strengths:
    """The settings of every attack on what it is aimed at, and what matching reached.

    Args:
        spec: the study.
        held_out: benign inputs that the models were not trained on, to match magnitudes on.
        models: the loaded models.
        known: what an earlier start of the run settled; taken as it is.
        device: where to compute.
        progress: told about every match.
        keep: given all that is settled whenever one more is, so that a kill loses at most one.
    """
    found: Strengths = {source: dict(attacks) for source, attacks in (known or {}).items()}
    lacking = [
        (TOGETHER.join(aimed), aimed, attack)
        for attack in spec.attacks
        for aimed in spec.aims(attack)
        if attack.id not in found.get(TOGETHER.join(aimed), {})
    ]
    with progress("Matching magnitudes", len(lacking), "attacks") as advance:
        for source, aimed, attack in lacking:
            chosen = [models[name] for name in aimed]
            found.setdefault(source, {})[attack.id] = _one(spec, attack, chosen, held_out, device)
            keep(found)
            advance(1, f"{source} {attack.id}")
    return found


def _one(
    spec: StudySpec,
    attack: AttackSpec,
    models: Sequence[nn.Module],
    held_out: ImageSet,
    device: str,
) -> dict[str, Any]:
    given = make(attack.name, **attack.settings)
    if attack.match_l2 is None:
        return {"settings": settings_of(given)}
    x, y = _calibration(spec, models, held_out, device)
    matched = match_strength(
        given, models if attack.ensemble else models[0], x, y,
        l2=attack.match_l2, target=attack.aim,
        seed=derive(spec.seed, "strength", attack.id), precision=spec.precision,
    )  # fmt: skip
    return {
        "settings": settings_of(matched.attack),
        "matched": matched.matched,
        "asked": matched.asked,
        "reached": _plain(matched.reached),
        "tried": [_plain(probe) for probe in matched.table],
    }


def _plain(probe: Mapping[str, Any]) -> dict[str, float | None]:
    """One strength that was tried; distances are ``None`` where no input was fooled."""
    return {name: value if np.isfinite(value) else None for name, value in probe.items()}


def _calibration(
    spec: StudySpec, models: Sequence[nn.Module], held_out: ImageSet, device: str
) -> tuple[Images, Labels]:
    """Inputs that the models classify correctly, as those that the study measures."""
    rng = np.random.default_rng(derive(spec.seed, "strength"))
    rows = rng.permutation(len(held_out))[: 2 * CALIBRATION]
    x, y = held_out[rows]
    x, y = x.to(device), y.to(device)
    with torch.no_grad():
        answers = torch.stack([ask(model, x).argmax(dim=1) for model in models])
    right = (answers == y).all(dim=0)
    if not right.any():
        raise BadInput(f"magnitudes cannot be matched: the model gets all of {len(y)} inputs wrong")
    return x[right][:CALIBRATION], y[right][:CALIBRATION]
