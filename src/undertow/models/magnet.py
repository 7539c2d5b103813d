"""MagNet: detectors and a reformer made of an autoencoder (Meng and Chen 2017, 1705.09064).

The autoencoder learns to give benign inputs back. An input far from what it gives back is
rejected (section 4.2.1), as is one whose answer differs from that for what it gives back, by the
Jensen-Shannon divergence of softmax outputs at a temperature (4.2.2); what is left goes to the
network as the autoencoder gives it back (4.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from undertow.errors import BadInput
from undertow.models.asking import logits_in
from undertow.models.defended import Thresholded
from undertow.types import Images, Logits

__all__ = ["Autoencoder", "Magnet", "divergence"]

TEMPERATURES: Final = (10.0, 40.0)


class Autoencoder(nn.Module):
    """Three 3 × 3 convolutions with sigmoids (table 3 of the paper, CIFAR-10).

    Args:
        channels: of the images.
        width: maps of the hidden layers.
    """

    def __init__(self, channels: int = 3, width: int = 32) -> None:
        super().__init__()
        widths = (channels, width, width, channels)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        for name, weight in self.named_parameters():
            if name.endswith("weight"):
                nn.init.xavier_uniform_(weight)
            else:
                nn.init.zeros_(weight)

    def forward(self, x: Images) -> Images:
        """Images like those that it has learnt, in [0, 1]."""
        for layer in self.layers:
            x = torch.sigmoid(layer(x))
        return x


class Magnet(Thresholded):
    """A network behind MagNet's detectors and reformer.

    Args:
        network: as it is; gives logits.
        channels: of the images.
        shape: (channel, height, width) that the thresholds were set on; ``None``: any.
        temperatures: of the detectors by divergence.
    """

    shape: Tensor

    def __init__(
        self,
        network: nn.Module,
        channels: int = 3,
        shape: Sequence[int] | None = None,
        temperatures: Sequence[float] = TEMPERATURES,
    ) -> None:
        super().__init__(network, 1 + len(temperatures))
        self.autoencoder = Autoencoder(channels)
        self.temperatures = tuple(temperatures)
        self.register_buffer("shape", torch.tensor(list(shape or (0, 0, 0))))

    def reform(self, x: Images) -> Images:
        """The images as the autoencoder gives them back.

        Raises:
            BadInput: for images of another size than the autoencoder has learnt.
        """
        known = tuple(self.shape.tolist())
        if any(known) and tuple(x.shape[1:]) != known:
            raise BadInput(
                f"the autoencoder was made for images of {_size(known)}, not {_size(x.shape[1:])}"
            )
        made: Tensor = self.autoencoder(x)
        return made

    def score(self, x: Images, logits: Logits) -> Float[Tensor, "sample detector"]:
        """Mean absolute reconstruction error, then the divergence at each temperature, in nats."""
        error = (x - self.reform(x)).abs().flatten(1).mean(dim=1).double()
        plain = logits_in(self.network(x)).double()
        reformed = logits.double()
        return torch.stack(
            [error, *(divergence(plain / t, reformed / t) for t in self.temperatures)], dim=1
        )


def divergence(a: Logits, b: Logits) -> Float[Tensor, " sample"]:
    """Jensen-Shannon divergence of two softmax outputs, in nats."""
    p, q = a.log_softmax(dim=1), b.log_softmax(dim=1)
    middle = torch.logaddexp(p, q) - torch.log(torch.full_like(p[:, :1], 2.0))
    return ((p.exp() * (p - middle) + q.exp() * (q - middle)).sum(dim=1) / 2).clamp_min(0)


def _size(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))
