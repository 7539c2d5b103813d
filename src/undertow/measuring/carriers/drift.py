"""Drift, map by map: where the information towards the rival is."""

from __future__ import annotations

import torch

from undertow.information import DEFAULT_ESTIMATOR, ESTIMATORS
from undertow.information.grids import coarser
from undertow.measuring.carriers.compared import Compared, Scores
from undertow.types import Tap

__all__ = ["drift"]


def drift(pair: Compared, tap: Tap) -> Scores:
    """T[j, rival] − T[j, true] at the adversarial input, in bits; NaN without spatial extent.

    Raw, since the null of the estimate cancels in the difference.
    """
    if not tap.spatial:
        return torch.full((len(pair.label), tap.shape[0]), torch.nan, dtype=torch.float32)
    estimator = ESTIMATORS[DEFAULT_ESTIMATOR]()
    _, shared = pair.evidence.on_both_grids(tap)
    two = pair.evidence.towards(torch.stack([pair.rival, pair.label], dim=1))
    grid = coarser(two.grid, shared.grid)
    bits = estimator.pairwise(shared.codes(estimator, grid), two.codes(estimator, grid))
    return bits[:, :, 0] - bits[:, :, 1]
