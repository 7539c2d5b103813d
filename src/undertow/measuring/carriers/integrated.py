"""Integrated attribution: the slope is averaged along the way, not taken at its end."""

from __future__ import annotations

from typing import Final

from undertow.measuring.carriers.compared import Compared, Scores
from undertow.types import Tap

__all__ = ["NODES", "integrated"]

NODES: Final = ((1 / 3, 0.75), (1.0, 0.25))
"""Places and weights of the Radau rule with two points, exact for polynomials of degree 2. One of
them is the adversarial input, where attribution has the slope already."""


def integrated(pair: Compared, tap: Tap) -> Scores:
    """Σ_u (t' − t)_j(u) · ∫ ∂(y_rival − y_true)/∂t_j(u) dα along the straight line of the inputs.

    Integrated gradients (Sundararajan et al. 2017, equation 1) for hidden units (conductance,
    Dhamdhere et al. 2018), the maps taken to move in proportion to the input. At the adversarial
    input the rival's lead is often saturated, and slopes there name other maps than those that
    brought it about.
    """
    mean = sum(weight * pair.slopes(place)[tap.name].float() for place, weight in NODES)
    product = pair.change(tap) * mean
    return product.flatten(2).sum(2) if product.ndim > 2 else product
