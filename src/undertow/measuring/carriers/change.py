"""Size of change: how far the attack moved a map, whatever that did."""

from __future__ import annotations

from undertow.measuring.carriers.compared import Compared, Scores
from undertow.types import Tap

__all__ = ["change"]


def change(pair: Compared, tap: Tap) -> Scores:
    """The Euclidean norm of the change of each map."""
    moved = pair.change(tap)
    return moved.flatten(2).norm(dim=2) if moved.ndim > 2 else moved.abs()
