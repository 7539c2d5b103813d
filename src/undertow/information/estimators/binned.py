"""Mutual information of binned maps, with the Miller-Madow correction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import log, sqrt
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from undertow.errors import BadInput
from undertow.information.backend.numba.histograms import equal_widths, plane_bits, planes
from undertow.information.backend.numba.ranking import look_up
from undertow.information.backend.numba.tallies import Packed, tallies, tally_bits
from undertow.information.codes import broadcast, rows_of, torch_ranks, unfit

__all__ = ["BinCodes", "Binned", "BinnedWidth", "sensible_bins"]

MOST_BINS = 255
MANY_BINS = 13
"""Bins from which on counting positions beats counting common bits, cell by cell."""


@dataclass(frozen=True, slots=True, eq=False)
class BinCodes:
    """Maps as bin numbers.

    Args:
        bins: the bin of every position.
        live: which maps are not constant.
        count: bins there are.
        packed: the same for the CPU's kernels, from ``MANY_BINS`` on as bytes, below as planes of
            bits: words, Σ c·log2 c / n over a map's bins, and how many are occupied.
    """

    bins: UInt8[Tensor, "*batch map position"]
    live: Bool[Tensor, "*batch map"]
    count: int
    packed: tuple[Tensor, Tensor, Tensor] | None = None

    def __getitem__(self, index: Any) -> BinCodes:
        packed = self.packed
        if packed is not None:
            packed = (packed[0][index], packed[1][index], packed[2][index])
        return BinCodes(self.bins[index], self.live[index], self.count, packed)


def sensible_bins(n: int, samples: int) -> int:
    """Bins that leave ``samples`` of n for each cell of the joint histogram, between 2 and 16."""
    return max(2, min(16, int(sqrt(n / samples))))


@dataclass(frozen=True, slots=True)
class Binned:
    """I of the joint histogram over equally populated bins, plug-in plus Miller-Madow.

    The value of average rank r among n falls into bin ⌊(r - ½)·B / n⌋. Tied values share their
    rank, so they share a bin; maps with many zeros use fewer than B bins. The correction is
    (K_a + K_b - K_ab - 1) / (2n) nats with K the occupied bins and cells (Miller 1955). It removes
    the bias of first order: with seven samples a cell (the default B) 0.003 bit is left, with
    four 0.014, with one 0.37. Binning loses information, so the truth is that of the binned maps,
    a lower bound. A constant map has exactly 0 bits.

    Args:
        bins: B; ``None`` for √(n/7), between 2 and 16.
    """

    name: ClassVar[str] = "binned"
    bins: int | None = None

    def __post_init__(self) -> None:
        _check(self.bins)

    def encode(self, maps: Float[Tensor, "*batch map position"]) -> BinCodes:
        """Average ranks, then bins.

        Raises:
            BadInput: if a value is not finite, or there are fewer than three positions.
        """
        flat = rows_of(maps, least=3)
        count = self.bins or sensible_bins(flat.shape[1], 7)
        table = _rank_bins(flat.shape[1], count)
        if flat.device.type == "cpu":
            found = look_up(flat.numpy(), table)
            if found is None:
                raise unfit(maps)
            bins = torch.from_numpy(found)
        else:
            if not bool(torch.isfinite(flat).all()):
                raise unfit(maps)
            bins = torch.from_numpy(table).to(flat.device)[torch_ranks(flat)]
        return _codes(bins, count, maps)

    def pairwise(self, a: BinCodes, b: BinCodes) -> Float[Tensor, "*batch row col"]:
        """Bits between every map of ``a`` and every map of ``b``; batch axes broadcast."""
        return _pairwise(a, b)


@dataclass(frozen=True, slots=True)
class BinnedWidth:
    """As :class:`Binned`, with bins of equal width between a map's least and largest value.

    Not invariant to monotone transforms; a few extreme values leave most bins empty, and the
    thinly filled ones outside need more samples: 24 a cell by default. A lower bound, and a low
    one: of a Gaussian pair's 0.74 bit (ρ = 0.8, n = 1024) 0.55 is left (:class:`Binned`: 0.69), of
    the 0.86 bit of a heavy-tailed pair (Student, ν = 2) 0.12 (0.76). Of 16 independent values it
    reads 0.012 bit, of 64 and more at most 0.004 (``undertow calibrate``).

    Args:
        bins: B; ``None`` for √(n/24), between 2 and 16.
    """

    name: ClassVar[str] = "binned_width"
    bins: int | None = None

    def __post_init__(self) -> None:
        _check(self.bins)

    def encode(self, maps: Float[Tensor, "*batch map position"]) -> BinCodes:
        """Bins of equal width.

        Raises:
            BadInput: if a value is not finite, or there are fewer than three positions.
        """
        flat = rows_of(maps, least=3)
        count = self.bins or sensible_bins(flat.shape[1], 24)
        if flat.device.type == "cpu":
            found = equal_widths(flat.numpy(), count)
            if found is None:
                raise unfit(maps)
            bins = torch.from_numpy(found)
        else:
            bins = _equal_widths(flat, count)
        return _codes(bins, count, maps)

    def pairwise(self, a: BinCodes, b: BinCodes) -> Float[Tensor, "*batch row col"]:
        """Bits between every map of ``a`` and every map of ``b``; batch axes broadcast."""
        return _pairwise(a, b)


def _check(bins: int | None) -> None:
    if bins is not None and not 2 <= bins <= MOST_BINS:
        raise BadInput(f"bins must be between 2 and {MOST_BINS}, got {bins}")


@lru_cache(maxsize=64)
def _rank_bins(n: int, count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The bin for each ``first + last`` of a run of equal values: r - ½ = (first + last + 1)/2."""
    table = ((np.arange(2 * n - 1) + 1) * count // (2 * n)).astype(np.uint8)
    table.setflags(write=False)
    return table


def _codes(bins: Tensor, count: int, maps: Tensor) -> BinCodes:
    shape = maps.shape[:-1]
    if bins.device.type != "cpu":
        live = (bins != bins[:, :1]).any(dim=1)
        return BinCodes(bins.reshape(maps.shape), live.reshape(shape), count)
    pack = tallies if count >= MANY_BINS else planes
    words, own, used = (torch.from_numpy(x) for x in pack(bins.numpy(), count))
    packed = (words.reshape(*shape, *words.shape[1:]), own.reshape(shape), used.reshape(shape))
    return BinCodes(bins.reshape(maps.shape), packed[2] > 1, count, packed)


def _equal_widths(flat: Tensor, count: int) -> UInt8[Tensor, "row position"]:
    """The same in torch operations, for other devices."""
    if not bool(torch.isfinite(flat).all()):
        raise unfit(flat)
    low, high = flat.amin(dim=1, keepdim=True).double(), flat.amax(dim=1, keepdim=True).double()
    scale = count / (high - low).where(high > low, float("inf"))
    return ((flat - low) * scale).clamp(max=count - 1).to(torch.uint8)


def _pairwise(a: BinCodes, b: BinCodes) -> Float[Tensor, "*batch row col"]:
    n = a.bins.shape[-1]
    if a.packed is None or b.packed is None:
        return _one_hot(a, b, n)
    shape, pairs = broadcast(a.live.shape[:-1], b.live.shape[:-1])
    left, right = _blocks(*a.packed), _blocks(*b.packed)
    if a.count >= MANY_BINS:
        bits = tally_bits(left, right, pairs, a.count, n)
    else:
        bits = plane_bits(left, right, pairs, n)
    return torch.from_numpy(bits).reshape(*shape, *bits.shape[1:])


def _blocks(words: Tensor, own: Tensor, used: Tensor) -> Packed:
    """As arrays with a single batch axis."""
    batch = own.dim() - 1
    return Packed(
        words.reshape(-1, *words.shape[batch:]).numpy(),
        own.reshape(-1, own.shape[-1]).numpy(),
        used.reshape(-1, used.shape[-1]).numpy(),
    )


def _one_hot(a: BinCodes, b: BinCodes, n: int) -> Float[Tensor, "*batch row col"]:
    """The same through products of one-hot codes, for other devices."""

    def hot(codes: BinCodes) -> Tensor:
        one = torch.nn.functional.one_hot(codes.bins.long(), codes.count).float()
        return one.transpose(-1, -2)

    left, right = hot(a), hot(b)
    joint = torch.einsum("...ibn,...jcn->...ijbc", left, right).double()
    first = left.sum(dim=-1).double()[..., :, None, :]
    second = right.sum(dim=-1).double()[..., None, :, :]

    def entropy(counts: Tensor, axes: tuple[int, ...]) -> Tensor:
        plug_in = -torch.xlogy(counts, counts / n).sum(dim=axes) / n
        return plug_in + ((counts > 0).sum(dim=axes) - 1) / (2 * n)

    nats = entropy(first, (-1,)) + entropy(second, (-1,)) - entropy(joint, (-1, -2))
    return (nats / log(2)).float() * (a.live[..., :, None] & b.live[..., None, :])
