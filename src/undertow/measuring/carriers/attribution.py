"""Attribution, to first order: what a map's change did to the rival's lead."""

from __future__ import annotations

from undertow.measuring.carriers.compared import Compared, Scores
from undertow.types import Tap

__all__ = ["attribution"]


def attribution(pair: Compared, tap: Tap) -> Scores:
    """Σ_u (t' − t)_j(u) · ∂(y_rival − y_true)/∂t_j(u), the slope taken at the adversarial input.

    By one backward pass for all taps; gradient × change, as Shrikumar et al. (2017, 1605.01713)
    compare an input with a reference.
    """
    product = pair.change(tap) * pair.slopes(1.0)[tap.name].float()
    return product.flatten(2).sum(2) if product.ndim > 2 else product
