"""Maps brought to a common grid by area averaging with exact weights."""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.information.backend import backend_of

__all__ = ["Grid", "area_weights", "coarser", "exact", "pooled"]

Grid = tuple[int, int]
"""Rows and columns."""


def coarser(a: Grid, b: Grid) -> Grid:
    """The grid that both can be averaged to: the smaller number along each axis."""
    return min(a[0], b[0]), min(a[1], b[1])


@lru_cache(maxsize=256)
def area_weights(fine: int, coarse: int) -> Float[Tensor, "coarse fine"]:
    """The share of each fine cell in each coarse cell; rows sum to 1, columns to coarse / fine.

    Coarse cell c covers [c, c+1)·fine/coarse in units of fine cells; a fine cell counts by the
    length of its overlap, so the mean of a map is kept whatever the two sizes are.
    """
    edge = torch.arange(coarse + 1, dtype=torch.float64) * fine / coarse
    cell = torch.arange(fine, dtype=torch.float64)
    low = torch.maximum(edge[:-1, None], cell[None])
    high = torch.minimum(edge[1:, None], cell[None] + 1)
    return (high - low).clamp(min=0) * coarse / fine


def exact(
    images: Float[Tensor, "sample channel row col"],
) -> Float[Tensor, "sample channel row col"]:
    """Images times 255, bytes as whole numbers: sums of those are exact, so equal means stay equal.

    Averaged as shares of 255, which float32 only nearly holds, ties of bytes would break.
    """
    scaled = images * 255
    whole = scaled.round()
    return torch.where((scaled - whole).abs() < 1e-3, whole, scaled)


def pooled(
    maps: Float[Tensor, "*batch row col"], grid: Grid
) -> Float[Tensor, "*batch coarse_row coarse_col"]:
    """Area averages of ``maps`` on a grid that is no finer than theirs.

    Args:
        maps: any number of leading axes.
        grid: rows and columns asked for; each at most that of ``maps``.
    """
    rows, cols = maps.shape[-2:]
    if (rows, cols) == grid:
        return maps
    if rows % grid[0] == 0 and cols % grid[1] == 0:
        return backend_of(maps).block_means(maps.float().contiguous(), grid)
    return _weighted(_weighted(maps, -2, grid[0]), -1, grid[1])


def _weighted(maps: Tensor, axis: int, coarse: int) -> Tensor:
    """One axis averaged, as a sum over at most a few fine cells for each coarse one.

    Written out cell by cell: a matrix product may round differently for another batch size.
    """
    weights = area_weights(maps.shape[axis], coarse)
    parts = []
    for row in weights:
        cells = torch.nonzero(row).flatten().tolist()
        part = torch.zeros((), dtype=maps.dtype, device=maps.device)
        for cell in cells:
            part = part + maps.select(axis, cell) * float(row[cell])
        parts.append(part)
    return torch.stack(parts, dim=axis)
