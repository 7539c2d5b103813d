"""Adversarial training: learning from inputs that an attack has just disturbed.

One gradient step from a wide random start, not projected (N-FGSM: de Jorge et al. 2022, 2202.01181,
equation 6), so that a training costs twice a plain one; several smaller steps inside the ball
(Madry et al. 2018, 1706.06083, equation 2.1) where asked for, or where one step has been seen
through: single-step training can learn to defeat its own attack and nothing else ("catastrophic
overfitting", Wong et al. 2020, 2001.03994, section 5.4). After every epoch the accuracy of held-out
images under several small steps is therefore measured, and a training that lost half of it goes
back by one epoch and on with one step more.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from undertow.data import ImageSet
from undertow.errors import BadInput
from undertow.models.asking import logits_in
from undertow.models.recipe import Hardening
from undertow.models.robustness import withstands
from undertow.seeds import derive
from undertow.types import Images, Labels

__all__ = ["Adversary"]


class Adversary:
    """Disturbs the batches of a training, and watches over it.

    Args:
        hardening: how.
        held_out: images that the guard looks at.
        seed: of the noise.
        dtype: of the gradients.
    """

    def __init__(
        self, hardening: Hardening, held_out: ImageSet, seed: int, dtype: torch.dtype
    ) -> None:
        self.hardening = hardening
        self.watched = held_out[: hardening.watched]
        self.seed = seed
        self.dtype = dtype
        self.steps = hardening.steps
        self.slower = 1.0
        self.best = 0.0
        self.mends = 0

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree on."""
        return {"hardening": asdict(self.hardening)}

    def saved(self) -> dict[str, float | int]:
        """What changes while training, for the checkpoint."""
        return {k: getattr(self, k) for k in ("steps", "slower", "best", "mends")}

    def resume(self, saved: dict[str, float | int]) -> None:
        """Go on from what :meth:`saved` gave."""
        for key in self.saved():
            setattr(self, key, saved[key])

    def epoch(self, number: int) -> torch.Generator:
        """The generator of an epoch's noise."""
        return torch.Generator().manual_seed(derive(self.seed, "noise", number, self.mends))

    def disturb(self, network: nn.Module, x: Images, y: Labels, noise: torch.Generator) -> Images:
        """The inputs to learn from, in [0, 1].

        Args:
            network: as it is now, in training mode.
            x: images in [0, 1].
            y: their classes.
            noise: as :meth:`epoch` gave it; it is drawn from.
        """
        radius = self.hardening.epsilon
        single = self.steps == 1
        wide = radius * (self.hardening.noise if single else 1.0)
        stride = radius * (self.hardening.stride if single else 2.0 / self.steps)
        at = x + wide * (torch.rand(x.shape, generator=noise, dtype=torch.float32).to(x) * 2 - 1)
        for _ in range(self.steps):
            at = at.detach().requires_grad_(True)
            half = self.dtype != torch.float32
            with torch.autocast(x.device.type, dtype=self.dtype, enabled=half):
                logits = logits_in(network(at))
            (slope,) = torch.autograd.grad(
                nn.functional.cross_entropy(logits.float(), y, reduction="sum"), at
            )
            at = at.detach() + stride * slope.sign()
            if not single:
                at = x + (at - x).clamp(-radius, radius)
        return at.clamp(0, 1)

    def robust(self, network: nn.Module, device: torch.device) -> float:
        """Share of the watched images that withstand the guard's attack."""
        x, y = (t.to(device) for t in self.watched)
        training = network.training
        network.eval()
        standing = withstands(
            network,
            x,
            y,
            epsilon=self.hardening.epsilon,
            steps=self.hardening.watch_steps,
            generator=torch.Generator().manual_seed(derive(self.seed, "watch")),
            dtype=self.dtype,
        )
        network.train(training)
        return float(standing.float().mean())

    def fault(self, loss: float, robust: float) -> str:
        """What went wrong in an epoch, in words; empty where nothing did."""
        if not math.isfinite(loss):
            return "the loss is not finite"
        if robust < self.hardening.fall * self.best:
            return f"robust accuracy fell from {self.best:.3f} to {robust:.3f}"
        self.best = max(self.best, robust)
        return ""

    def mend(self, fault: str) -> None:
        """Go on otherwise than before: slower after a divergence, else with one step more.

        Raises:
            BadInput: after as many mends as are allowed.
        """
        if self.mends == self.hardening.mends:
            raise BadInput(
                f"adversarial training failed {self.mends + 1} times, the last time because "
                f"{fault}; train with a lower rate, more steps or a smaller epsilon"
            )
        self.mends += 1
        if "finite" in fault:
            self.slower /= 2
        else:
            self.steps += 1
