"""Is an adaptive attack to be believed? What would betray that it does not work.

After Athalye, Carlini and Wagner 2018 (1802.00420, section 3.1): an attack without a bound must
reach everything, more steps must not do worse, single steps must not do better, noise of the same
size must not do as well, and gradients must be there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, Final

import torch
from torch import nn

from undertow.attacks import make
from undertow.attacks.driver.craft import Record, Target, craft
from undertow.models.asking import ask
from undertow.models.defended import fooled, rejected
from undertow.types import Attack, Draws, Images, Labels, Trajectory

__all__ = ["INPUTS", "sanity"]

INPUTS: Final = 32
"""How many held-out inputs are attacked."""
LONGER: Final = 4
"""How many times its steps an attack without a bound may take."""


def sanity(
    attack: Attack, model: nn.Module, x: Images, y: Labels, *, target: Target, seed: int | Draws
) -> list[dict[str, Any]]:
    """What an attack does when it is given more, less, or nothing to go by.

    Args:
        attack: on a model with a defence.
        model: the model; it classifies ``x`` correctly.
        x: inputs.
        y: their classes.
        target: as for ``craft``.
        seed: likewise.

    Returns:
        One row a check: ``check``, ``value``, what it is held against (``against``), and whether
        it ``holds``. Shares of inputs.
    """
    names = {f.name for f in fields(attack)}  # type: ignore[arg-type]
    until = {"stop": True} if "stop" in names else {}

    def run(**changed: Any) -> Trajectory:
        altered: Attack = replace(attack, **until, **changed)  # type: ignore[type-var]
        return craft(
            altered, model, x, y, target=target, seed=seed,
            record=Record(every=None, endpoints=False),
        )  # fmt: skip

    own = run()
    won, one = _share(own), 1 / len(x)
    rows = [_row("inputs without a gradient", float(own.stalled.double().mean()), 0.0, one)]
    if free := _unbounded(attack, names):
        rows.append(_row("success without a bound", _share(run(**free)), 1.0, one, least=True))
    steps = getattr(attack, "steps", None)
    if steps is not None and free:
        more = _share(run(steps=2 * steps))
        rows.append(_row("success with twice the steps", more, won, one, least=True))
        rows.append(_row("success of a single step", _share(run(steps=1)), won, one))
    rows.append(_row("fooled by noise of its size", _noise(attack, own, model, x, y, seed), won))
    return rows


def _unbounded(attack: Attack, names: set[str]) -> dict[str, Any]:
    """Settings that lift an attack's bound; none where it has none.

    Steps stay as long as they are and start at the input: a step of the size of the box, or a
    start anywhere in it, is another attack.
    """
    told: Any = attack
    free: dict[str, Any] = {}
    if "gamma" in names:
        free["gamma"] = 1.0
    if {"epsilon", "steps", "alpha"} <= names:
        stride = 2.5 * told.epsilon / told.steps if told.alpha is None else told.alpha
        free |= {"epsilon": 1.0, "alpha": min(1.0, stride), "steps": LONGER * told.steps}
        if "random_start" in names:
            free |= {"random_start": False, "restarts": 1}
    return free


def _share(t: Trajectory) -> float:
    return float(t.success.double().mean())


def _row(
    check: str, value: float, against: float, slack: float = 0.0, *, least: bool = False
) -> dict[str, Any]:
    """A value that must be at most ``against`` (at least, with ``least``), within ``slack``."""
    holds = value >= against - slack - 1e-9 if least else value <= against + slack + 1e-9
    if not least and not slack:
        holds = value < against
    return {"check": check, "value": value, "against": against, "holds": holds}


def _noise(
    attack: Attack, own: Trajectory, model: nn.Module, x: Images, y: Labels, seed: int | Draws
) -> float:
    """Share that noise fools, of the attack's bound, or of its mean distance where it has none."""
    bound = getattr(attack, "epsilon", None)
    far = own.l2[own.success]
    how: dict[str, float] = (
        {"linf": min(1.0, bound)}
        if bound is not None and attack.norm == "linf"
        else {"l2": float(far.mean()) if len(far) else 1.0}
    )
    told: Callable[..., Attack] = make
    end = craft(told("noise", **how), model, x, y, seed=seed, record=Record(every=None)).end
    with torch.no_grad():
        answers = ask(model, end).argmax(dim=1)
    return float(fooled(answers, y, rejected(model, end)).double().mean())
