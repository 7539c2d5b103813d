"""How far a network is trimmed, in numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from undertow.models.recipe import Recipe

__all__ = ["Trimming"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trimming:
    """How far and in how many rounds a network is trimmed.

    Args:
        rounds: the most prunings; each is followed by a training.
        parameters: share of the parameters that may remain.
        multiply_adds: share of the multiply-adds that may remain.
        least: share of its maps that every layer keeps.
        between: the training after every round but the last.
        last: the training after the last round.
    """

    rounds: int = 8
    parameters: float = 0.48
    multiply_adds: float = 0.58
    least: float = 0.25
    between: Recipe = field(default_factory=lambda: Recipe(epochs=3, rate=0.05))
    last: Recipe = field(default_factory=lambda: Recipe(epochs=10, rate=0.1))
