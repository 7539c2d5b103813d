"""The saliency maps of JSMA on whatever device the gradients are, pair for pair as on the CPU.

The twin of :mod:`undertow.attacks.parts.saliency`, in torch alone: with features sorted by A, one
stays a candidate if fewer than two before it match or beat its B. The second largest B of a prefix
is the running maximum of min(B_i, max_{j<i} B_j), so that no loop is needed.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from undertow.attacks.parts import saliency as compiled
from undertow.attacks.parts.saliency import Direction

__all__ = ["Rule", "best_gradients", "best_pairs", "search"]

Rule: TypeAlias = Literal["pair", "gradient"]
"""The paper's pair saliency map, or the two largest entries of the target's gradient."""


def search(
    alpha: Float[Tensor, "sample feature"],
    beta: Float[Tensor, "sample feature"],
    domain: Bool[Tensor, "sample feature"],
    rule: Rule,
    direction: Direction = "increase",
) -> Int64[Tensor, "sample 2"]:
    """The features to change next: compiled on the CPU, elsewhere on the device of the gradients.

    Args:
        alpha: derivative of the target class.
        beta: derivatives of all other classes together; the gradient rule does not look at them.
        domain: the features that may be changed.
        rule: which of the two searches.
        direction: of the change.
    """
    if alpha.device.type != "cpu":
        if rule == "pair":
            return best_pairs(alpha, beta, domain, direction)
        return best_gradients(alpha, domain, direction)
    a, b, c = (t.numpy() for t in (alpha, beta, domain))
    if rule == "pair":
        return torch.from_numpy(compiled.best_pairs(a, b, c, direction))
    return torch.from_numpy(compiled.best_gradients(a, c, direction))


def best_pairs(
    alpha: Float[Tensor, "sample feature"],
    beta: Float[Tensor, "sample feature"],
    domain: Bool[Tensor, "sample feature"],
    direction: Direction = "increase",
) -> Int64[Tensor, "sample 2"]:
    """As :func:`undertow.attacks.parts.saliency.best_pairs`, on tensors of any device."""
    n, features = alpha.shape
    none = torch.full((n, 2), -1, dtype=torch.int64, device=alpha.device)
    if features < 2 or n == 0:
        return none
    sign = 1 if direction == "increase" else -1
    out = ~domain | alpha.isnan() | beta.isnan()
    a = (sign * alpha).masked_fill(out, -torch.inf)
    b = (-sign * beta).masked_fill(out, -torch.inf)
    order = a.argsort(dim=1, descending=True, stable=True)
    sorted_b = b.gather(1, order)
    best = _before(sorted_b.cummax(dim=1).values)
    second = _before(torch.minimum(sorted_b, best).cummax(dim=1).values)
    keep = sorted_b > second
    width = int(keep.sum(dim=1).max())
    if width < 2:
        return none
    # The kept ones first, in order; the rest of the columns is padding that no pair may use.
    places = (~keep).int().argsort(dim=1, stable=True)[:, :width]
    valid = keep.gather(1, places)
    found = order.gather(1, places)
    rise, fall = (_sums(v.gather(1, found).double()) for v in (a, b))
    upper = torch.ones(width, width, dtype=torch.bool, device=a.device).triu(1)
    allowed = upper & valid[:, :, None] & valid[:, None, :] & (rise > 0) & (fall > 0)
    score = torch.where(allowed, rise * fall, -torch.inf).flatten(1)
    peak = score.amax(dim=1, keepdim=True)
    low = torch.minimum(found[:, :, None], found[:, None, :])
    high = torch.maximum(found[:, :, None], found[:, None, :])
    key = (low * features + high).flatten(1)
    key = torch.where((score == peak) & allowed.flatten(1), key, features**2)
    first = key.amin(dim=1)
    pairs = torch.stack([first // features, first % features], dim=1)
    return torch.where((first < features**2)[:, None], pairs, none)


def best_gradients(
    alpha: Float[Tensor, "sample feature"],
    domain: Bool[Tensor, "sample feature"],
    direction: Direction = "increase",
) -> Int64[Tensor, "sample 2"]:
    """As :func:`undertow.attacks.parts.saliency.best_gradients`, on tensors of any device."""
    none = torch.full((len(alpha), 2), -1, dtype=torch.int64, device=alpha.device)
    if alpha.shape[1] < 2:
        return none
    sign = 1 if direction == "increase" else -1
    usable = domain & ~alpha.isnan() & (sign * alpha > -torch.inf)
    value = (sign * alpha).masked_fill(~usable, -torch.inf)
    two = value.argsort(dim=1, descending=True, stable=True)[:, :2].sort(dim=1).values
    return torch.where((usable.sum(dim=1) >= 2)[:, None], two, none)


def _before(values: Float[Tensor, "sample feature"]) -> Float[Tensor, "sample feature"]:
    """The values one place earlier; nothing stands before the first."""
    start = torch.full_like(values[:, :1], -torch.inf)
    return torch.cat([start, values[:, :-1]], dim=1)


def _sums(values: Float[Tensor, "sample kept"]) -> Float[Tensor, "sample kept kept"]:
    return values[:, :, None] + values[:, None, :]
