"""Networks behind a defence that looks at what they are given, and may refuse to answer.

What a rejection means is defined here, once. Of an input with a known class such a network is
**fooled** if it gives another class and does not reject the input, **correct** if it gives the
class and does not reject it, and **rejected** otherwise, whatever the class would have been. An
attack succeeds where the network is fooled.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from undertow.models.asking import Around, Picked, ask, logits_in
from undertow.models.devices import even_parts
from undertow.types import Images, Keep, Labels, Logits

__all__ = [
    "Aware", "Defended", "Thresholded", "defence_in", "fooled", "rejected", "straight",
    "undefended",
]  # fmt: skip

BATCH: Final = 250
LEAST: Final = 1e-12
"""Scores below it are taken for it, so that they have a logarithm."""


class Defended(Around):
    """A network behind a defence; derive your own from it.

    ``forward`` gives the logits of what the network is handed: ``network(reform(x))``. Taps are
    those of the network, which ``forward`` runs once.

    Args:
        network: what is defended; gives logits.
    """

    def reform(self, x: Images) -> Images:
        """What the network is handed in place of ``x``; by default ``x`` itself."""
        return x

    def suspicion(self, x: Images, logits: Logits) -> Float[Tensor, "sample detector"]:
        """How suspicious inputs look to each detector; one above 0 rejects the input.

        Differentiable in ``x``, so that an attack can see it. By default there is no detector.

        Args:
            x: inputs in [0, 1].
            logits: what ``forward`` gives for them.
        """
        return x.new_zeros(len(x), 0)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (sample, class); as many rows as maps were put back, where some were."""
        logits: Tensor = logits_in(self.network(self.reform(x)))
        return logits


class Thresholded(Defended):
    """A defence whose detectors compare a score with a threshold.

    Args:
        network: what is defended; gives logits.
        detectors: how many there are.
    """

    threshold: Tensor

    def __init__(self, network: nn.Module, detectors: int) -> None:
        super().__init__(network)
        self.register_buffer("threshold", torch.ones(detectors, dtype=torch.float64))

    @abstractmethod
    def score(self, x: Images, logits: Logits) -> Float[Tensor, "sample detector"]:
        """What is compared with ``threshold``; at least 0."""

    def suspicion(self, x: Images, logits: Logits) -> Float[Tensor, "sample detector"]:
        """The logarithm of each score over its threshold."""
        return (self.score(x, logits).clamp_min(LEAST) / self.threshold).log()


class Aware(nn.Module):
    """A defended network as an attack sees it that knows of the defence: one more logit.

    The last logit is that of rejection: the largest other one plus ``weight`` times the greatest
    suspicion, so that it leads where a detector rejects, and nowhere else (the combined
    classifier of Carlini and Wagner 2017, 1705.07263, section 3, with a sum for their product,
    which asks for positive logits).

    Args:
        model: a defended network.
        weight: logits a unit of suspicion.
    """

    def __init__(self, model: nn.Module, weight: float = 1.0) -> None:
        super().__init__()
        self.model = model
        self.weight = weight
        self.train(model.training)

    def forward(self, x: Images) -> Logits:
        """Logits (sample, class + 1)."""
        logits = logits_in(self.model(x))
        defence = defence_in(self.model)
        assert defence is not None
        seen = defence.suspicion(x, logits)
        worst = seen.amax(dim=1) if seen.shape[1] else torch.full_like(logits[:, 0], -1e4)
        refusal = logits.amax(dim=1) + self.weight * worst.to(logits)
        return torch.cat([logits, refusal[:, None]], dim=1)


def defence_in(model: nn.Module) -> Defended | None:
    """The defended network that a model is, or of which it takes one output."""
    while isinstance(model, Picked):
        model = model.network
    return model if isinstance(model, Defended) else None


def undefended(model: nn.Module) -> nn.Module:
    """What is behind the defence; the model itself where there is none."""
    found = defence_in(model)
    return model if found is None else found.network


@torch.no_grad()
def rejected(model: nn.Module, x: Images) -> Keep:
    """Which inputs a model rejects, (sample,); one without a defence rejects none."""
    found = defence_in(model)
    if found is None or not len(x):
        return torch.zeros(len(x), dtype=torch.bool, device=x.device)
    parts = [
        (found.suspicion(x[a:b], ask(model, x[a:b])) > 0).any(dim=1)
        for a, b in even_parts(0, len(x), BATCH)
    ]
    return torch.cat(parts)


def fooled(answer: Labels, label: Labels, refused: Keep) -> Keep:
    """Which inputs fool a model: another class than the true one, and no rejection."""
    return (answer != label) & ~refused


class _Straight(torch.autograd.Function):
    """Forward the value given; backward straight to the input."""

    @staticmethod
    def forward(ctx: object, x: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: object, g: Tensor) -> tuple[Tensor, None]:
        return g, None


def straight(x: Tensor, value: Tensor) -> Tensor:
    """``value``, with the gradient of ``x``: what BPDA puts in place of a step without one.

    Backward pass differentiable approximation (Athalye et al. 2018, 1802.00420, section 4.1).
    """
    made: Tensor = _Straight.apply(x, value)  # type: ignore[no-untyped-call]
    return made
