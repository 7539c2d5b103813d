"""Restoration curves: their shares with intervals, and the area under them; arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray

from undertow.statistics.effects import wilson

__all__ = ["area", "quarter_place", "share"]

Array = NDArray[np.float64]


def area(
    curve: Float[np.ndarray, "*batch place"], count: Int64[np.ndarray, "*grid place"]
) -> Float[np.ndarray, "*batch"]:
    """Area under a curve over log2 of the number of maps, from one map to all, as a share.

    By the trapezoid rule: 1 where the first map suffices, 0 where not even all do; every doubling
    of the number counts alike, so that taps with other numbers of maps can be compared.

    Args:
        curve: a share at each number of maps.
        count: the numbers, ascending, -1 beyond the last; of a tap with one map the only point
            is the area.
    """
    curve = np.asarray(curve, dtype=np.float64)
    count = np.broadcast_to(count, curve.shape)
    there = count > 0
    place = np.log2(np.where(there, count, 1))
    width = np.diff(place, axis=-1) * (there[..., 1:] & there[..., :-1])
    middle = (curve[..., 1:] + curve[..., :-1]) / 2
    whole = width.sum(axis=-1)
    under = np.where(width > 0, middle, 0.0) * width
    return np.where(whole > 0, under.sum(axis=-1) / np.where(whole > 0, whole, 1), curve[..., 0])


def quarter_place(count: Sequence[int] | Int64[np.ndarray, " place"]) -> int:
    """The place of a curve at which a quarter of the maps is put back, rounded up."""
    numbers = [int(n) for n in count]
    return numbers.index(-(-max(numbers) // 4))


def share(values: NDArray[Any]) -> tuple[Array, Array, Array]:
    """Mean over inputs with Wilson's 95 % interval; NaN where there is none.

    An input of several random orders counts once, with the share of them: the interval is then too
    wide rather than too narrow.

    Args:
        values: (sample, ...), in [0, 1].
    """
    if len(values) == 0:
        shape = np.shape(values)[1:]
        return np.full(shape, np.nan), np.zeros(shape), np.ones(shape)
    mean = np.asarray(values, dtype=np.float64).mean(axis=0)
    low, high = wilson(mean, len(values))
    return mean, low, high
