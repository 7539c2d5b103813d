"""Feature squeezing (Xu, Evans and Qi 2018, 1704.01155): detection by coarser inputs.

The network answers for the input, and for the input with fewer bits a channel and after a median
filter. Where one of the answers differs from the first by more than a threshold (L1 distance of
softmax outputs, the greatest decides: section 5, "joint detection"), the input is rejected.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from undertow.models.asking import logits_in
from undertow.models.defended import Thresholded, straight
from undertow.types import Images, Logits

__all__ = ["Squeezed", "fewer_bits", "median"]


class Squeezed(Thresholded):
    """A network that rejects inputs whose answer does not survive squeezing.

    Args:
        network: as it is; gives logits.
        bits: of each channel that are kept.
        window: side of the median filter.
    """

    def __init__(self, network: nn.Module, bits: int = 5, window: int = 2) -> None:
        super().__init__(network, 1)
        self.bits = bits
        self.window = window

    def score(self, x: Images, logits: Logits) -> Float[Tensor, "sample detector"]:
        """The greatest L1 distance between the softmax outputs, (sample, 1)."""
        own = logits.double().softmax(dim=1)
        squeezed = (fewer_bits(x, self.bits), median(x, self.window))
        far = [
            (logits_in(self.network(s)).double().softmax(dim=1) - own).abs().sum(dim=1)
            for s in squeezed
        ]
        return torch.stack(far, dim=1).amax(dim=1, keepdim=True)


def fewer_bits(x: Images, bits: int) -> Images:
    """Images with so many bits a channel; the gradient is that of the images themselves (BPDA)."""
    levels = 2**bits - 1
    return straight(x, (x * levels).round() / levels)


def median(x: Images, window: int) -> Images:
    """Each pixel's median in a window that begins half a side before it; edges are reflected.

    Of an even number of values the upper middle one, as in the authors' code.
    """
    before = window // 2
    after = window - 1 - before
    padded = nn.functional.pad(x, (before, after, before, after), mode="reflect")
    high, wide = x.shape[2:]
    shifted = [
        padded[:, :, i : i + high, j : j + wide] for i in range(window) for j in range(window)
    ]
    return torch.stack(shifted).sort(dim=0).values[len(shifted) // 2]
