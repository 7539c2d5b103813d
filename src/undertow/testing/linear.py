"""Linear models, whose nearest adversarial input is known in closed form.

For logits z = Wx + b the border between the true class y and class k is a plane; the least
distance to it is |f_k| divided by the dual norm of w_k − w_y (1511.04599, equation 3).
The inputs are chosen so far from the sides of the box that these do not matter (L2, L∞), or the
box is the only limit (L0).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from undertow.types import Images, Labels, Norm

__all__ = ["LinearCase", "linear_case", "optimum"]


class LinearCase(NamedTuple):
    """A linear model in evaluation mode, benign inputs, and the classes it gives them."""

    model: nn.Module
    x: Images
    y: Labels


def linear_case(
    *, samples: int = 6, classes: int = 5, shape: tuple[int, int, int] = (2, 4, 4), seed: int = 0
) -> LinearCase:
    """A random linear model and inputs near the middle of the box.

    Args:
        samples: how many inputs.
        classes: how many logits.
        shape: (channel, row, col) of an input.
        seed: of the weights and inputs.
    """
    generator = torch.Generator().manual_seed(seed)
    features = shape[0] * shape[1] * shape[2]
    layer = nn.Linear(features, classes)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(classes, features, generator=generator))
        layer.bias.copy_(0.1 * torch.randn(classes, generator=generator))
    model = nn.Sequential(nn.Flatten(), layer).eval()
    x = 0.5 + 0.1 * (torch.rand(samples, *shape, generator=generator) - 0.5)
    with torch.no_grad():
        y = model(x).argmax(dim=1)
    return LinearCase(model, x, y)


def optimum(case: LinearCase, norm: Norm) -> Float[Tensor, " sample"]:
    """The distance of the nearest input of another class, row by row; for L0 a count.

    L2: min_k |f_k|/‖w_k‖₂; L∞: min_k |f_k|/‖w_k‖₁; L0: the fewest components that, moved to the
    side of the box that helps, close the gap.
    """
    layer = case.model[1]  # type: ignore[index]
    W = layer.weight.detach()
    with torch.no_grad():
        logits = case.model(case.x)
    w = W[None] - W[case.y][:, None]
    gap = logits.gather(1, case.y[:, None]) - logits
    if norm == "l0":
        counts = _fewest(w, gap, case.x.flatten(1)).to(gap.dtype)
    else:
        counts = gap / w.norm(dim=2, p=2 if norm == "l2" else 1)
    return counts.scatter(1, case.y[:, None], torch.inf).amin(dim=1)


def _fewest(
    w: Float[Tensor, "sample class feature"],
    gap: Float[Tensor, "sample class"],
    x: Float[Tensor, "sample feature"],
) -> Int64[Tensor, "sample class"]:
    """How many components, best first, close each gap."""
    room = torch.where(w > 0, 1 - x[:, None], x[:, None])
    gains = (w.abs() * room).sort(dim=2, descending=True).values.cumsum(dim=2)
    return (gains < gap[:, :, None]).sum(dim=2) + 1
