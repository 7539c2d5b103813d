"""Ensemble: any gradient attack on several models at once (Liu 2016, 1611.02770, section 5)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch

from undertow.attacks.driver.members import Combine, MembersOracle
from undertow.attacks.igsm import IGSM
from undertow.attacks.parts.settings import check
from undertow.errors import BadInput
from undertow.losses import goal_entropy
from undertow.types import Attack, Draws, Goal, Images, Iterate, Iterates, Norm, Oracle

__all__ = ["Ensemble"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble(Attack):
    """An attack on the weighted sum of several models' losses.

    ``craft(Ensemble(attack=IGSM()), [first, second], x, y)`` succeeds where all models are fooled.
    Notes of an iterate, beside the inner attack's: ``member_loss`` (sample, member), each
    model's cross-entropy in nats (negative if untargeted: it is descended), and ``fooled``
    (sample, member).

    Args:
        attack: the attack that is run.
        weights: one a model, positive; scaled to sum to one. Equal by default.
        combine: ``loss`` and ``logits`` average those; ``probability`` is Liu's: the loss of the
            mean softmax output. Attacks that read the logits see a mean of logits with ``loss``.
    """

    name: ClassVar[str] = "ensemble"

    attack: Attack = field(default_factory=IGSM)
    weights: tuple[float, ...] | None = None
    combine: Combine = "loss"

    def __post_init__(self) -> None:
        check(self)
        if not isinstance(self.attack, Attack) or isinstance(self.attack, type | Ensemble):
            raise BadInput(f"ensemble: attack is {self.attack!r}; give one such as IGSM()")
        if self.weights is not None:
            try:
                weights = tuple(float(w) for w in self.weights)
            except (TypeError, ValueError):
                weights = ()
            if not weights or not all(w > 0 and math.isfinite(w) for w in weights):
                raise BadInput(
                    f"ensemble: weights are {self.weights!r}; give a positive number a model"
                )
            object.__setattr__(self, "weights", weights)

    @property
    def norm(self) -> Norm:
        """The inner attack's."""
        return self.attack.norm

    @property
    def inner(self) -> Attack:
        """The attack that is run; what the driver asks of this one is asked of it."""
        return self.attack

    @property
    def spends(self) -> bool:
        """The inner attack's."""
        return self.attack.spends

    @property
    def stops_at_success(self) -> bool:
        """The inner attack's."""
        return self.attack.stops_at_success

    @property
    def confidence(self) -> float:
        """The inner attack's."""
        return self.attack.confidence

    @property
    def default_target(self) -> str:
        """The inner attack's."""
        return self.attack.default_target

    def iterates(self, model: Oracle, x0: Images, goal: Goal, *, draws: Draws) -> Iterates:
        """Yield the inner attack's iterates, with notes on each member."""
        if not isinstance(model, MembersOracle):
            raise BadInput(
                "ensemble runs in craft() only, which makes one oracle of several models"
            )
        inner = self.attack.iterates(model, x0, goal, draws=draws)
        try:
            it = next(inner)
            while True:
                it = self._noted(model, it, goal)
                keep = yield it
                goal = goal[keep]
                it = inner.send(keep)
        except StopIteration:
            return
        finally:
            inner.close()

    def _noted(self, model: MembersOracle, it: Iterate, goal: Goal) -> Iterate:
        judged = model.verdict(it.x, it.logits, goal)
        assert model.answers is not None
        losses = torch.stack([goal_entropy(z, goal) for z in model.answers], dim=1)
        fooled = torch.stack([goal.reached(z) for z in model.answers], dim=1)
        mixed = model.mixed()
        assert len(judged) == len(mixed)
        return replace(
            it, logits=mixed, notes={**it.notes, "member_loss": losses, "fooled": fooled}
        )
