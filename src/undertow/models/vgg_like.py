"""``vgg_like``: pairs of wide convolutions, max pooling, batch normalisation, a dense head.

After Simonyan and Zisserman (2015, 1409.1556), at the size of CIFAR-10.
"""

from __future__ import annotations

import torch
from torch import nn

from undertow.models.blocks import ConvBlock, Maps, Normalise
from undertow.models.good_init import CIFAR10_MEAN, CIFAR10_STD

__all__ = ["VggLike", "vgg_like"]

PAIRS = (32, 64, 160)
DENSE = 256


class VggLike(nn.Module):
    """Three pairs of 3 x 3 convolutions at 32, 16 and 8, pooled to 4 x 4, two dense layers.

    Args:
        classes: number of classes.
        channels: channels of the input.
    """

    def __init__(self, classes: int = 10, channels: int = 3) -> None:
        super().__init__()
        self.normalise = Normalise(CIFAR10_MEAN, CIFAR10_STD)
        blocks, width = [], channels
        for number, wide in enumerate(PAIRS):
            blocks += [ConvBlock(width, wide, pool=number > 0), ConvBlock(wide, wide)]
            width = wide
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.dense = nn.Linear(width * 16, DENSE, bias=False)
        self.norm = nn.BatchNorm1d(DENSE)
        self.head = nn.Linear(DENSE, classes)

    def forward(self, x: Maps) -> Maps:
        """Logits (sample, class) of inputs in [0, 1]."""
        x = self.flatten(self.pool(self.blocks(self.normalise(x))))
        logits: Maps = self.head(torch.relu(self.norm(self.dense(x))))
        return logits


def vgg_like(**arguments: object) -> VggLike:
    """A fresh :class:`VggLike`."""
    return VggLike(**arguments)  # type: ignore[arg-type]
