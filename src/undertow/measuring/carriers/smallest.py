"""The smallest set of maps that was found to suffice for an input."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from undertow.measuring.carriers.putting import Sides, first

__all__ = ["smallest"]

MANY, STEPS = 256, 64
"""Of a tap with more maps several are left out at once, in about so many steps, before singles."""


def smallest(sides: Sides, scores: Float[Tensor, "sample map"]) -> Bool[Tensor, "sample map"]:
    """A small set of maps whose restoration returns the true label, for each input.

    The fewest first maps of the ranking that return it, by bisection; then maps are left out again,
    one by one, the lowest first, as long as the label still returns; of taps with very many maps
    several at once before that. Every step is checked by running the model, so the set is known to
    suffice; that there is no smaller one is not known.

    Args:
        sides: where maps are put back.
        scores: the ranking.

    Returns:
        the maps, none of an input whose label does not even return with all of them.
    """
    samples, maps = scores.shape
    rows = torch.arange(samples)
    order = scores.argsort(dim=1, descending=True, stable=True)
    high = _bisected(sides, scores, rows)
    found = first(scores, range(1, maps + 1))[rows, (high - 1).clamp(min=0)]
    found[high == 0] = False
    at_once = -(-int(high.max()) // STEPS) if maps > MANY else 1
    while at_once > 1:
        _left_out(sides, found, order, high, at_once)
        at_once = -(-at_once // 4)
    _left_out(sides, found, order, high, 1)
    return found


def _left_out(
    sides: Sides,
    found: Bool[Tensor, "sample map"],
    order: Int64[Tensor, "sample map"],
    high: Int64[Tensor, " sample"],
    at_once: int,
) -> None:
    """Take maps out of the sets, so many at once, the lowest first, if the label still returns."""
    for stop in range(int(high.max()), 0, -at_once):
        start = max(0, stop - at_once)
        block = order[:, start:stop]
        there = found.gather(1, block).any(dim=1) & (high > start)
        asked = torch.nonzero(there).flatten()
        if len(asked):
            without = found[asked].scatter(1, block[asked], False)
            returns = sides.restored(without, asked).cpu()
            found[asked[returns]] = without[returns]


def _bisected(sides: Sides, scores: Tensor, rows: Int64[Tensor, " sample"]) -> Tensor:
    """The fewest first maps that return the label, if more never undo it; 0 where all do not."""
    maps = scores.shape[1]
    every = torch.ones_like(scores, dtype=torch.bool)
    possible = sides.restored(every, rows).cpu()
    low = torch.zeros(len(rows), dtype=torch.int64)
    high = torch.where(possible, maps, 0)
    masks = first(scores, range(1, maps + 1))
    while bool((high - low > 1).any()):
        asked = rows[high - low > 1]
        middle = (low[asked] + high[asked]) // 2
        returns = sides.restored(masks[asked, middle - 1], asked).cpu()
        high[asked] = torch.where(returns, middle, high[asked])
        low[asked] = torch.where(returns, low[asked], middle)
    return high
