"""Balls around an input: distances and projections, a row at a time.

Each projection clamps the factor (or the coordinates), never the result: a point inside its ball is
returned as it is, bit for bit.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.types import Norm

__all__ = ["distance", "l0_project", "l2_project", "linf_project", "project"]

Steps: TypeAlias = Float[Tensor, "sample channel height width"]
"""Differences of inputs."""
Radius: TypeAlias = float | int | Float[Tensor, " sample"]


def _column(radius: Radius, like: Tensor) -> Tensor:
    return torch.as_tensor(radius, dtype=like.dtype, device=like.device).reshape(-1, 1)


def linf_project(delta: Steps, radius: Radius) -> Steps:
    """The nearest point with no component larger than ``radius``."""
    if not isinstance(radius, Tensor):
        return delta.clamp(-radius, radius)
    r = _column(radius, delta)
    return torch.maximum(torch.minimum(delta.flatten(1), r), -r).view_as(delta)


def l2_project(delta: Steps, radius: Radius) -> Steps:
    """The nearest point with a Euclidean length of at most ``radius``."""
    flat = delta.flatten(1)
    length = flat.norm(dim=1, keepdim=True)
    # The factor is clamped; clamping the result would inflate points inside.
    factor = (_column(radius, delta) / length.clamp(min=torch.finfo(delta.dtype).tiny)).clamp(max=1)
    projected: Tensor = (flat * factor).view_as(delta)
    return projected


def l0_project(delta: Steps, components: int) -> Steps:
    """The nearest point with at most ``components`` non-zero components: the largest stay."""
    flat = delta.flatten(1)
    if components >= flat.shape[1]:
        return delta
    kept = flat.abs().topk(components, dim=1).indices
    return torch.zeros_like(flat).scatter(1, kept, flat.gather(1, kept)).view_as(delta)


def project(delta: Steps, radius: float | int, norm: Norm) -> Steps:
    """The nearest point of the ball of ``radius`` in ``norm`` (for ``l0`` a count)."""
    if norm == "linf":
        return linf_project(delta, radius)
    if norm == "l2":
        return l2_project(delta, radius)
    return l0_project(delta, int(radius))


def distance(a: Steps, b: Steps, norm: Norm) -> Float[Tensor, " sample"]:
    """The distance of ``a`` and ``b``, row by row; for ``l0`` the number of changed components."""
    delta = (a - b).flatten(1)
    if norm == "l0":
        return (delta != 0).sum(dim=1).to(a.dtype)
    length: Tensor = delta.abs().amax(dim=1) if norm == "linf" else delta.norm(dim=1)
    return length
