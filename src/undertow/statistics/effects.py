"""Comparisons of profiles: effect sizes, intervals and error rates, on plain arrays.

Every comparison is paired by input unless it says otherwise. ``d_z`` is the mean of the paired
differences in units of their standard deviation (Cohen 1988, section 2.3.5; Lakens 2013).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import stats

from undertow.errors import BadInput

__all__ = [
    "Comparison",
    "Interval",
    "adjust",
    "bootstrap",
    "compare",
    "proportion",
    "unpaired",
    "wilson",
]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval (or the level that it was asked at)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """One condition against another, tap by tap.

    Args:
        mean: mean difference, (tap,).
        low: lower end of the bootstrap interval of the mean difference, (tap,).
        high: upper end, (tap,).
        d_z: standardised effect, (tap,); 0 where nothing differs at all.
        d_low: lower end of the bootstrap interval of ``d_z``, (tap,).
        d_high: upper end, (tap,).
        p: adjusted p-value (Benjamini-Hochberg over taps), (tap,).
        n: number of pairs.
    """

    mean: Array
    low: Array
    high: Array
    d_z: Array
    d_low: Array
    d_high: Array
    p: Array
    n: int

    def significant(self, level: float = 0.05) -> NDArray[np.bool_]:
        """Taps that differ at the false discovery rate ``level``. Shape (tap,)."""
        return self.p < level


def adjust(p: Array) -> Array:
    """Benjamini-Hochberg adjusted p-values (1995), any shape, as one family."""
    return np.asarray(stats.false_discovery_control(np.ravel(p))).reshape(np.shape(p))


def _standardised(mean: Array, sd: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        d = mean / sd
    # No spread at all: no difference is effect 0; a constant difference is as large as can be said.
    return np.where(sd > 0, d, np.select([mean > 0, mean < 0], [np.inf, -np.inf], 0.0))


def compare(
    a: Float[np.ndarray, "sample tap"],
    b: Float[np.ndarray, "sample tap"],
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    resamples: int = 1000,
) -> Comparison:
    """``a - b``, paired by input, tap by tap.

    The p-value is the paired t-test's; intervals are percentile bootstraps over inputs.

    Args:
        a: one condition, (sample, tap).
        b: the other, the same inputs in the same order.
        rng: for the bootstrap.
        level: coverage of the intervals.
        resamples: bootstrap resamples.

    Raises:
        BadInput: for different shapes, fewer than two inputs or missing values.
    """
    if a.shape != b.shape or a.ndim != 2:
        raise BadInput(
            f"paired conditions need one shape (sample, tap), got {a.shape} and {b.shape}"
        )
    if len(a) < 2:
        raise BadInput(f"a comparison needs 2 inputs or more, got {len(a)}")
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    if not np.isfinite(difference).all():
        raise BadInput("a comparison cannot hold missing values; drop the taps that have none")
    n = len(difference)
    mean, sd = difference.mean(axis=0), difference.std(axis=0, ddof=1)
    means, sds = _resampled_moments(difference, rng, resamples)
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(means, tails, axis=0)
    # A constant difference has an infinite effect, so the quantiles must not interpolate.
    d_low, d_high = np.quantile(_standardised(means, sds), tails, axis=0, method="inverted_cdf")
    t = _standardised(mean, sd) * np.sqrt(n)
    p = 2 * stats.t.sf(np.abs(t), df=n - 1)
    return Comparison(mean, low, high, _standardised(mean, sd), d_low, d_high, adjust(p), n)


def _resampled_moments(x: Array, rng: np.random.Generator, resamples: int) -> tuple[Array, Array]:
    """Mean and standard deviation of bootstrap resamples of the rows: counts times moments."""
    n = len(x)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    centre = x.mean(axis=0)
    first = counts @ (x - centre) / n
    second = counts @ (x - centre) ** 2 / n
    variance = np.maximum(second - first**2, 0.0) * n / (n - 1)
    return first + centre, np.sqrt(variance)


def unpaired(
    a: Float[np.ndarray, "first tap"], b: Float[np.ndarray, "second tap"]
) -> tuple[Array, Array]:
    """Effect size (Hedges' g, Hedges 1981) and adjusted p (Welch) of two disjoint sets of inputs.

    Returns:
        Two arrays of shape (tap,).
    """
    n, m = len(a), len(b)
    if min(n, m) < 2:
        raise BadInput(f"two sets of 2 inputs or more are needed, got {n} and {m}")
    va, vb = a.var(axis=0, ddof=1), b.var(axis=0, ddof=1)
    difference = a.mean(axis=0) - b.mean(axis=0)
    pooled = np.sqrt(((n - 1) * va + (m - 1) * vb) / (n + m - 2))
    g = _standardised(difference, pooled) * (1 - 3 / (4 * (n + m) - 9))
    error = va / n + vb / m
    t = _standardised(difference, np.sqrt(error))
    with np.errstate(divide="ignore", invalid="ignore"):
        df = error**2 / ((va / n) ** 2 / (n - 1) + (vb / m) ** 2 / (m - 1))
    p = 2 * stats.t.sf(np.abs(t), df=np.where(np.isfinite(df), df, 1.0))
    return g, adjust(p)


def bootstrap(
    x: Float[np.ndarray, " sample"],
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Mean of ``x`` with its percentile bootstrap interval."""
    if len(x) == 0:
        raise BadInput("the mean of no inputs is not defined")
    counts = rng.multinomial(len(x), np.full(len(x), 1 / len(x)), size=resamples)
    low, high = np.quantile(counts @ x / len(x), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.mean(x)), float(low), float(high))


def proportion(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """A rate with its Wilson interval (Wilson 1927); of none, the whole range."""
    if n == 0:
        return Interval(float("nan"), 0.0, 1.0)
    found = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    return Interval(successes / n, float(found.low), float(found.high))


def wilson(share: Array, n: int, *, level: float = 0.95) -> tuple[Array, Array]:
    """Wilson's interval (1927) of each of several shares of ``n`` inputs; NaN of NaN."""
    z = float(stats.norm.isf((1 - level) / 2))
    share = np.asarray(share, dtype=np.float64)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return np.clip(middle - reach, 0, 1), np.clip(middle + reach, 0, 1)
