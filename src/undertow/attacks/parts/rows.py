"""Rows of a batch: which go on, how large their gradients are, whether they are the same."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.types import Keep

__all__ = ["kept", "same", "size"]


def kept(mask: Keep, values: Tensor) -> Tensor:
    """``values[mask]``, and ``values`` itself, not a copy, where all rows go on."""
    return values if mask.all() else values[mask]


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same; those that share memory are not read."""
    if a.shape != b.shape:
        return False
    shared = a.data_ptr() == b.data_ptr() and a.stride() == b.stride() and a.dtype == b.dtype
    return shared or torch.equal(a, b)


def size(g: Tensor) -> Float[Tensor, " row"]:
    """How large each row (the first axis) is: zero, and finite, exactly where it is."""
    every = tuple(range(1, g.ndim))
    length: Tensor = torch.linalg.vector_norm(g, dim=every)  # one pass, no copy
    least, most = torch.aminmax(length)
    if 0 < float(least) <= float(most) < math.inf:
        return length
    return g.abs().amax(dim=every)  # squares may have left the range
