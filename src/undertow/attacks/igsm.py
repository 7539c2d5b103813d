"""IGSM: the iterated gradient sign method (Kurakin 2016, 1607.02533, section 2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from undertow.attacks.parts.balls import linf_project
from undertow.attacks.parts.rows import kept, size
from undertow.attacks.parts.settings import check, count, number
from undertow.losses import goal_entropy
from undertow.types import Attack, Draws, Goal, Images, Iterate, Iterates, Norm, Oracle

__all__ = ["IGSM"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IGSM(Attack):
    """x ← clip(x + α·sign(∇J(x, y))), the clip being to the ball of ε and to [0, 1].

    Args:
        epsilon: largest change of a component, in (0, 1].
        alpha: change of a component in one step; by default 2.5·ε/steps, so that the border of
            the ball is well within reach.
        steps: at most so many steps.
        stop: whether an input is done as soon as the goal is reached.
    """

    name: ClassVar[str] = "igsm"
    norm: ClassVar[Norm] = "linf"
    strength: ClassVar[str | None] = "epsilon"

    epsilon: float = number(8 / 255, 0, 1, above=True)
    alpha: float | None = number(None, 0, 1, above=True)
    steps: int = count(20)
    stop: bool = True

    def __post_init__(self) -> None:
        check(self)

    @property
    def spends(self) -> bool:
        """Without ``stop`` the whole budget is used, as in the paper; the last success counts."""
        return not self.stop

    @property
    def stops_at_success(self) -> bool:
        """As set by ``stop``."""
        return self.stop

    def iterates(self, model: Oracle, x0: Images, goal: Goal, *, draws: Draws) -> Iterates:
        """Yield one step of α at a time."""
        alpha = 2.5 * self.epsilon / self.steps if self.alpha is None else self.alpha
        x = x0
        for step in range(1, self.steps + 1):
            aim = goal
            _, g = model.gradient(x, lambda z, aim=aim: goal_entropy(z, aim))
            still = size(g) == 0
            delta = g.sign().mul_(-alpha).add_(x).sub_(x0)
            x = linf_project(delta, self.epsilon).add_(x0).clamp_(0, 1)
            # Where the gradient vanished nothing moves, now or later.
            keep = yield Iterate(step=step, x=x, finished=still)
            x, x0, goal = kept(keep, x), kept(keep, x0), goal[keep]
