"""The backend for the processor: compiled kernels on contiguous arrays, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from typing import Any

import numpy as np
import torch
from torch import Tensor

from undertow.information.backend import Packed as Together
from undertow.information.backend.numba import copula, histograms
from undertow.information.backend.numba.layout import block_means, moments, plain
from undertow.information.backend.numba.ranking import look_up
from undertow.information.backend.numba.tallies import Packed, tallies, tally_bits
from undertow.information.backend.numba.tiles import products as _products
from undertow.information.backend.numba.tiles import turned

__all__ = [
    "block_means", "copula_bits", "copula_means", "correlations", "equal_widths", "histogram_bits",
    "met", "moments", "packed", "plain", "products", "rank_bins", "ranked_means",
    "standardised",
]  # fmt: skip

MANY_BINS = 13
"""Bins from which on counting positions beats counting common bits, cell by cell."""
Array = np.ndarray[Any, np.dtype[Any]]


def standardised(rows: Tensor, table: Array) -> tuple[Tensor, Tensor] | None:
    """As the protocol says."""
    found = copula.standardised(rows.numpy(), table)
    return None if found is None else (torch.from_numpy(found[0]), torch.from_numpy(found[1]))


def met(*scores: Tensor) -> Tensor:
    """As the protocol says: turned, in whole vectors."""
    found = turned([_flat(family, 2) for family in scores])
    batch = np.broadcast_shapes(*(tuple(family.shape[:-2]) for family in scores))
    return torch.from_numpy(found).reshape(*batch, *found.shape[1:])


def copula_bits(
    a: Tensor, b: Tensor, a_entropy: Tensor, b_entropy: Tensor,
    bias: float, factor: float, floor: float,
) -> Tensor:  # fmt: skip
    """As the protocol says."""
    shape, pairs = _broadcast(a_entropy.shape[:-1], b_entropy.shape[:-1])
    most = _flat(a_entropy, 1), _flat(b_entropy, 1)
    found = copula.copula_bits(_flat(a, 2), _flat(b, 2), *most, pairs, bias, factor, floor)
    return torch.from_numpy(found).reshape(*shape, *found.shape[1:])


def copula_means(
    a: Tensor, b: Tensor, a_entropy: Tensor, b_entropy: Tensor, parts: int,
    bias: float, factor: float, floor: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """As the protocol says."""
    scores, most = _flat(a, 2), (_flat(a_entropy, 1), _flat(b_entropy, 1))
    by_row, by_part = copula.copula_means(scores, _flat(b, 2), *most, parts, bias, factor, floor)
    return torch.from_numpy(by_row), torch.from_numpy(by_part)


def ranked_means(
    maps: Tensor, table: Array, b: Tensor, b_entropy: Tensor, parts: int,
    bias: float, factor: float, floor: float,
) -> tuple[Tensor, Tensor] | None:  # fmt: skip
    """As the protocol says."""
    found = copula.ranked_means(
        _flat(maps, 2), table, _flat(b, 2), _flat(b_entropy, 1), parts, bias, factor, floor
    )
    return None if found is None else (torch.from_numpy(found[0]), torch.from_numpy(found[1]))


def correlations(s: Tensor, t: Tensor) -> Tensor:
    """As the protocol says."""
    return torch.from_numpy(copula.correlations(_flat(s, 2), _flat(t, 2)))


def rank_bins(rows: Tensor, table: Array) -> Tensor | None:
    """As the protocol says."""
    found = look_up(rows.numpy(), table)
    return None if found is None else torch.from_numpy(found)


def equal_widths(rows: Tensor, count: int) -> Tensor | None:
    """As the protocol says."""
    found = histograms.equal_widths(rows.numpy(), count)
    return None if found is None else torch.from_numpy(found)


def packed(bins: Tensor, count: int) -> Together:
    """Bytes from ``MANY_BINS`` bins on, planes of bits below."""
    pack = tallies if count >= MANY_BINS else histograms.planes
    words, own, used = (torch.from_numpy(x) for x in pack(bins.numpy(), count))
    return words, own, used


def histogram_bits(
    a: Tensor, b: Tensor, a_packed: Together, b_packed: Together, count: int
) -> Tensor:
    """As the protocol says."""
    shape, pairs = _broadcast(a.shape[:-2], b.shape[:-2])
    left, right, n = _met(a_packed), _met(b_packed), a.shape[-1]
    if count >= MANY_BINS:
        bits = tally_bits(left, right, pairs, count, n)
    else:
        bits = histograms.plane_bits(left, right, pairs, n)
    found = torch.from_numpy(bits).reshape(*shape, *bits.shape[1:])
    most = [(log2(n) - packed[1]).float() for packed in (a_packed, b_packed)]
    return found.minimum(most[0][..., :, None]).minimum(most[1][..., None, :])


def products(one: Tensor, two: Tensor) -> Tensor:
    """As the protocol says."""
    return torch.from_numpy(_products(one.contiguous().numpy(), two.contiguous().numpy()))


def _flat(values: Tensor, kept: int) -> Array:
    """An array with a single batch axis before the last ``kept``."""
    return values.reshape(-1, *values.shape[values.dim() - kept :]).contiguous().numpy()


def _met(together: Together) -> Packed:
    words, own, used = together
    batch = own.dim() - 1
    return Packed(_flat(words, words.dim() - batch), _flat(own, 1), _flat(used, 1))


def _broadcast(a: Sequence[int], b: Sequence[int]) -> tuple[tuple[int, ...], tuple[Array, Array]]:
    """The common batch shape, and for each of its items the flat index into ``a`` and ``b``."""
    shape = np.broadcast_shapes(tuple(a), tuple(b))
    return shape, (_index(a, shape), _index(b, shape))


def _index(of: Sequence[int], shape: tuple[int, ...]) -> Array:
    count = int(np.prod(of, dtype=np.int64))
    whole = np.broadcast_to(np.arange(count, dtype=np.int64).reshape(tuple(of)), shape)
    return np.array(whole).reshape(-1)
