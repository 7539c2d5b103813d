"""Size of change: how far the attack moved a map, whatever that did."""

from __future__ import annotations

from undertow.measuring.carriers.seen import Scores, Seen
from undertow.types import Tap

__all__ = ["change"]


def change(seen: Seen, tap: Tap) -> Scores:
    """The Euclidean norm of the change of each map."""
    moved = seen.change(tap)
    return moved.flatten(2).norm(dim=2) if moved.ndim > 2 else moved.abs()
