"""Attribution, to first order: what a map's change did to the rival's lead."""

from __future__ import annotations

from undertow.measuring.carriers.compared import Compared, Scores
from undertow.measuring.carriers.integrated import along
from undertow.types import Tap

__all__ = ["attribution"]


def attribution(pair: Compared, tap: Tap) -> Scores:
    """Σ_u (t' − t)_j(u) · ∂(y_rival − y_true)/∂t_j(u), the slope taken at the adversarial input.

    By one backward pass for all taps; gradient × change, as Shrikumar et al. (2017, 1605.01713)
    compare an input with a reference.
    """
    return along(pair, tap, ((1.0, 1.0),))
