"""Adversarial Robustness Toolbox: ``listen(evasion.DeepFool(classifier), model, x, y)``.

The attack must have been made for a ``PyTorchClassifier`` around the same model, with
``clip_values=(0, 1)`` and no preprocessing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from undertow.errors import BadInput
from undertow.types import Goal, Images

__all__ = ["run"]

_TARGETED_ONLY = ("SaliencyMapMethod",)  # takes classes to reach, whatever ``targeted`` says


def run(attack: Any, model: nn.Module, x: Images, goal: Goal, **options: Any) -> Tensor:
    """Run an ART evasion attack on batch ``x``; where it ended.

    Args:
        attack: an ``art.attacks.EvasionAttack``.
        model: unused: the attack has its own classifier.
        x: benign images.
        goal: its classes are given as ``y``.
        options: given to ``generate``.

    Raises:
        BadInput: if the attack is targeted and the goal is not, or the other way round.
    """
    name = type(attack).__name__
    targeted = name in _TARGETED_ONLY or bool(attack.targeted)
    if targeted != (goal.target is not None):
        ours = "a target class is" if goal.target is not None else "no target class is"
        theirs = "targeted" if targeted else "untargeted"
        raise BadInput(f"art: {name} is {theirs}, but {ours} given; make the two agree")
    classes = goal.label if goal.target is None else goal.target
    end = attack.generate(x.cpu().numpy(), y=classes.cpu().numpy(), **options)
    return torch.as_tensor(end).to(x)
