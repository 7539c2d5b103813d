"""Foolbox 3: ``listen(foolbox.attacks.LinfPGD(), model, x, y, epsilons=8 / 255)``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from undertow.errors import BadInput
from undertow.types import Goal, Images

__all__ = ["run"]


def run(attack: Any, model: nn.Module, x: Images, goal: Goal, **options: Any) -> Tensor:
    """Run a Foolbox attack on batch ``x``; where it ended (the benign input if nowhere).

    Args:
        attack: a ``foolbox.attacks.Attack``.
        model: the model itself; it is wrapped with the bounds 0 and 1.
        x: benign images.
        goal: becomes Foolbox's (targeted) misclassification criterion.
        options: given to the attack's call; ``epsilons`` is one number, or ``None`` (the
            default) for attacks that look for the smallest perturbation.

    Raises:
        BadInput: for a list of epsilons, or none for an attack that needs one.
    """
    from foolbox import PyTorchModel
    from foolbox.criteria import Misclassification, TargetedMisclassification

    epsilon = options.pop("epsilons", None)
    if epsilon is not None and not isinstance(epsilon, int | float):
        raise BadInput(f"foolbox: epsilons is {epsilon!r}; give one number, or None")
    if epsilon is None and hasattr(type(attack), "run") and _fixed(attack):
        name = type(attack).__name__
        raise BadInput(f"foolbox: {name} works at a given size; give epsilons=NUMBER")
    if goal.target is None:
        criterion: Any = Misclassification(goal.label)
    else:
        criterion = TargetedMisclassification(goal.target)
    wrapped = PyTorchModel(model, bounds=(0, 1), device=x.device)
    if epsilon is None and hasattr(attack, "run"):
        end = attack.run(wrapped, x, criterion, **options)  # the call would judge the end once more
    else:
        _, end, _ = attack(wrapped, x, criterion, epsilons=epsilon, **options)
    # Where attacks of smallest perturbation find nothing, Foolbox gives back a black image.
    black = (end == 0).flatten(1).all(dim=1)
    return torch.where(black[:, None, None, None], x, end)


def _fixed(attack: Any) -> bool:
    from foolbox.attacks.base import FixedEpsilonAttack

    return isinstance(attack, FixedEpsilonAttack)
