"""C&W L0: Carlini and Wagner (2017, 1608.04644, section 6B), a shrinking set of components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from undertow.attacks.parts.settings import check, count, number
from undertow.attacks.parts.tanh_space import TanhSpace
from undertow.losses import margin
from undertow.types import Attack, Draws, Goal, Images, Iterate, Iterates, Keep, Norm, Oracle

__all__ = ["CWL0"]

Allowed = Bool[Tensor, "sample channel height width"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CWL0(Attack):
    """The L2 attack on an allowed set of components, which shrinks at each success.

    After a success the components with the least ``|∂margin/∂x_i · δ_i|`` are fixed at their benign
    values, and the attack goes on from where it is. ``steps`` steps without a success multiply c
    by ten; past ``largest`` the attack is over, and its last success is the answer.

    Args:
        confidence: by how many logits the answer has to lead.
        learning_rate: of Adam, in the space of w.
        constant: the first c.
        largest: the last c.
        steps: at most so many steps for one set and one c.
        drop: after a success ``drop``·√n of the n changed components are fixed (at least one), as
            in the authors' code.
    """

    name: ClassVar[str] = "cw_l0"
    norm: ClassVar[Norm] = "l0"
    strength: ClassVar[str | None] = "confidence"

    confidence: float = number(0.0, 0)
    learning_rate: float = number(0.01, 0, above=True)
    constant: float = number(0.01, 0, above=True)
    largest: float = number(100.0, 0, above=True)
    steps: int = count(100)
    drop: float = number(0.3, 0)

    def __post_init__(self) -> None:
        check(self)

    @property
    def stops_at_success(self) -> bool:
        """A success is only the beginning of changing fewer components."""
        return False

    def iterates(self, model: Oracle, x0: Images, goal: Goal, *, draws: Draws) -> Iterates:
        """Yield every point of every round.

        Notes of an iterate, each (sample,): ``round``, from 1: how often the set has shrunk;
        ``constant``, its c; ``allowed``, how many components may change.
        """
        space = TanhSpace(x0, self.learning_rate)
        allowed = torch.ones_like(x0, dtype=torch.bool)
        c = x0.new_full((len(x0),), self.constant)
        turn = torch.ones(len(x0), dtype=torch.int64, device=x0.device)
        step = 0
        while len(x0):
            step += 1
            x, aim = torch.where(allowed, space.x(), x0), goal
            logits, g = model.gradient(x, lambda z, aim=aim: margin(z, aim))
            delta = x - x0
            won = goal.reached(logits)
            tried = ~won & (space.clock + 1 >= self.steps)
            notes = {"round": turn, "constant": c, "allowed": allowed.flatten(1).sum(dim=1)}
            if won.any():
                allowed = self._shrunk(allowed, delta, g, won)
            empty = ~allowed.flatten(1).any(dim=1)
            last = (won & empty) | (tried & (c * 10 > self.largest * 1.0001))
            keep = yield Iterate(step=step, x=x, logits=logits, finished=last, notes=notes)
            c, turn = torch.where(tried, c * 10, c), turn + won.to(turn.dtype)
            weight = (c * (margin(logits, goal) > -self.confidence))[:, None, None, None]
            space.descend((2 * delta + weight * g) * allowed)
            space.forget(won | tried)
            space.keep(keep)
            x0, goal, allowed = x0[keep], goal[keep], allowed[keep]
            c, turn = c[keep], turn[keep]

    def _shrunk(self, allowed: Allowed, delta: Images, g: Images, won: Keep) -> Allowed:
        """Of the rows that won, fix what has not changed and what matters least."""
        changed = (allowed & (delta != 0)).flatten(1)
        count: Int64[Tensor, " sample"] = changed.sum(dim=1)
        fixed = (self.drop * count.to(delta.dtype).sqrt()).floor().long().clamp(min=1)
        score = (g * delta).flatten(1).abs().masked_fill(~changed, torch.inf)
        rank = score.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
        left = (changed & (rank >= fixed[:, None])).view_as(allowed)
        return torch.where(won[:, None, None, None], left, allowed)
