"""The rows of a batch that go on."""

from __future__ import annotations

from torch import Tensor

from undertow.types import Keep

__all__ = ["kept"]


def kept(mask: Keep, values: Tensor) -> Tensor:
    """``values[mask]``, and ``values`` itself, not a copy, where all rows go on."""
    return values if mask.all() else values[mask]
