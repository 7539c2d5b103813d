"""C&W L∞: Carlini and Wagner (2017, 1608.04644, section 6C), a falling threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from undertow.attacks.parts.settings import check, count, number
from undertow.attacks.parts.tanh_space import TanhSpace
from undertow.losses import margin
from undertow.types import Attack, Draws, Goal, Images, Iterate, Iterates, Norm, Oracle

__all__ = ["CWLinf"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CWLinf(Attack):
    """Minimise ``c·max(margin, −confidence) + Σ max(|δ| − τ, 0)``; each success lowers τ.

    A success whose changes are all within τ sets τ to ``shrink`` times the largest of them, and the
    search goes on from there. ``steps`` steps without one multiply c by ``factor``; past
    ``largest`` it is over.

    Args:
        confidence: by how many logits the answer has to lead.
        learning_rate: of Adam, in the space of w.
        constant: the first c.
        largest: the last c.
        factor: how fast c grows, above 1; the authors' code doubles it.
        steps: at most so many steps for one τ and one c.
        shrink: how fast τ falls, below 1; the result is within 1/shrink of the best found this way.
        least: the τ below which there is no need to go on.
    """

    name: ClassVar[str] = "cw_linf"
    norm: ClassVar[Norm] = "linf"
    strength: ClassVar[str | None] = "confidence"

    confidence: float = number(0.0, 0)
    learning_rate: float = number(0.005, 0, above=True)
    constant: float = number(0.01, 0, above=True)
    largest: float = number(100.0, 0, above=True)
    factor: float = number(2.0, 1, above=True)
    steps: int = count(100)
    shrink: float = number(0.9, 0, 0.999, above=True)
    least: float = number(1 / 256, 0, 1, above=True)

    def __post_init__(self) -> None:
        check(self)

    @property
    def stops_at_success(self) -> bool:
        """A success is only the beginning of getting nearer."""
        return False

    def iterates(self, model: Oracle, x0: Images, goal: Goal, *, draws: Draws) -> Iterates:
        """Yield every point of every round.

        Notes of an iterate, each (sample,): ``round``, from 1: how often τ has fallen;
        ``constant``, its c; ``threshold``, its τ.
        """
        space = TanhSpace(x0, self.learning_rate)
        c, tau = x0.new_full((len(x0),), self.constant), x0.new_ones(len(x0))
        turn = torch.ones(len(x0), dtype=torch.int64, device=x0.device)
        step = 0
        while len(x0):
            step += 1
            x, aim = space.x(), goal
            logits, g = model.gradient(x, lambda z, aim=aim: margin(z, aim))
            delta = x - x0
            size = delta.flatten(1).abs().amax(dim=1)
            won = goal.reached(logits) & (size <= tau)
            tried = ~won & (space.clock + 1 >= self.steps)
            notes = {"round": turn, "constant": c, "threshold": tau}
            tau = torch.where(won, self.shrink * size, tau)
            more = c * self.factor
            last = (won & (tau < self.least)) | (tried & (more > self.largest * 1.0001))
            keep = yield Iterate(step=step, x=x, logits=logits, finished=last, notes=notes)
            c, turn = torch.where(tried, more, c), turn + won.to(turn.dtype)
            weight = c * (margin(logits, goal) > -self.confidence)
            over = delta.abs() > tau[:, None, None, None]
            space.descend(weight[:, None, None, None] * g + over * delta.sign())
            space.forget(won | tried)
            space.keep(keep)
            x0, goal, c, tau, turn = x0[keep], goal[keep], c[keep], tau[keep], turn[keep]
