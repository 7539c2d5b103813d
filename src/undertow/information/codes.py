"""What estimators share: rows of positions, the refusal of what has no order, average ranks."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from undertow.errors import BadInput
from undertow.information.backend.anywhere import entropies, ranks

__all__ = ["average_ranks", "entropies", "rows_of", "unfit"]


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


def average_ranks(rows: Float[Tensor, "row position"]) -> Int64[Tensor, "row position"]:
    """Twice the average rank, counted from 0, of every value in its row; equal values share one."""
    return ranks(rows)
