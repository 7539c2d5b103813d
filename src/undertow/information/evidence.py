"""Evidence maps: how far each position of the last spatial tap speaks for each class."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["evidence"]


def evidence(
    maps: Float[Tensor, "sample map row col"],
    gradients: Float[Tensor, "class sample map row col"],
) -> Float[Tensor, "sample class row col"]:
    """Gradient times activation, E_m(u) = Σ_j t_j(u)·∂y_m/∂t_j(u).

    For a network that ends in global average pooling and a linear layer with weights w this is
    the class activation map of Zhou et al. (2016), Σ_j w_mj·t_j(u), divided by the number of
    positions.

    Args:
        maps: the last spatial tap, t.
        gradients: of each logit y_m at the maps.
    """
    # The sum over maps is written as a plain elementwise reduction, so that a sample's value
    # does not depend on which others share its batch.
    return torch.stack([(maps * gradient).sum(dim=1) for gradient in gradients], dim=1)
