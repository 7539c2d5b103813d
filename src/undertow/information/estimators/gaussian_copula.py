"""Gaussian-copula mutual information (Ince et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from math import log
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import digamma, ndtri
from torch import Tensor

from undertow.information.backend import Backend, backend_of
from undertow.information.codes import rows_of, unfit

__all__ = ["CopulaCodes", "GaussianCopula"]

RANK_LOSS = 3.0
"""n times the share of the information that ranks among n samples lose."""
MOST_BITS = 10.0
"""The largest raw value: float32 products cannot tell 1 - ρ² below 2⁻²⁰ from rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class CopulaCodes:
    """Normal scores of maps, brought to mean 0 and length 1 over positions.

    Args:
        scores: all 0 for constant maps.
        entropy: of the values of each map over positions, in bits; 0 for constant maps.
    """

    scores: Float[Tensor, "*batch map position"]
    entropy: Float[Tensor, "*batch map"]

    _met: dict[Backend, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __getitem__(self, index: Any) -> CopulaCodes:
        return CopulaCodes(self.scores[index], self.entropy[index])

    def met(self, backend: Backend) -> Tensor:
        """The scores as the second argument of what a backend computes; made once."""
        if backend not in self._met:
            self._met[backend] = backend.met(self.scores)
        return self._met[backend]


class Beside:
    """Maps of two families, of (sample, map, position) or one for all samples, to be met as one."""

    def __init__(self, *families: CopulaCodes) -> None:
        self.families = families
        samples = max(len(family.entropy) for family in families)
        self.entropy = torch.cat([f.entropy.expand(samples, -1) for f in families], dim=1)
        self._met: dict[Backend, Tensor] = {}

    def met(self, backend: Backend) -> Tensor:
        """As for a single family."""
        if backend not in self._met:
            self._met[backend] = backend.met(*(family.scores for family in self.families))
        return self._met[backend]


@dataclass(frozen=True, slots=True)
class GaussianCopula:
    """I = (-½·log2(1 - ρ²) - b)·(1 + 3/n), ρ the correlation of the maps' normal scores.

    A value of average rank r among n becomes Φ⁻¹(r / (n + 1)); tied values share their average
    rank, and ρ is the correlation of the scores as they are, ties included. Dependence that is
    not monotone is not seen. b is the mean of the first term for independent Gaussians,
    [ψ((n-1)/2) - ψ((n-2)/2)] / (2 ln 2) (Ince et al. 2017, after Miller 1955). Ranks know a
    sample's values only roughly, which takes some 3/n off what is left; the factor, found by
    simulation (``undertow calibrate``), gives it back: within 5 % from n = 64 and ρ ≤ 0.98 on.
    Of maps that determine each other the first term is min(log2 n, 10), the most that n samples,
    or float32 products, can show. No value exceeds the entropy of either map over the positions: a
    map that is live at one position of 64 holds 0.12 bit. A constant map has exactly 0 bits.

    With ties the maps are no Gaussian copula, and the value is no lower bound of the information.
    Independent zeros read 0, but zeros at the same positions are taken for a nearly straight line:
    where both maps are zero at the same 90 % of the positions and independent elsewhere, the truth
    is 0.47 bit and 1.14 is read (``binned``: 0.47); at the same 50 %, 0.6 of 1 bit. Read it as
    strength of monotone dependence, and check with ``binned``.
    """

    name: ClassVar[str] = "gaussian_copula"

    def encode(self, maps: Float[Tensor, "*batch map position"]) -> CopulaCodes:
        """Ranks, normal scores, unit length: what is done once a map.

        Raises:
            BadInput: if a value is not finite, or there are fewer than three positions.
        """
        flat = rows_of(maps, least=3)
        found = backend_of(flat).standardised(flat, score_table(flat.shape[1]))
        if found is None:
            raise unfit(maps)
        scores, entropy = found
        return CopulaCodes(scores.reshape(maps.shape), entropy.reshape(maps.shape[:-1]))

    def pairwise(self, a: CopulaCodes, b: CopulaCodes) -> Float[Tensor, "*batch row col"]:
        """Bits between every map of ``a`` and every map of ``b``; batch axes broadcast."""
        backend = backend_of(a.scores)
        formula = _formula(a.scores.shape[-1])
        return backend.copula_bits(a.scores, b.met(backend), a.entropy, b.entropy, *formula)

    def beside(self, a: CopulaCodes, b: CopulaCodes) -> Beside:
        """Maps of ``b`` behind those of ``a``, sample by sample; a single sample's go with all."""
        return Beside(a, b)

    def means(
        self,
        a: CopulaCodes | Float[Tensor, "sample row position"],
        b: CopulaCodes | Beside,
        parts: int,
    ) -> tuple[Float[Tensor, "sample row group"], Float[Tensor, "sample 2 part"]]:
        """Means of :meth:`pairwise` over groups of ``parts`` maps of ``b``; and over ``a``'s.

        Quicker than to take them: the bits themselves are kept nowhere.

        Args:
            a: codes, or maps that are not met again: they are encoded on the way.
            b: codes.
            parts: maps of a group.

        Returns:
            in double precision; the latter of the first group, and of all others together.

        Raises:
            BadInput: if a value is not finite.
        """
        backend = backend_of(b.entropy)
        other = b.met(backend), b.entropy, parts
        if isinstance(a, CopulaCodes):
            formula = _formula(a.scores.shape[-1])
            return backend.copula_means(a.scores, other[0], a.entropy, *other[1:], *formula)
        n = a.shape[2]
        rows = rows_of(a, least=3).reshape(a.shape)
        found = backend.ranked_means(rows, score_table(n), *other, *_formula(n))
        if found is None:
            raise unfit(a)
        return found


def _formula(n: int) -> tuple[float, float, float]:
    """Bias, factor and the least 1 - ρ² of maps with n positions."""
    return independence_bias(n), 1 + RANK_LOSS / n, max(float(n) ** -2, 4.0**-MOST_BITS)


def independence_bias(n: int) -> float:
    """The mean of -½·log2(1 - ρ²) over independent Gaussian samples of size n, in bits.

    There 1 - ρ² follows Beta((n-2)/2, 1/2), and the mean of its logarithm is a difference of
    digamma functions.
    """
    return float(digamma((n - 1) / 2) - digamma((n - 2) / 2)) / (2 * log(2))


@lru_cache(maxsize=64)
def score_table(n: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Φ⁻¹(r / (n + 1)) for the average ranks r = 1, 1½, 2, ..., n."""
    ranks = 1 + np.arange(2 * n - 1) / 2
    half = ndtri(ranks[: n - 1] / (n + 1))
    table = np.concatenate([half, [0.0], -half[::-1]]).astype(np.float32)
    table.setflags(write=False)
    return table
