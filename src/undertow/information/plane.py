"""The population information plane: I(X;T) and I(T;Y) of a layer over many inputs.

This is the measure of Shwartz-Ziv and Tishby (2017) and Saxe et al. (2018), another thing than the
spatial mutual information of the rest of this package. Read it with the published caveats,
:data:`CAVEATS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from undertow.errors import BadInput
from undertow.types import Labels

__all__ = ["CAVEATS", "BinnedPlace", "KernelPlace", "binned", "kernel", "patterns"]

CAVEATS: Final = (
    "In a deterministic network with continuous inputs I(X;T) is infinite or constant; what "
    "changes in a plot is the estimator (Amjad and Geiger 2018, 1802.09766; Goldfeld et al. 2019, "
    "1810.05728).",
    "Binned I(X;T) is the entropy of the binned layer: it measures how far the layer clusters the "
    "inputs, and depends on the width of the bins (Goldfeld et al. 2019).",
    "The kernel bounds are those of a layer with Gaussian noise added that the network does not "
    "have; they depend on its variance relative to the layer's scale (Saxe et al. 2018).",
    "With n inputs no value can exceed log2 n bits; wide layers soon reach it. Whether a layer "
    "compresses is not settled by such plots (Geiger 2020, 2003.09671).",
)

BLOCK = 2**22
"""Distances held at once: 32 MiB."""
UNITS = 4096
"""Units held in double precision at once."""


@dataclass(frozen=True, slots=True)
class BinnedPlace:
    """A layer's place by binning, in bits: I(X;T) = H(T) and I(T;Y)."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class KernelPlace:
    """A layer's place by pairwise distances, in bits.

    Args:
        x_lower: of I(X;T), from Bhattacharyya distances.
        x_upper: of I(X;T), from Kullback-Leibler divergences.
        y: I(T;Y) as Saxe et al. draw it: the upper bound of H(T) minus those of H(T|Y); close
            to the truth where the bounds are tight, but itself no bound.
        y_lower: a lower bound of I(T;Y); may be negative.
        y_upper: an upper bound of I(T;Y).
    """

    x_lower: float
    x_upper: float
    y: float
    y_lower: float
    y_upper: float


def patterns(
    activations: Float[Tensor, "sample unit"], low: float, high: float, bins: int = 30
) -> NDArray[Any]:
    """Which inputs a binned layer cannot tell apart: a digest of each input's bins, (sample,).

    Args:
        activations: the layer's units.
        low: the lower edge of the first bin; smaller values fall into that bin.
        high: the upper edge of the last bin, likewise.
        bins: bins of equal width, at most 256.

    Raises:
        BadInput: for a range or a number of bins that makes no sense.
    """
    if not 2 <= bins <= 256:
        raise BadInput(f"bins must be between 2 and 256, got {bins}")
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise BadInput(f"bins need a finite range, got {low} to {high}")
    span = max(high - low, np.finfo(np.float64).tiny)
    scaled = ((activations.double() - low) / span * bins).floor().clamp(0, bins - 1)
    codes = np.ascontiguousarray(scaled.to(torch.uint8).cpu().numpy())
    digests = [blake2b(row.data, digest_size=16).digest() for row in codes]
    return np.array(digests, dtype="S16")


def binned(
    activations: Float[Tensor, "sample unit"] | NDArray[Any],
    labels: Labels,
    *,
    bins: int = 30,
    low: float | None = None,
    high: float | None = None,
) -> BinnedPlace:
    """I(X;T) and I(T;Y) of a layer whose units are cut into bins of equal width.

    T is the tuple of all units' bins. As the network is deterministic and every input counts as
    different from all others, I(X;T) = H(T), and I(T;Y) = H(T) - Σ_y p(y)·H(T|y) (Shwartz-Ziv and
    Tishby 2017, section 3.1). Plug-in entropies, at most log2 n. See :data:`CAVEATS`.

    Args:
        activations: the layer's units; or :func:`patterns` of them, so that a layer too large to
            hold for all inputs can be read batch by batch.
        labels: the classes.
        bins: 30 in the papers.
        low: lower edge of the first bin, for all units; by default the least activation.
        high: upper edge of the last bin; by default the largest.

    Raises:
        BadInput: for sizes that differ, values that are not finite, or impossible bins.
    """
    if isinstance(activations, Tensor):
        _check(activations, labels)
        low = float(activations.min()) if low is None else low
        high = float(activations.max()) if high is None else high
        activations = patterns(activations, low, high, bins)
    if len(activations) != len(labels):
        raise BadInput(f"{len(activations)} inputs with {len(labels)} labels")
    _, codes = np.unique(activations, return_inverse=True)
    whole = _entropy(codes)
    within = sum(share * _entropy(codes[rows]) for share, rows in _classes(labels))
    return BinnedPlace(x=whole, y=whole - within)


