"""``good_init``: thin and deep, three stages of 3 x 3 convolutions, global pooling.

After FitNet-1 (Romero et al. 2015, 1412.6550) in the setting of "All you need is a good init"
(Mishkin and Matas 2016, 1511.06422), with batch normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from undertow.models.blocks import ConvBlock, Maps, Normalise

__all__ = ["GoodInit", "good_init"]

STAGES = (2, 3, 3)
WIDTHS = (32, 32, 64, 64, 64, 128, 128, 128)
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)


class GoodInit(nn.Module):
    """Eight convolutions in stages of 2, 3 and 3; each stage but the first pools by two.

    Args:
        classes: number of classes.
        channels: channels of the input.
        widths: maps of each of the eight convolutions.
        mean: subtracted from the input, channel by channel.
        std: divides the input, channel by channel.
    """

    def __init__(
        self,
        classes: int = 10,
        channels: int = 3,
        widths: Sequence[int] = WIDTHS,
        mean: Sequence[float] = CIFAR10_MEAN,
        std: Sequence[float] = CIFAR10_STD,
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std)
        first = {sum(STAGES[:s]) for s in range(1, len(STAGES))}
        ins = (channels, *widths[:-1])
        self.blocks = nn.Sequential(
            *(
                ConvBlock(c, w, pool=i in first)
                for i, (c, w) in enumerate(zip(ins, widths, strict=True))
            )
        )
        self.average = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Maps) -> Maps:
        """Logits (sample, class) of inputs in [0, 1]."""
        x = self.blocks(self.normalise(x))
        logits: Maps = self.head(self.flatten(self.average(x)))
        return logits


def good_init(**arguments: object) -> GoodInit:
    """A fresh :class:`GoodInit`."""
    return GoodInit(**arguments)  # type: ignore[arg-type]
