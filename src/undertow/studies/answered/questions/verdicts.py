"""How numbers become verdicts, the same way in every question.

A claim is supported when its interval lies on the claimed side, contradicted when it lies on the
other, inconclusive otherwise; and it must come out the same under every estimator of the study.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from undertow.statistics.effects import Comparison, Interval
from undertow.store import Number
from undertow.store.answers import Verdict

__all__ = ["LARGE", "MEDIUM", "agree", "number", "sided", "strongest"]

MEDIUM, LARGE = 0.5, 0.8
"""Cohen's conventions for the size of a standardised effect (Cohen 1988)."""


def sided(interval: Interval, null: float = 0.0) -> Verdict:
    """Supported above ``null``, contradicted below it, inconclusive across it."""
    if interval.low > null:
        return "supported"
    return "contradicted" if interval.high < null else "inconclusive"


def agree(verdicts: Iterable[Verdict]) -> Verdict:
    """What all estimators say; inconclusive where they differ."""
    found = set(verdicts)
    return found.pop() if len(found) == 1 else "inconclusive"


def strongest(comparison: Comparison) -> int:
    """The tap with the largest standardised effect."""
    return int(np.argmax(np.abs(comparison.d_z)))


def number(
    name: str,
    interval: Interval,
    *,
    unit: str = "",
    n: int | None = None,
    d_z: float | None = None,
    p: float | None = None,
) -> Number:
    """A named number with its interval."""
    return Number(
        name=name, value=interval.value, unit=unit, low=interval.low, high=interval.high,
        n=n, d_z=d_z, p_adjusted=p,
    )  # fmt: skip


def effect(name: str, found: Comparison, tap: int) -> Number:
    """One tap of a comparison, as its standardised effect."""
    return Number(
        name=name, value=float(found.d_z[tap]), unit="d_z", low=float(found.d_low[tap]),
        high=float(found.d_high[tap]), n=found.n, d_z=float(found.d_z[tap]),
        p_adjusted=float(found.p[tap]),
    )  # fmt: skip


def at_least(found: Comparison, size: float, level: float = 0.05) -> NDArray[np.bool_]:
    """Taps at which the effect is at least ``size`` and holds at the false discovery rate."""
    return (np.abs(found.d_z) >= size) & found.significant(level)
