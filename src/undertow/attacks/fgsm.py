"""FGSM: the fast gradient sign method (Goodfellow 2015, 1412.6572, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from undertow.attacks.parts.settings import check, number
from undertow.losses import goal_entropy
from undertow.types import Attack, Draws, Goal, Images, Iterate, Iterates, Norm, Oracle

__all__ = ["FGSM"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FGSM(Attack):
    """x + ε·sign(∇J(x, y)), once; with a target, x − ε·sign(∇J(x, t)).

    Args:
        epsilon: change of every component, in (0, 1].
    """

    name: ClassVar[str] = "fgsm"
    norm: ClassVar[Norm] = "linf"
    strength: ClassVar[str | None] = "epsilon"

    epsilon: float = number(8 / 255, 0, 1, above=True)

    def __post_init__(self) -> None:
        check(self)

    def iterates(self, model: Oracle, x0: Images, goal: Goal, *, draws: Draws) -> Iterates:
        """Yield the one step."""
        _, g = model.gradient(x0, lambda z: goal_entropy(z, goal))
        yield Iterate(step=1, x=(x0 - self.epsilon * g.sign()).clamp(0, 1))
