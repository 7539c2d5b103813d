"""``deep_conv``: plain and deep, strided convolutions in place of pooling.

After "Striving for Simplicity" (Springenberg et al. 2015, 1412.6806): every change of resolution
is a convolution of stride two, and the classes are read off by a 1 x 1 convolution.
"""

from __future__ import annotations

from torch import nn

from undertow.models.blocks import ConvBlock, Maps, Normalise
from undertow.models.good_init import CIFAR10_MEAN, CIFAR10_STD

__all__ = ["DeepConv", "deep_conv"]

PLAN = ((32, 1), (64, 2), (64, 1), (64, 1), (96, 2), (96, 1), (96, 1), (96, 1), (96, 1), (96, 1))
"""Maps and stride of each 3 x 3 convolution."""


class DeepConv(nn.Module):
    """Ten 3 x 3 convolutions and a 1 x 1 reader, no pooling but the last average.

    Args:
        classes: number of classes.
        channels: channels of the input.
    """

    def __init__(self, classes: int = 10, channels: int = 3) -> None:
        super().__init__()
        self.normalise = Normalise(CIFAR10_MEAN, CIFAR10_STD)
        ins = (channels, *(w for w, _ in PLAN[:-1]))
        self.blocks = nn.Sequential(
            *(ConvBlock(c, w, stride=s) for c, (w, s) in zip(ins, PLAN, strict=True))
        )
        self.head = nn.Conv2d(PLAN[-1][0], classes, 1)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()

    def forward(self, x: Maps) -> Maps:
        """Logits (sample, class) of inputs in [0, 1]."""
        maps = self.head(self.blocks(self.normalise(x)))
        logits: Maps = self.flatten(self.average(maps))
        return logits


def deep_conv(**arguments: object) -> DeepConv:
    """A fresh :class:`DeepConv`."""
    return DeepConv(**arguments)  # type: ignore[arg-type]
