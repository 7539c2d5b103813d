"""DeepFool: to the nearest linearised border (Moosavi-Dezfooli 2016, 1511.04599)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import one_hot

from undertow.attacks.parts.settings import check, count, number
from undertow.types import Attack, Draws, Goal, Images, Iterate, Iterates, Logits, Norm, Oracle

__all__ = ["DeepFool"]

NUDGE = 1e-4
"""Added to each step's length, as in the authors' code: it crosses where rounding would not."""


class _Border(NamedTuple):
    """The nearest border of each row: its class, its distance, the step to it."""

    rival: Int64[Tensor, " sample"]
    distance: Float[Tensor, " sample"]
    step: Images


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepFool(Attack):
    """Algorithm 2 of the paper (L2): ``r = |f_l|/‖w_l‖²·w_l``, l with the least ``|f_l|/‖w_l‖``.

    f_k is the logit of class k less that of the true class, w_k its gradient. As in the authors'
    code the next linearisation is made at x0 + (1 + overshoot)·Σr. With a target, the one border
    looked at is that between the target and its strongest rival.

    Args:
        overshoot: share by which the sum of the steps is lengthened.
        steps: at most so many steps.
        candidates: how many classes are looked at, those with the largest logits.
        slack: classes are taken in the order of their logits, and no further class is looked at
            once the border of the next could be nearest only if its gradient were ``slack`` times
            as long as the longest so far. ``None`` looks at all candidates.
    """

    name: ClassVar[str] = "deepfool"
    norm: ClassVar[Norm] = "l2"
    strength: ClassVar[str | None] = "overshoot"

    overshoot: float = number(0.02, 0)
    steps: int = count(50)
    candidates: int = count(10)
    slack: float | None = number(1.5, 1)

    def __post_init__(self) -> None:
        check(self)

    def iterates(self, model: Oracle, x0: Images, goal: Goal, *, draws: Draws) -> Iterates:
        """Yield one linearisation a step.

        Notes of an iterate: ``rival`` (sample,), the class whose border was nearest, and
        ``length`` (sample,), the step's Euclidean length before the overshoot.
        """
        x, total = x0, torch.zeros_like(x0)
        for step in range(1, self.steps + 1):
            border = self._nearest(model, x, goal)
            total = total + border.step
            x = (x0 + (1 + self.overshoot) * total).clamp(0, 1)
            notes = {"rival": border.rival, "length": border.distance}
            still = border.step.flatten(1).abs().amax(dim=1) == 0
            keep = yield Iterate(step=step, x=x, finished=still, notes=notes)
            x, x0, total, goal = x[keep], x0[keep], total[keep], goal[keep]

    def _nearest(self, model: Oracle, x: Images, goal: Goal) -> _Border:
        """The nearest of the candidates' borders, row by row."""
        logits = model.logits(x)
        own, rivals, gaps = self._candidates(logits, goal)
        best = torch.full_like(gaps[:, 0], torch.inf)
        longest = torch.zeros_like(best)
        rival, w_best = rivals[:, 0].clone(), torch.zeros_like(x)
        slack = torch.inf if self.slack is None else self.slack
        for i in range(rivals.shape[1]):
            # Could this border be the nearest, were its gradient ``slack`` times the longest?
            unsettled = best.isinf() | (best * longest * slack > gaps[:, i])
            if not unsettled.any():
                break
            k = rivals[:, i]
            form = (one_hot(k, model.classes) - one_hot(own, model.classes)) * unsettled[:, None]
            w = model.jacobian(x, form[None].to(x.dtype))[1][0]
            length = w.flatten(1).norm(dim=1)
            # A border without a gradient cannot be reached.
            far = torch.where(length > 0, gaps[:, i] / length, torch.inf)
            nearer = far < best
            best, rival = torch.where(nearer, far, best), torch.where(nearer, k, rival)
            w_best[nearer] = w[nearer]
            longest = torch.maximum(longest, length)
        length = w_best.flatten(1).norm(dim=1)
        scale = torch.where(length > 0, (best + NUDGE) / length, 0)
        return _Border(rival, torch.where(length > 0, best, 0), scale[:, None, None, None] * w_best)

    def _candidates(
        self, logits: Logits, goal: Goal
    ) -> tuple[Tensor, Int64[Tensor, "sample k"], Float[Tensor, "sample k"]]:
        """The class to leave, classes to reach in order of their gaps, and the gaps |f_k|."""
        if goal.target is None:
            k = min(self.candidates, logits.shape[1] - 1 - goal.rejection)
            value, rivals = goal.others(logits, goal.label).topk(k, dim=1)
            own = goal.label
            if goal.rejection:  # whichever of the two leads has to be left
                leads = logits[:, -1] > logits.gather(1, own[:, None])[:, 0]
                own = torch.where(leads, logits.shape[1] - 1, own)
            return own, rivals, (logits.gather(1, own[:, None]) - value).abs()
        own = logits.scatter(1, goal.target[:, None], -torch.inf).argmax(dim=1)
        gaps = logits.gather(1, own[:, None]) - logits.gather(1, goal.target[:, None])
        return own, goal.target[:, None], gaps.abs()