def kernel(
    activations: Float[Tensor, "sample unit"], labels: Labels, *, noise_variance: float = 0.1
) -> KernelPlace:
    """Bounds of I(X;T) and I(T;Y) for a layer with Gaussian noise added to every unit.

    T = h + ε with ε ~ N(0, σ²): T is a mixture of one Gaussian an input, and I(X;T) is its entropy
    less that of the noise. With D_ij = |h_i - h_j|²/(2σ²), the divergence of two components,
    -mean_i log2 mean_j exp(-D_ij) is at least I(X;T), and the same with D_ij/4, the Bhattacharyya
    distance, at most (Kolchinsky and Tracey 2017, 1706.02419, equations 10 and 11; Saxe et al.
    2018, appendix C). Both are exact for components that coincide or lie far
    apart. See :data:`CAVEATS`.

    Args:
        activations: the layer's units.
        labels: the classes.
        noise_variance: σ², in squared units of the activations; 0.1 in Saxe et al. for ReLU.

    Raises:
        BadInput: for sizes that differ, values that are not finite, or σ² not above 0.
    """
    _check(activations, labels)
    if not noise_variance > 0:
        raise BadInput(f"noise_variance is above 0, got {noise_variance}")
    h = activations
    upper, lower = _mixture(h, noise_variance)
    parts = [(share, _mixture(h[rows], noise_variance)) for share, rows in _classes(labels)]
    within_upper = sum(share * part[0] for share, part in parts)
    within_lower = sum(share * part[1] for share, part in parts)
    return KernelPlace(
        x_lower=lower,
        x_upper=upper,
        y=upper - within_upper,
        y_lower=lower - within_upper,
        y_upper=upper - within_lower,
    )


def _check(activations: Tensor, labels: Tensor) -> None:
    if len(activations) != len(labels) or len(labels) == 0:
        raise BadInput(f"{len(activations)} inputs with {len(labels)} labels")
    if not bool(torch.isfinite(activations).all()):
        raise BadInput("activations are NaN or infinite")


def _classes(labels: Tensor) -> Iterator[tuple[float, NDArray[np.int64]]]:
    y = labels.cpu().numpy()
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        yield len(rows) / len(y), rows


def _entropy(codes: NDArray[np.int64]) -> float:
    counts = np.unique(codes, return_counts=True)[1]
    return float(np.log2(len(codes)) - (counts * np.log2(counts)).sum() / len(codes))


def _mixture(h: Tensor, variance: float) -> tuple[float, float]:
    """Upper and lower bound of the entropy of the mixture less that of its components, in bits."""
    count = len(h)
    step = max(1, BLOCK // count)
    sums = [0.0, 0.0]
    for start in range(0, count, step):
        gap = _squared_distances(h, slice(start, start + step))
        for at, scale in enumerate((2 * variance, 8 * variance)):
            sums[at] -= float(torch.logsumexp(-gap / scale, dim=1).sum())
    upper, lower = (total / count / np.log(2) + np.log2(count) for total in sums)
    return float(upper), float(lower)


def _squared_distances(h: Tensor, rows: slice) -> Tensor:
    """|h_i - h_j|² for some i and all j, by products of centred values in double precision."""
    total: Tensor | float = 0.0
    for start in range(0, h.shape[1], UNITS):
        part = h[:, start : start + UNITS].double()
        part = part - part.mean(0)
        square = part.square().sum(1)
        total = total + square[rows, None] + square - 2 * part[rows] @ part.T
    assert isinstance(total, Tensor)
    return total.clamp(min=0)
