"""Integrated attribution: the slope is taken along the way, not at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.measuring.carriers.compared import Compared, Scores
from undertow.types import Tap

__all__ = ["MIDPOINT", "RADAU", "along", "integrated"]

MIDPOINT: Final = ((0.5, 1.0),)
"""Places and weights of the midpoint rule, exact for slopes that change evenly."""
RADAU: Final = ((1 / 3, 0.75), (1.0, 0.25))
"""The Radau rule with two points, exact for polynomials of degree 2; twice the cost."""


def integrated(pair: Compared, tap: Tap) -> Scores:
    """Σ_u (t' − t)_j(u) · ∫ ∂(y_rival − y_true)/∂t_j(u) dα along the straight line of the inputs.

    Integrated gradients (Sundararajan et al. 2017, equation 1) for hidden units (conductance,
    Dhamdhere et al. 2018), the maps taken to move in proportion to the input, by the midpoint rule.
    At the adversarial input the rival's lead is often saturated, and slopes there name other maps
    than those that brought it about.
    """
    return along(pair, tap, MIDPOINT)


def along(pair: Compared, tap: Tap, nodes: Sequence[tuple[float, float]]) -> Scores:
    """Change × the mean of slopes at some places of the way.

    Args:
        pair: inputs and adversarial ones.
        tap: whose maps.
        nodes: places, 0 benign and 1 adversarial, and their weights, which add up to 1.
    """
    # Slopes first: the pass that gives them at the adversarial input gives its maps, too.
    slopes = [(weight, _flat(pair.slopes(place)[tap.name])) for place, weight in nodes]
    change = _flat(pair.change(tap))
    first, *rest = (weight * torch.einsum("smp,smp->sm", change, s) for weight, s in slopes)
    return sum(rest, first)


def _flat(maps: Float[Tensor, "sample map ..."]) -> Float[Tensor, "sample map position"]:
    return (maps.flatten(2) if maps.ndim > 2 else maps[:, :, None]).float()
