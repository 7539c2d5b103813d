"""``digits_cnn``: a small network for the built-in digits, for work without a network."""

from __future__ import annotations

from torch import nn

from undertow.models.blocks import ConvBlock, Maps, Normalise

__all__ = ["DigitsCnn", "digits_cnn"]


class DigitsCnn(nn.Module):
    """Five convolutions on 16 x 16 and 8 x 8, global pooling.

    Args:
        classes: number of classes.
        channels: channels of the input.
    """

    def __init__(self, classes: int = 10, channels: int = 1) -> None:
        super().__init__()
        self.normalise = Normalise([0.3] * channels, [0.35] * channels)
        self.blocks = nn.Sequential(
            ConvBlock(channels, 16),
            ConvBlock(16, 16),
            ConvBlock(16, 32, pool=True),
            ConvBlock(32, 32),
            ConvBlock(32, 32),
        )
        self.average = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(32, classes)

    def forward(self, x: Maps) -> Maps:
        """Logits (sample, class) of inputs in [0, 1]."""
        x = self.blocks(self.normalise(x))
        logits: Maps = self.head(self.flatten(self.average(x)))
        return logits


def digits_cnn(**arguments: object) -> DigitsCnn:
    """A fresh :class:`DigitsCnn`."""
    return DigitsCnn(**arguments)  # type: ignore[arg-type]
