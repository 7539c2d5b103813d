"""Nearest-neighbour mutual information (Kraskov, Stögbauer and Grassberger 2004)."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from undertow.errors import BadInput
from undertow.information.codes import entropies, rows_of, unfit

__all__ = ["KSG", "KSGCodes"]

_Map = tuple[Tensor, Tensor]
"""Values, and their standard deviation."""


@dataclass(frozen=True, slots=True, eq=False)
class KSGCodes:
    """Maps and their units.

    Args:
        values: in double precision.
        unit: standard deviation of each map, 1 for constant maps.
        live: which maps are not constant.
        entropy: of the values of each map over positions, in bits.
    """

    values: Float[Tensor, "*batch map position"]
    unit: Float[Tensor, "*batch map"]
    live: Bool[Tensor, "*batch map"]
    entropy: Float[Tensor, "*batch map"]

    def __getitem__(self, index: Any) -> KSGCodes:
        found = (self.values[index], self.unit[index], self.live[index], self.entropy[index])
        return KSGCodes(*found)


@dataclass(frozen=True, slots=True)
class KSG:
    """Algorithm 1 (equation 8): ψ(k) + ψ(n) - ⟨ψ(n_x + 1) + ψ(n_y + 1)⟩, in bits, not clipped.

    The slow reference: every pair costs n² distances. ε(i) is the distance to the k-th neighbour
    in the maximum norm of the two maps at unit standard deviation, n_x and n_y count the others
    strictly nearer than ε(i) in one map. Where k neighbours coincide with a point (ε = 0: zeros
    of both maps), k, n_x and n_y become the numbers of coinciding points, so that the point adds
    what it adds to the estimate for discrete values (Gao et al. 2017). No jitter is added. Zeros at
    different positions of the two maps are a case this leaves open: independent maps with half
    zeros read 0.13 bit at n = 64, 0.06 at n = 1024. A constant map has exactly 0 bits.

    Args:
        k: neighbours, 3 by default; fewer than positions.
    """

    name: ClassVar[str] = "ksg"
    k: int = 3

    def __post_init__(self) -> None:
        if self.k < 1:
            raise BadInput(f"k must be at least 1, got {self.k}")

    def encode(self, maps: Float[Tensor, "*batch map position"]) -> KSGCodes:
        """Values and standard deviations.

        Raises:
            BadInput: if a value is not finite, or there are not more than k positions.
        """
        flat = rows_of(maps, least=max(3, self.k + 1))
        if not bool(torch.isfinite(flat).all()):
            raise unfit(maps)
        live = (flat != flat[:, :1]).any(dim=1)
        values = flat.double()
        unit = (values - values.mean(dim=1, keepdim=True)).square().mean(dim=1).sqrt()
        shape = maps.shape[:-1]
        return KSGCodes(
            values.reshape(maps.shape), unit.where(live, 1.0).reshape(shape), live.reshape(shape),
            entropies(flat).float().reshape(shape),
        )  # fmt: skip

    def pairwise(self, a: KSGCodes, b: KSGCodes) -> Float[Tensor, "*batch row col"]:
        """Bits between every map of ``a`` and every map of ``b``; batch axes broadcast."""
        shape = np.broadcast_shapes(a.live.shape[:-1], b.live.shape[:-1])
        left, right = _items(a, shape), _items(b, shape)
        bits = torch.stack([
            torch.stack([torch.stack([self._pair(x, y) for y in ys]) for x in xs])
            for xs, ys in zip(left, right, strict=True)
        ])  # fmt: skip
        live = a.live[..., :, None] & b.live[..., None, :]
        most = torch.minimum(a.entropy[..., :, None], b.entropy[..., None, :])
        return bits.reshape(*shape, *bits.shape[-2:]).minimum(most).float() * live

    def _pair(self, x: _Map, y: _Map) -> Float[Tensor, ""]:
        n = len(x[0])
        dx, dy = _distances(*x), _distances(*y)
        joint = torch.maximum(dx, dy)
        # The point itself is the nearest, at distance 0.
        epsilon = joint.kthvalue(self.k + 1, dim=1).values[:, None]
        tied = epsilon[:, 0] == 0
        # Each count has the point itself in it: n_x + 1.
        nx = (dx < epsilon).sum(dim=1).where(~tied, (dx == 0).sum(dim=1))
        ny = (dy < epsilon).sum(dim=1).where(~tied, (dy == 0).sum(dim=1))
        k = (joint == 0).sum(dim=1).where(tied, self.k)
        mean: Tensor = (_psi(k) - _psi(nx) - _psi(ny)).mean()
        return (mean + _psi(torch.tensor(n, device=dx.device))) / log(2)


def _psi(count: Tensor) -> Float[Tensor, "*shape"]:
    return count.double().digamma()


def _items(codes: KSGCodes, shape: tuple[int, ...]) -> list[list[_Map]]:
    """The maps of each batch item."""
    values = codes.values.expand(*shape, -1, -1).reshape(-1, *codes.values.shape[-2:])
    unit = codes.unit.expand(*shape, -1).reshape(-1, codes.unit.shape[-1])
    return [list(zip(rows, units, strict=True)) for rows, units in zip(values, unit, strict=True)]


def _distances(
    values: Float[Tensor, " position"], unit: Float[Tensor, ""]
) -> Float[Tensor, "position position"]:
    # Differences first, so that equal ones stay equal whatever the unit and the zero of the map.
    return (values[:, None] - values).abs() / unit
