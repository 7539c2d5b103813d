"""The parts the zoo's networks are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn

__all__ = ["ConvBlock", "Maps", "Normalise"]

Maps: TypeAlias = Tensor | fx.Proxy
"""What goes through a network; a stand-in where the network's graph is read."""


class Normalise(nn.Module):
    """Subtracts a mean and divides by a standard deviation, channel by channel.

    Args:
        mean: one a channel, in units of the input, [0, 1].
        std: one a channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(list(mean)).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(list(std)).view(-1, 1, 1))

    def forward(self, x: Maps) -> Maps:
        """(x - mean) / std."""
        plain: Any = x
        normalised: Maps = (plain - self.mean) / self.std
        return normalised


class ConvBlock(nn.Module):
    """Convolution 3 x 3, batch normalisation, ReLU; pooled by two first where asked.

    Args:
        channels: maps that come in.
        width: maps that go out.
        stride: of the convolution.
        pool: whether a 2 x 2 max pooling comes before the convolution.
    """

    def __init__(self, channels: int, width: int, *, stride: int = 1, pool: bool = False) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.conv = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Maps) -> Maps:
        """Maps (sample, map, row, col), never negative."""
        x = self.norm(self.conv(self.pool(x)))
        # In place only while training: a hook on ``norm`` must see what ``norm`` gave.
        y: Maps = torch.relu_(x) if self.training else torch.relu(x)  # type: ignore[arg-type]
        return y
