"""What the estimators share: rows of positions, ranks in torch, batch axes that broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from undertow.errors import BadInput

__all__ = ["broadcast", "rows_of", "torch_ranks", "unfit"]

Index = np.ndarray[Any, np.dtype[np.int64]]


def rows_of(
    maps: Float[Tensor, "*batch map position"], *, least: int
) -> Float[Tensor, "row position"]:
    """The maps as contiguous float32 rows without a graph.

    Raises:
        BadInput: if there are fewer than ``least`` positions.
    """
    if maps.shape[-1] < least:
        raise BadInput(
            f"mutual information over positions needs at least {least}, got maps with "
            f"{maps.shape[-1]}; leave out taps without spatial extent"
        )
    return maps.detach().reshape(-1, maps.shape[-1]).float().contiguous()


def unfit(maps: Tensor) -> BadInput:
    """The error for maps with values that have no place in an order."""
    count = int((~torch.isfinite(maps)).sum())
    return BadInput(
        f"{count} of {maps.numel()} values of the maps are NaN or infinite; finite values are "
        "needed (is the model in half precision, or the input out of range?)"
    )


def broadcast(a: Sequence[int], b: Sequence[int]) -> tuple[tuple[int, ...], tuple[Index, Index]]:
    """The common batch shape, and for each of its items the flat index into ``a`` and ``b``."""
    shape = np.broadcast_shapes(tuple(a), tuple(b))
    return shape, (_index(a, shape), _index(b, shape))


def _index(of: Sequence[int], shape: tuple[int, ...]) -> Index:
    count = int(np.prod(of, dtype=np.int64))
    whole = np.broadcast_to(np.arange(count, dtype=np.int64).reshape(tuple(of)), shape)
    return np.array(whole).reshape(-1)


def torch_ranks(rows: Float[Tensor, "row position"]) -> Int64[Tensor, "row position"]:
    """Twice the average rank, counted from 0, of every value in its row; any device."""
    values, order = rows.sort(dim=1)
    place = torch.arange(rows.shape[1], device=rows.device).expand_as(order)
    new = torch.ones_like(order, dtype=torch.bool)
    new[:, 1:] = values[:, 1:] != values[:, :-1]
    first = place.where(new, 0).cummax(dim=1).values
    ends = new.roll(-1, dims=1)
    ends[:, -1] = True
    last = place.where(ends, rows.shape[1]).flip(1).cummin(dim=1).values.flip(1)
    return torch.empty_like(order).scatter_(1, order, first + last)
