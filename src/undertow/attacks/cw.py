"""C&W: Carlini and Wagner's L2 attack (2017, 1608.04644, section 6A), a binary search over c."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.attacks.parts.settings import check, count, number
from undertow.attacks.parts.tanh_space import TanhSpace
from undertow.losses import hinge
from undertow.types import Attack, Draws, Goal, Images, Iterate, Iterates, Keep, Norm, Oracle

__all__ = ["CW"]

NO_BOUND = 1e10


@dataclass(frozen=True, slots=True, kw_only=True)
class CW(Attack):
    """Minimise ‖x − x0‖² + c·max(margin(x), −confidence), x = (tanh w + 1)/2, by Adam.

    The constant c is searched for: halved towards the largest that failed after a success, times
    ten after a failure without a success so far. Every row runs its own search: it begins its
    next round as soon as one is over, and leaves the batch with its last.

    Args:
        confidence: by how many logits the answer has to lead.
        learning_rate: of Adam, in the space of w.
        constant: the first c.
        rounds: values of c that are tried.
        steps: at most so many steps a round.
        abort_early: a round is over when a tenth of its steps (with a success, a fifth) has not
            lessened its least loss; the last one, which decides the distance, once it has a
            success goes on to its end.
    """

    name: ClassVar[str] = "cw"
    norm: ClassVar[Norm] = "l2"
    strength: ClassVar[str | None] = "confidence"

    confidence: float = number(0.0, 0)
    learning_rate: float = number(0.01, 0, above=True)
    constant: float = number(0.001, 0, above=True)
    rounds: int = count(9)
    steps: int = count(200)
    abort_early: bool = True

    def __post_init__(self) -> None:
        check(self)

    @property
    def stops_at_success(self) -> bool:
        """A success is only the beginning of getting nearer."""
        return False

    def iterates(self, model: Oracle, x0: Images, goal: Goal, *, draws: Draws) -> Iterates:
        """Yield every point of every round.

        Notes of an iterate, each (sample,): ``round``, from 1; ``constant``, its c; ``best``,
        whether it is the nearest success so far.
        """
        space = TanhSpace(x0, self.learning_rate)
        search = _Search.of(len(x0), self.constant, x0)
        for step in range(1, self.rounds * self.steps + 1):
            x, aim = space.x(), goal
            logits, g = model.gradient(x, lambda z, aim=aim: hinge(z, aim, self.confidence))
            square = (x - space.x0).flatten(1).square().sum(dim=1)
            best = search.note(square, goal.reached(logits))
            notes = {"round": search.round, "constant": search.c, "best": best}
            loss = square + search.c * hinge(logits, goal, self.confidence)
            over = self._over(search, loss, space.clock)
            finished = over & (search.round >= self.rounds)
            keep = yield Iterate(step=step, x=x, logits=logits, finished=finished, notes=notes)
            space.descend(2 * (x - space.x0) + search.c[:, None, None, None] * g)
            if over.any():
                search.next_round(over)
                space.restart(over)
            if not keep.all():
                space.keep(keep)
                search, goal = search[keep], goal[keep]

    def _over(self, search: _Search, loss: Float[Tensor, " sample"], clock: Tensor) -> Keep:
        """Whose round ends with this step; ``clock`` counts the steps that came before it."""
        over = clock + 1 >= self.steps
        search.lowest = torch.minimum(search.lowest, loss)
        if self.abort_early:
            soon, late = (clock % max(1, self.steps // part) == 0 for part in (10, 5))
            look = torch.where(search.found, late & (search.round < self.rounds), soon)
            over = over | (look & (search.lowest > 0.9999 * search.previous))
            search.previous = torch.where(look, search.lowest, search.previous)
        return over


@dataclass(slots=True, eq=False)
class _Search:
    """Where each row's search for c stands."""

    c: Float[Tensor, " sample"]
    low: Float[Tensor, " sample"]
    high: Float[Tensor, " sample"]
    round: Tensor
    found: Keep
    nearest: Float[Tensor, " sample"]
    lowest: Float[Tensor, " sample"]
    previous: Float[Tensor, " sample"]

    @classmethod
    def of(cls, rows: int, constant: float, like: Images) -> _Search:
        """The first round of all rows."""
        full = like.new_full((rows,), constant)
        none = torch.zeros(rows, dtype=torch.bool, device=like.device)
        infinite = torch.full_like(full, torch.inf)
        high = torch.full_like(full, NO_BOUND)
        first = torch.ones(rows, dtype=torch.int64, device=like.device)
        return cls(full, torch.zeros_like(full), high, first, none, infinite, infinite, infinite)

    def __getitem__(self, keep: Keep) -> _Search:
        return _Search(*(getattr(self, name)[keep] for name in self.__slots__))

    def note(self, square: Float[Tensor, " sample"], reached: Keep) -> Keep:
        """Note who reached the goal; whether it is the nearest success so far."""
        self.found = self.found | reached
        best = reached & (square < self.nearest)
        self.nearest = torch.where(best, square, self.nearest)
        return best

    def next_round(self, over: Keep) -> None:
        """A new c for the rows whose round is over."""
        found, failed = over & self.found, over & ~self.found
        self.high = torch.where(found, torch.minimum(self.high, self.c), self.high)
        self.low = torch.where(failed, torch.maximum(self.low, self.c), self.low)
        halved = (self.low + self.high) / 2
        new = torch.where(self.high < NO_BOUND, halved, self.c * 10)
        self.c = torch.where(over, new, self.c)
        self.round = self.round + over.to(self.round.dtype)
        self.found = self.found & ~over
        self.lowest = self.lowest.masked_fill(over, torch.inf)
        self.previous = self.previous.masked_fill(over, torch.inf)
