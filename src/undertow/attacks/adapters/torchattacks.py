"""Torchattacks 3: ``listen(torchattacks.PGD(model), model, x, y)``."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from undertow.errors import BadInput
from undertow.types import Goal, Images

__all__ = ["run"]


def run(attack: Any, model: nn.Module, x: Images, goal: Goal, **options: Any) -> Tensor:
    """Run a Torchattacks attack on batch ``x``; where it ended.

    Args:
        attack: a ``torchattacks.attack.Attack``, in the mode ``targeted(label)`` where there is
            a target class.
        model: unused: the attack has its own.
        x: benign images.
        goal: its classes are given as labels.
        options: given to the attack's call.

    Raises:
        BadInput: if the attack's mode and the goal do not agree.
    """
    name = type(attack).__name__
    if goal.target is not None and attack.attack_mode != "targeted(label)":
        raise BadInput(
            f"torchattacks: a target class is given, but {name} is in mode "
            f"'{attack.attack_mode}'; call its set_mode_targeted_by_label() first"
        )
    if goal.target is None and attack.targeted:
        raise BadInput(
            f"torchattacks: no target class is given, but {name} is in mode "
            f"'{attack.attack_mode}'; call its set_mode_default() first"
        )
    end: Tensor = attack(x, goal.label if goal.target is None else goal.target, **options)
    return end
