"""Orthogonal projected gradient descent (Bryniarski et al. 2022, 2106.15023), L∞.

A step lessens what is not reached yet, the network's answer or the detector's suspicion, along
that part of its gradient which leaves the other as it is: no step is spent on being seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import one_hot

from undertow.attacks.parts.balls import linf_project
from undertow.attacks.parts.rows import kept, size
from undertow.attacks.parts.settings import check, count, number
from undertow.types import (
    Attack,
    Draws,
    Goal,
    Images,
    Iterate,
    Iterates,
    Logits,
    Norm,
    Oracle,
)

__all__ = ["OPGD"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OPGD(Attack):
    """Sign steps along the margin's gradient or the suspicion's, each without the other's part.

    On a network without detectors it descends the margin of the logits.

    Args:
        epsilon: largest change of a component, in (0, 1].
        alpha: change of a component in one step; by default 2.5·ε/steps.
        steps: at most so many steps.
        stop: whether an input is done as soon as the goal is reached.
    """

    name: ClassVar[str] = "opgd"
    norm: ClassVar[Norm] = "linf"
    strength: ClassVar[str | None] = "epsilon"

    epsilon: float = number(8 / 255, 0, 1, above=True)
    alpha: float | None = number(None, 0, 1, above=True)
    steps: int = count(40)
    stop: bool = True

    def __post_init__(self) -> None:
        check(self)

    @property
    def spends(self) -> bool:
        """Without ``stop`` the whole budget is used; the last success counts."""
        return not self.stop

    @property
    def stops_at_success(self) -> bool:
        """As set by ``stop``."""
        return self.stop

    def iterates(self, model: Oracle, x0: Images, goal: Goal, *, draws: Draws) -> Iterates:
        """Yield one step of α at a time; note ``hiding``: whether it lessened suspicion."""
        alpha = 2.5 * self.epsilon / self.steps if self.alpha is None else self.alpha
        x = x0
        for step in range(1, self.steps + 1):
            logits = model.logits(x)
            wrong, seen = _forms(logits, goal)
            forms = torch.stack([wrong, seen] if goal.rejection else [wrong])
            _, g = model.jacobian(x, forms)
            hiding = ((wrong * logits).sum(dim=1) < 0) & goal.rejection
            main = torch.where(hiding[:, None, None, None], g[-1], g[0])
            along = main
            if goal.rejection:
                along = _across(main, torch.where(hiding[:, None, None, None], g[0], g[-1]))
            still = size(main) == 0
            delta = along.reshape(x.shape).sign().mul_(-alpha).add_(x).sub_(x0)
            x = linf_project(delta, self.epsilon).add_(x0).clamp_(0, 1)
            keep = yield Iterate(step=step, x=x, finished=still, notes={"hiding": hiding})
            x, x0, goal = kept(keep, x), kept(keep, x0), goal[keep]


def _across(g: Images, other: Images) -> Images:
    """The part of a gradient that is orthogonal to another; all of it where nothing is left."""
    square = other.flatten(1).square().sum(dim=1)
    share = (g * other).flatten(1).sum(dim=1) / square.where(square > 0, 1)
    rest = g - share[:, None, None, None] * other
    return torch.where((size(rest) > 0)[:, None, None, None], rest, g)


def _forms(logits: Logits, goal: Goal) -> tuple[Logits, Logits]:
    """What is to become negative, as linear forms: the margin over the goal, and suspicion."""
    columns = logits.shape[1]
    if goal.target is None:
        own, best = goal.label, goal.others(logits, goal.label).argmax(dim=1)
    else:
        own, best = goal.others(logits, goal.target).argmax(dim=1), goal.target
    wrong = one_hot(own, columns) - one_hot(best, columns)
    if not goal.rejection:
        return wrong.to(logits), torch.zeros_like(logits)
    seen = -one_hot(logits[:, :-1].argmax(dim=1), columns)
    seen[:, -1] += 1
    return wrong.to(logits), seen.to(logits)
