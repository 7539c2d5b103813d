"""Wrappers of a model that make every attack adaptive (Athalye 2018, 1802.00420, section 4)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from undertow.errors import BadInput
from undertow.models.asking import logits_in
from undertow.models.defended import straight
from undertow.seeds import derive
from undertow.types import Images, Logits

__all__ = ["BPDA", "Expectation"]

Transform = Callable[[Tensor], Tensor]


class BPDA(nn.Module):
    """A defence without a useful gradient before a model: its backward pass is approximated.

    Forward it is ``model(defence(x))``; backward the defence is replaced by ``surrogate``.

    Args:
        defence: images to images of the same shape, for example a quantiser.
        model: what comes after.
        surrogate: a differentiable stand-in for the defence; by default the identity.
    """

    def __init__(
        self, defence: Transform, model: nn.Module, surrogate: Transform | None = None
    ) -> None:
        super().__init__()
        self.defence = defence
        self.model = model
        self.surrogate = surrogate
        self.train(getattr(model, "training", False))

    def forward(self, x: Images) -> Logits:
        """Logits (sample, class)."""
        with torch.no_grad():
            defended = self.defence(x)
        if defended.shape != x.shape and self.surrogate is None:
            raise BadInput(
                f"the defence gives shape {tuple(defended.shape)} for {tuple(x.shape)}; "
                "without a surrogate it must keep the shape"
            )
        stand_in = x if self.surrogate is None else self.surrogate(x)
        logits: Tensor = logits_in(self.model(straight(stand_in, defended)))
        return logits


class Expectation(nn.Module):
    """The mean answer over random transformations: expectation over transformation.

    Logits are the logarithm of the mean softmax output over ``samples`` draws, so the gradient is
    that of the expected probability. The draws are the same for every input and every call, so
    that the result does not depend on the batch.

    Args:
        model: what comes after the transformation.
        transform: images and a generator to images; it should draw once for the whole batch.
        samples: how many draws.
        seed: from which the draws are derived.
    """

    def __init__(
        self,
        model: nn.Module,
        transform: Callable[[Tensor, torch.Generator], Tensor],
        *,
        samples: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if samples < 1:
            raise BadInput(f"samples is {samples}; it must be at least 1")
        self.model = model
        self.transform = transform
        self.samples = samples
        self.seed = seed
        self.train(getattr(model, "training", False))

    def forward(self, x: Images) -> Logits:
        """Logarithms of mean probabilities (sample, class)."""
        logs = []
        for i in range(self.samples):
            generator = torch.Generator().manual_seed(derive(self.seed, "expectation", i))
            logits = logits_in(self.model(self.transform(x, generator)))
            logs.append(logits.log_softmax(dim=1))
        mean: Tensor = torch.stack(logs).logsumexp(dim=0) - torch.tensor(float(self.samples)).log()
        return mean
