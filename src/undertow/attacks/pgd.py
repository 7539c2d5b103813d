"""PGD: projected gradient descent from a random start (Madry 2018, 1706.06083), L∞ or L2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from undertow.attacks.parts.balls import l2_project, linf_project
from undertow.attacks.parts.rows import kept, size
from undertow.attacks.parts.settings import check, count, number
from undertow.errors import BadInput
from undertow.losses import goal_entropy, margin
from undertow.types import Attack, Draws, Goal, Images, Iterate, Iterates, Oracle

__all__ = ["PGD"]

Ball = Literal["linf", "l2"]
Descended: TypeAlias = Literal["entropy", "margin", "both"]
"""What a start makes small; ``both``: the one and the other in turn, start by start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PGD(Attack):
    """IGSM from a random point of the ball: sign steps for L∞, unit gradients for L2.

    Args:
        epsilon: radius of the ball: a component's change for ``linf``, a length for ``l2``.
        alpha: length of a step; by default 2.5·ε/steps.
        steps: at most so many steps.
        norm: the ball.
        random_start: start at a random point of the ball (uniform; for ``l2`` a random direction
            and a radius that makes it uniform), else at the benign input.
        stop: whether an input is done as soon as the goal is reached.
        restarts: how many starts, one after the other; each makes all the steps.
        loss: ``entropy`` (the paper's), ``margin`` of the logits, which has a gradient where the
            softmax is saturated, or ``both``, start by start.
    """

    name: ClassVar[str] = "pgd"
    strength: ClassVar[str | None] = "epsilon"

    epsilon: float = number(8 / 255, 0, above=True)
    alpha: float | None = number(None, 0, above=True)
    steps: int = count(20)
    norm: Ball = "linf"
    random_start: bool = True
    stop: bool = True
    restarts: int = count(1)
    loss: Descended = "entropy"

    def __post_init__(self) -> None:
        check(self)
        if self.restarts > 1 and not self.random_start:
            raise BadInput(
                f"pgd: {self.restarts} restarts from one place are one; allow a random_start"
            )

    @property
    def spends(self) -> bool:
        """Without ``stop`` the whole budget is used, as in the paper; the last success counts."""
        return not self.stop

    @property
    def stops_at_success(self) -> bool:
        """As set by ``stop``."""
        return self.stop

    def iterates(self, model: Oracle, x0: Images, goal: Goal, *, draws: Draws) -> Iterates:
        """Yield one step at a time; the random start is part of the first."""
        alpha = 2.5 * self.epsilon / self.steps if self.alpha is None else self.alpha
        x = x0
        for step in range(1, self.steps * self.restarts + 1):
            number, within = divmod(step - 1, self.steps)
            if within == 0:
                x = self._start(x0, draws.again(number))
            aim = goal
            descended = (
                margin
                if self.loss == "margin" or (self.loss == "both" and number % 2)
                else goal_entropy
            )
            _, g = model.gradient(x, lambda z, aim=aim, loss=descended: loss(z, aim))
            moving = size(g) > 0
            if self.norm == "linf":
                delta = linf_project(g.sign().mul_(-alpha).add_(x).sub_(x0), self.epsilon)
            else:
                length = g.flatten(1).norm(dim=1).where(moving, 1)[:, None, None, None]
                delta = l2_project(x - alpha * g / length - x0, self.epsilon)
            x = (x0 + delta).clamp_(0, 1)
            last = number == self.restarts - 1
            keep = yield Iterate(step=step, x=x, finished=~moving & last)
            x, x0, goal, draws = kept(keep, x), kept(keep, x0), goal[keep], draws[keep]

    def _start(self, x0: Images, draws: Draws) -> Images:
        if not self.random_start:
            return x0
        shape = x0.shape[1:]
        u = draws.uniform(shape).to(x0)
        if self.norm == "linf":
            return (x0 + self.epsilon * (2 * u - 1)).clamp(0, 1)
        direction = draws.normal(shape).to(x0)
        unit = direction / direction.flatten(1).norm(dim=1)[:, None, None, None]
        radius = self.epsilon * u.flatten(1)[:, 0] ** (1 / shape.numel())
        start: Images = (x0 + radius[:, None, None, None] * unit).clamp(0, 1)
        return start
