"""How strong each attack is: its settings, or those at which magnitudes match."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from undertow.attacks import make, settings_of
from undertow.attacks.driver.match import match as match_strength
from undertow.attacks.driver.match import match_success
from undertow.data import ImageSet
from undertow.errors import BadInput
from undertow.models.asking import ask
from undertow.models.defended import defence_in, rejected, undefended
from undertow.progress import Progress
from undertow.seeds import derive, portable
from undertow.studies.asked.plan import TOGETHER
from undertow.studies.asked.roles import adapted
from undertow.studies.asked.spec import AttackSpec, StudySpec
from undertow.studies.done.sanity import INPUTS, sanity
from undertow.types import Images, Labels

__all__ = ["settle"]

CALIBRATION: Final = 128
"""Held-out inputs on which magnitudes are matched: classified correctly, and none is measured."""

SHARES: Final = 384
"""The same where a share of successes is matched, which few inputs tell coarsely."""

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
            chosen = [_aimed_at(attack, name, models[name]) for name in aimed]
            told = _one(spec, attack, chosen, tuple(models.values()), held_out, device)
            if "q3" in spec.questions and len(aimed) == 1 and adapted(spec, attack, source):
                told["sanity"] = _checked(spec, attack, told["settings"], chosen, held_out, device)
            found.setdefault(source, {})[attack.id] = told
            keep(found)
            advance(1, f"{source} {attack.id}")
    return found


def _one(
    spec: StudySpec,
    attack: AttackSpec,
    models: Sequence[nn.Module],
    everyone: Sequence[nn.Module],
    held_out: ImageSet,
    device: str,
) -> dict[str, Any]:
    given = make(attack.name, **attack.settings)
    if attack.match_l2 is None and attack.match_success is None:
        return {"settings": settings_of(given)}
    how: dict[str, Any] = {
        "target": attack.aim, "seed": derive(spec.seed, "strength", portable(attack.id)),
        "precision": spec.precision,
    }  # fmt: skip
    on = models if attack.ensemble else models[0]
    if attack.match_success is not None:
        # A share of inputs holds for inputs like these: those that all models get right.
        x, y = _calibration(spec, everyone, held_out, device, SHARES)
        matched = match_success(given, on, x, y, success=attack.match_success, **how)
    else:
        x, y = _calibration(spec, models, held_out, device)
        matched = match_strength(given, on, x, y, l2=attack.match_l2 or 0.0, **how)
    return {
        "settings": settings_of(matched.attack),
        "matched": matched.matched,
        "asked": matched.asked,
        "reached": _plain(matched.reached),
        "tried": [_plain(probe) for probe in matched.table],
    }


def _checked(
    spec: StudySpec,
    attack: AttackSpec,
    settings: Mapping[str, Any],
    models: Sequence[nn.Module],
    held_out: ImageSet,
    device: str,
) -> list[dict[str, Any]]:
    """What an adaptive attack does on some held-out inputs when it is given more or less."""
    x, y = (part[:INPUTS] for part in _calibration(spec, models, held_out, device))
    return sanity(
        make(attack.name, **settings), models[0], x, y,
        target=attack.aim, seed=derive(spec.seed, "sanity", portable(attack.id)),
    )  # fmt: skip


def _aimed_at(attack: AttackSpec, name: str, model: nn.Module) -> nn.Module:
    """The model, or what is behind its defence for an attack that knows nothing of that.

    Raises:
        BadInput: if there is no defence to know nothing of.
    """
    if not attack.unaware:
        return model
    if defence_in(model) is None:
        raise BadInput(
            f"attack '{attack.id}' is unaware of a defence, but '{name}' is no defended network "
            "(undertow.models.Defended)"
        )
    return undefended(model)


def _plain(probe: Mapping[str, Any]) -> dict[str, float | None]:
    """One strength that was tried; distances are ``None`` where no input was fooled."""
    return {name: value if np.isfinite(value) else None for name, value in probe.items()}


def _calibration(
    spec: StudySpec,
    models: Sequence[nn.Module],
    held_out: ImageSet,
    device: str,
    count: int = CALIBRATION,
) -> tuple[Images, Labels]:
    """Inputs that the models classify correctly, as those that the study measures."""
    rng = np.random.default_rng(derive(spec.seed, "strength"))
    rows = rng.permutation(len(held_out))[: 2 * count]
    x, y = held_out[rows]
    x, y = x.to(device), y.to(device)
    with torch.no_grad():
        answers = torch.stack([ask(model, x).argmax(dim=1) for model in models])
    right = (answers == y).all(dim=0)
    for model in models:
        right &= ~rejected(model, x)
    if not right.any():
        raise BadInput(f"magnitudes cannot be matched: the model gets all of {len(y)} inputs wrong")
    return x[right][:count], y[right][:count]
