"""What an attack makes small: one value a row, to be descended."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from undertow.types import Goal, Labels, Logits

__all__ = ["goal_entropy", "hinge", "margin", "others_best"]


def goal_entropy(logits: Logits, goal: Goal) -> Float[Tensor, " sample"]:
    """Cross-entropy of the target, or minus that of the true class. In nats.

    Where an input may be rejected, minus that of "the true class or rejected".
    """
    if goal.target is None and goal.rejection:
        own = logits.gather(1, goal.label[:, None])[:, 0]
        return torch.logaddexp(own, logits[:, -1]) - logits.logsumexp(dim=1)
    if goal.target is None:
        return -cross_entropy(logits, goal.label, reduction="none")
    return cross_entropy(logits, goal.target, reduction="none")


def others_best(logits: Logits, label: Labels) -> Float[Tensor, " sample"]:
    """The largest logit of a class other than ``label``."""
    return logits.scatter(1, label[:, None], -torch.inf).amax(dim=1)


def margin(logits: Logits, goal: Goal) -> Float[Tensor, " sample"]:
    """How far the logits are from the goal: at most 0 where it is reached, 0 on the border.

    Rejection stands beside the true class: an untargeted attack must leave both behind.
    """
    if goal.target is None:
        own = logits.gather(1, goal.label[:, None])[:, 0]
        if goal.rejection:
            own = torch.maximum(own, logits[:, -1])
        return own - goal.others(logits, goal.label).amax(dim=1)
    return others_best(logits, goal.target) - logits.gather(1, goal.target[:, None])[:, 0]


def hinge(logits: Logits, goal: Goal, confidence: float = 0.0) -> Float[Tensor, " sample"]:
    """max(margin, -confidence) (Carlini and Wagner 2017, f6)."""
    return margin(logits, goal).clamp(min=-confidence)
