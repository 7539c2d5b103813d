"""adv-lib, whose attacks are functions: ``listen(adv_lib.attacks.ddn, model, x, y, steps=100)``."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from undertow.types import Goal, Images

__all__ = ["run"]


def run(attack: Any, model: nn.Module, x: Images, goal: Goal, **options: Any) -> Tensor:
    """Run an adv-lib attack on batch ``x``; where it ended.

    Args:
        attack: a function such as ``adv_lib.attacks.ddn``, or a partial application of one.
        model: the model.
        x: benign images.
        goal: its classes are given as labels, with ``targeted``.
        options: given to the function.
    """
    targeted = goal.target is not None
    classes = goal.label if goal.target is None else goal.target
    end: Tensor = attack(model, x, classes, targeted=targeted, **options)
    return end
