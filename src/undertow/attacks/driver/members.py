"""Several models as one oracle, so that every attack works on all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from undertow.attacks.driver.oracle import ModelOracle, Tally
from undertow.errors import BadInput
from undertow.losses import margin
from undertow.types import Goal, Images, Keep, Logits

__all__ = ["Combine", "MembersOracle"]

Combine = Literal["loss", "logits", "probability"]
"""What is averaged over the members: losses, logits, or softmax outputs (Liu 2016)."""


def _form(c: Tensor, logits: Tensor) -> Tensor:
    """A linear form of the logits."""
    return (logits * c).sum(dim=1)


class MembersOracle:
    """A counting oracle around several models; a row sent to all of k models counts k times.

    Attacks see the weighted mean of the logits (with ``probability``: the logarithm of the
    weighted mean of the softmax outputs). Success is judged by the member that is furthest from the
    goal: it is reached where all members are fooled.

    Args:
        models: the members.
        classes: how many logits each has.
        weights: one a member; scaled to sum to one. Equal by default.
        combine: what the gradient is of.
        channels_last: as for :class:`~undertow.attacks.driver.oracle.ModelOracle`.
        half: likewise.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        classes: int,
        weights: Sequence[float] | None = None,
        combine: Combine = "loss",
        channels_last: bool = False,
        half: torch.dtype | None = None,
    ) -> None:
        self.members = tuple(
            ModelOracle(m, classes, channels_last=channels_last, half=half) for m in models
        )
        self.half = half
        self.rejecting = False
        self.classes = classes
        self.combine = combine
        self.device = self.members[0].device
        weights = tuple(weights) if weights is not None else (1.0,) * len(self.members)
        if len(weights) != len(self.members):
            raise BadInput(f"there are {len(weights)} weights for {len(self.members)} models")
        self.weights = tuple(w / sum(weights) for w in weights)
        self.answers: Tensor | None = None
        self.vanished = torch.zeros(0, dtype=torch.bool)

    @property
    def rows(self) -> Tensor:
        """The rows that move."""
        return self.members[0].rows

    @property
    def tally(self) -> Tally:
        """What was asked of all members together."""
        counts = [m.tally for m in self.members]
        return Tally(
            torch.stack([c.forwards for c in counts]).sum(0),
            torch.stack([c.backwards for c in counts]).sum(0),
        )

    def open(self, samples: int, first: int) -> None:
        """Count anew, for a batch of which the first is number ``first`` of all; a row a sample."""
        for m in self.members:
            m.open(samples, first)
        self.vanished, self.answers = torch.zeros(samples, dtype=torch.bool), None

    def spread(self, owner: Int64[Tensor, " row"]) -> None:
        """From now on rows belong to the samples ``owner``, of which several may be the same."""
        for m in self.members:
            m.spread(owner)
        self.vanished = torch.zeros(len(owner), dtype=torch.bool)
        if self.answers is not None:
            self.answers = self.answers[:, owner.to(self.answers.device)]

    def keep(self, mask: Keep) -> None:
        """Only these rows go on; the last forward calls can still be used for them."""
        for m in self.members:
            m.keep(mask)

    def logits(self, x: Images) -> Logits:
        """One forward call of each member, without graphs."""
        self.answers = torch.stack([m.logits(x) for m in self.members])
        return self._mix(list(self.answers))

    def benign(self, x: Images) -> Logits:
        """The mixed answers at the benign inputs, in the models' own type."""
        self.answers = torch.stack([m.benign(x) for m in self.members])
        return self._mix(list(self.answers))

    def judge(self, x: Images) -> Logits:
        """One forward call of each member, whose graphs serve the next gradient at ``x``."""
        self.answers = torch.stack([m.judge(x) for m in self.members])
        return self._mix(list(self.answers))

    def verdict(self, x: Images, logits: Logits | None, goal: Goal) -> Logits:
        """At each row the logits of the member that is furthest from the goal."""
        if logits is None or not (self.answers is not None and torch.equal(self.mixed(), logits)):
            self.judge(x)
        answers = self._known()
        gaps = torch.stack([margin(z, goal) for z in answers])
        if self.half is not None and (all_fooled := (gaps.amax(dim=0) <= 0)).any():
            pairs = zip(self.members, answers, strict=True)
            answers = torch.stack([m.verified(x, z, all_fooled) for m, z in pairs])
            gaps = torch.stack([margin(z, goal) for z in answers])
        return answers[gaps.argmax(dim=0), torch.arange(len(x), device=x.device)]

    def gradient(self, x: Images, loss: Callable[[Tensor], Tensor]) -> tuple[Logits, Images]:
        """Mixed logits, and the gradient of the mixed loss."""
        answers = [m.gradient_later(x) for m in self.members]
        self.answers = torch.stack(answers)
        parts = self._pull(answers, loss)
        g = torch.zeros_like(x)
        for m, v in zip(self.members, parts, strict=True):
            g += m.gradient(x, partial(_form, v))[1]
        self._look(g[None])
        return self._mix(answers), g

    def jacobian(
        self, x: Images, cotangents: Float[Tensor, "k sample class"]
    ) -> tuple[Logits, Float[Tensor, "k sample channel height width"]]:
        """Mixed logits, and the gradients of linear forms of them."""
        answers = [m.gradient_later(x) for m in self.members]
        self.answers = torch.stack(answers)
        parts = [self._pull(answers, partial(_form, c)) for c in cotangents]
        gs = x.new_zeros((len(cotangents), *x.shape))
        for i, m in enumerate(self.members):
            gs += m.jacobian(x, torch.stack([p[i] for p in parts]))[1]
        self._look(gs)
        return self._mix(answers), gs

    def mixed(self) -> Logits:
        """The mixed logits of the last call."""
        return self._mix(list(self._known()))

    def _known(self) -> Tensor:
        assert self.answers is not None
        return self.answers

    def _mix(self, answers: Sequence[Tensor]) -> Tensor:
        """What an attack sees as the logits."""
        pairs = list(zip(self.weights, answers, strict=True))
        if self.combine == "probability":
            logs = [z.log_softmax(dim=1) + torch.tensor(w).log().to(z) for w, z in pairs]
            return torch.stack(logs).logsumexp(dim=0)
        return torch.stack([w * z for w, z in pairs]).sum(dim=0)

    def _pull(self, answers: Sequence[Tensor], loss: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """The gradient of the mixed loss with respect to each member's logits."""
        with torch.enable_grad():
            zs = [z.detach().requires_grad_() for z in answers]
            if self.combine == "loss":
                pairs = zip(self.weights, zs, strict=True)
                value = torch.stack([w * loss(z).sum() for w, z in pairs]).sum()
            else:
                value = loss(self._mix(zs)).sum()
            return list(torch.autograd.grad(value, zs))

    def _look(self, gs: Float[Tensor, "k sample channel height width"]) -> None:
        peak = gs.abs().flatten(2).amax(dim=(0, 2))
        if len(peak) == len(self.rows):
            self.vanished[self.rows] = (peak == 0).to(self.vanished.device)
