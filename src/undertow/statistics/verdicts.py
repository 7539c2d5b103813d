"""Rules that turn paired differences into verdicts, with error rates that are known.

Every rule takes arrays, one row an input, and gives a verdict with the numbers it rests on.
*Supported* means that an interval lies beyond the smallest effect that matters; *contradicted* that
it lies beyond zero on the other side or, where something is claimed to exist, wholly inside that
smallest effect, at every tap (two one-sided tests, Schuirmann 1987). What is merely not significant
is *inconclusive*. Fewer than :data:`FEWEST` inputs, and intervals of no width, say nothing.
:mod:`undertow.statistics.simulated` simulates each rule at the border of its hypothesis and beyond.

Effects are d_z, the mean paired difference in units of its standard deviation; their intervals
invert the noncentral t distribution (Cumming and Finch 2001, equation 10).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import optimize, special, stats

from undertow.errors import BadInput
from undertow.statistics.effects import proportion

__all__ = [
    "AREA",
    "ASSOCIATION",
    "DRASTIC",
    "EXISTS",
    "FEWEST",
    "GAIN",
    "MUCH",
    "RESTORES",
    "Ruled",
    "Ruling",
    "beyond",
    "everywhere",
    "exists",
    "gets_around",
    "more_often",
    "mostly",
    "moved",
    "pseudo_values",
    "share_beyond",
    "standardised",
]

Ruling: TypeAlias = Literal["supported", "contradicted", "inconclusive"]
Array = NDArray[Any]

FEWEST = 12
"""Inputs or trajectories below which nothing is said."""
EXISTS, MUCH, DRASTIC = 0.2, 0.5, 0.8
"""The smallest |d_z| that matters where an effect is claimed to exist, to be large, or drastic."""
ASSOCIATION, GAIN = 0.1, 0.02
"""The smallest partial correlation, and the smallest gain of AUC, that matter."""
RESTORES, AREA = 0.1, 0.05
"""The smallest share of inputs, and of the area under a restoration curve, that matter."""
TAIL = 0.025
"""Probability beyond either end of an interval."""


@dataclass(frozen=True, slots=True)
class Ruled:
    """A verdict and what it rests on.

    Args:
        verdict: one of three words.
        value: the effect.
        low: lower end of its 95 % interval.
        high: upper end.
        n: inputs that it is told of.
        column: the column that was chosen, where one was.
        reason: why it is this verdict, in one clause.
    """

    verdict: Ruling
    value: float
    low: float
    high: float
    n: int
    column: int | None = None
    reason: str = ""


def beyond(x: Float[np.ndarray, " sample"], size: float = EXISTS) -> Ruled:
    """Whether the mean of paired differences is positive by more than ``size`` in d_z.

    Args:
        x: one difference an input.
        size: the smallest effect that matters.
    """
    x = np.asarray(x, dtype=np.float64)
    if problem := _silent(x):
        return _nothing(x, problem)
    d, low, high = _effect(x)
    return _sided(d, low, high, len(x), size)


def moved(x: Float[np.ndarray, " sample"], size: float = EXISTS) -> Ruled:
    """Whether the mean of paired differences is other than 0 by more than ``size`` in d_z.

    Contradicted if its 90 % interval lies wholly inside ±``size`` (two one-sided tests).

    Args:
        x: one difference an input.
        size: the smallest effect that matters.
    """
    x = np.asarray(x, dtype=np.float64)
    if problem := _silent(x):
        return _nothing(x, problem)
    d, low, high = _effect(x)
    if low > size or high < -size:
        reason = f"the interval lies beyond {size if low > size else -size:g}"
        return Ruled("supported", d, low, high, len(x), reason=reason)
    if _all_inside(x[:, None], size, positive=False):
        reason = f"the effect is smaller than {size:g} either way"
        return Ruled("contradicted", d, low, high, len(x), reason=reason)
    reason = f"the interval holds values both inside and outside ±{size:g}"
    return Ruled("inconclusive", d, low, high, len(x), reason=reason)


def share_beyond(x: Float[np.ndarray, " sample"], size: float) -> Ruled:
    """Whether a mean is above ``size`` in its own units, by Student's interval.

    Args:
        x: one value an input, or one pseudo-value a group of inputs (:func:`pseudo_values`).
        size: the smallest value that matters.
    """
    x = np.asarray(x, dtype=np.float64)
    if problem := _silent(x):
        return _nothing(x, problem)
    reach = stats.t.isf(TAIL, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    mean = float(x.mean())
    return _sided(mean, mean - reach, mean + reach, len(x), size)


def pseudo_values(
    statistic: Callable[[NDArray[np.int64]], float], n: int, groups: int = 50
) -> Float[np.ndarray, " group"]:
    """Pseudo-values of a statistic of inputs; their mean is it, their spread its error.

    The jackknife that leaves out a group of inputs at a time (Tukey 1958); an input stays with all
    that was made of it, however many pairs of models read it.

    Args:
        statistic: of some rows.
        n: inputs.
        groups: at most; every so many-th input is one.
    """
    groups, rows = min(n, groups), np.arange(n)
    whole = statistic(rows)
    parts = np.array([statistic(rows[rows % groups != g]) for g in range(groups)])
    return groups * whole - (groups - 1) * parts


def exists(
    x: Float[np.ndarray, "sample column"], size: float = EXISTS, *, positive: bool = False
) -> Ruled:
    """Whether some column differs from 0 by more than ``size`` in |d_z|, either way.

    The strongest column, and its sign, are chosen on every other input and told of the rest.
    Contradicted if all inputs together show every column inside ±``size``.

    Args:
        x: one difference an input and column (tap, or tap × profile).
        size: the smallest effect that matters.
        positive: only differences above 0 are meant; contradicted if there are none of ``size``.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] == 0:
        raise BadInput(f"differences are (sample, column), got {x.shape}")
    choosing, telling = x[::2], x[1::2]
    if len(telling) < FEWEST // 2 or len(x) < FEWEST:
        return _nothing(x[:, 0], f"{len(x)} inputs, fewer than {FEWEST}")
    d = standardised(choosing)
    column = int(np.argmax(d if positive else np.abs(d)))
    sign = 1.0 if positive or d[column] >= 0 else -1.0
    told = sign * telling[:, column]
    if problem := _silent(told, fewest=FEWEST // 2):
        return _nothing(told, problem)
    value, low, high = _effect(told)
    verdict: Ruling = "inconclusive"
    reason = f"at the tap chosen on the other half the interval reaches below {size:g}"
    if low > size:
        verdict, reason = "supported", f"the interval lies beyond {size:g}"
    elif _all_inside(x, size, positive=positive):
        verdict, reason = "contradicted", f"at every tap the effect is smaller than {size:g}"
    ends = sorted((sign * low, sign * high))
    return Ruled(verdict, sign * value, ends[0], ends[1], len(told), column, reason)


def everywhere(x: Float[np.ndarray, "sample column"], size: float) -> Ruled:
    """Whether at every column the mean of paired differences of shares is above ``size``.

    Supported if every column's interval lies above it (an intersection of tests, so nothing is
    corrected); contradicted if that of some column, corrected for their number, lies below. Told
    of the column that is least above.

    Intervals as of differences of paired proportions (Agresti and Min 2005): two inputs are added,
    half of them each way and half without a difference, so that shares without any spread have
    an interval, too.

    Args:
        x: one difference an input and column (tap), in [-1, 1].
        size: the smallest difference that matters; below 0, negated differences ask whether
            nowhere it is larger.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] == 0:
        raise BadInput(f"differences are (sample, column), got {x.shape}")
    n, columns = x.shape
    if n < FEWEST:
        return _nothing(x[:, 0], f"{n} inputs, fewer than {FEWEST}")
    if not np.isfinite(x).all():
        return _nothing(x[:, 0], "missing values")
    mean = x.sum(axis=0) / (n + 2)
    spread = np.sqrt(((np.square(x).sum(axis=0) + 1) / (n + 2) - np.square(mean)) / (n + 2))
    low, high = mean + stats.norm.ppf(TAIL) * spread, mean - stats.norm.ppf(TAIL) * spread
    least = int(np.argmin(low))
    verdict: Ruling = "inconclusive"
    reason = f"somewhere the interval holds values both below and above {size:g}"
    if low[least] > size:
        verdict, reason = "supported", f"everywhere the interval lies above {size:g}"
    else:
        corrected = mean - stats.norm.ppf(TAIL / columns) * spread
        if (corrected < size).any():
            verdict, least = "contradicted", int(np.argmin(corrected))
            reason = f"somewhere the interval lies below {size:g}"
    told = float(x[:, least].mean())
    return Ruled(verdict, told, float(low[least]), float(high[least]), n, least, reason)


def more_often(a: Array, b: Array) -> Ruled:
    """Whether something happens more often under ``a`` than under ``b``, paired by input.

    The exact test of McNemar (1947) on the inputs on which the two differ; the interval is that of
    the difference of shares (Newcombe 1998, method 10).

    Args:
        a: whether it happens, (sample,).
        b: the same for the other condition.
    """
    a, b = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    n = len(a)
    if a.shape != b.shape or a.ndim != 1:
        raise BadInput(f"paired rates need one shape (sample,), got {a.shape} and {b.shape}")
    if n < FEWEST:
        reason = f"{n} inputs, fewer than {FEWEST}"
        return Ruled("inconclusive", float("nan"), -1.0, 1.0, n, reason=reason)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    low, high = _newcombe(int((a & b).sum()), only_a, only_b, n)
    verdict: Ruling = "inconclusive"
    if only_a + only_b:
        if stats.binom.sf(only_a - 1, only_a + only_b, 0.5) < TAIL:
            verdict = "supported"
        elif stats.binom.sf(only_b - 1, only_a + only_b, 0.5) < TAIL:
            verdict = "contradicted"
    reason = f"{only_a} inputs one way, {only_b} the other"
    return Ruled(verdict, (only_a - only_b) / n, low, high, n, reason=reason)


def mostly(hits: Array) -> Ruled:
    """Whether something happens to more than half of the inputs; contradicted: to fewer.

    The exact binomial test, at 2.5 % either way; the interval is Wilson's.

    Args:
        hits: whether it happens, (sample,).
    """
    hits = np.asarray(hits, dtype=bool)
    n, k = len(hits), int(hits.sum())
    if n < FEWEST:
        return _nothing(hits, f"{n} inputs, fewer than {FEWEST}")
    share = proportion(k, n, level=1 - 2 * TAIL)
    verdict: Ruling = "inconclusive"
    if stats.binom.sf(k - 1, n, 0.5) < TAIL:
        verdict = "supported"
    elif stats.binom.cdf(k, n, 0.5) < TAIL:
        verdict = "contradicted"
    return Ruled(verdict, k / n, share.low, share.high, n, reason=f"{k} of {n} inputs")


def gets_around(adaptive: Array, regular: Array) -> Ruled:
    """Whether a defence falls to the attack that is made for it.

    Supported if that attack fools most inputs (:func:`mostly`), and more than the regular attack
    does, or if that one fools most of them already; contradicted if it fools fewer than half.

    Args:
        adaptive: what it fools, (sample,).
        regular: what the regular attack fools, of the same inputs.
    """
    told, plain = mostly(adaptive), mostly(regular)
    if told.verdict != "supported":
        reason = told.reason
        if told.verdict == "contradicted":
            reason = f"not vulnerable at this budget: even the adaptive attack fools {reason}"
        return replace(told, reason=reason)
    if plain.verdict == "supported":
        reason = f"even the regular attack fools {plain.reason}, the adaptive one {told.reason}"
        return replace(told, reason=reason)
    more = more_often(adaptive, regular)
    if more.verdict == "supported":
        return replace(told, reason=f"the adaptive attack alone fools more: {more.reason}")
    reason = f"the adaptive attack does not clearly fool more than the regular one: {more.reason}"
    return replace(told, verdict="inconclusive", reason=reason)


def _sided(value: float, low: float, high: float, n: int, size: float) -> Ruled:
    if low > size:
        return Ruled("supported", value, low, high, n, reason=f"the interval lies above {size:g}")
    if high < 0:
        return Ruled("contradicted", value, low, high, n, reason="the interval lies below 0")
    reason = f"the interval holds values both below {size:g} and above 0"
    return Ruled("inconclusive", value, low, high, n, reason=reason)


def _silent(x: Array, fewest: int = FEWEST) -> str:
    """Why nothing can be said of these differences; empty where something can."""
    if len(x) < fewest:
        return f"{len(x)} inputs, fewer than {fewest}"
    if not np.isfinite(x).all():
        return "too few inputs of a kind, or missing values"
    return "" if np.ptp(x) > 0 else "all inputs differ by the same, so there is no interval"


def _nothing(x: Array, reason: str) -> Ruled:
    return Ruled("inconclusive", float("nan"), -np.inf, np.inf, len(x), reason=reason)


def standardised(x: Array) -> Array:
    """d_z of each column: its mean in units of its standard deviation, 0 where nothing varies."""
    mean, sd = x.mean(axis=0), x.std(axis=0, ddof=1)
    d: Array = np.divide(mean, sd, out=np.zeros_like(mean), where=sd > 0)
    return d


def _above(t: Any, df: int, border: Any) -> Any:
    """P(T ≥ t) of the noncentral t distribution.

    From 100 degrees of freedom on, and far from the middle, by the normal approximation (Abramowitz
    and Stegun 26.7.10): there the distribution's own code fails or takes long.
    """
    z = np.asarray((t * (1 - 1 / (4 * df)) - border) / np.sqrt(1 + np.square(t) / (2 * df)))
    p = np.asarray(special.ndtr(-z))
    if df >= 100:
        return p
    middle = np.abs(z) < 5
    return np.where(middle, 1 - special.nctdtr(df, np.where(middle, border, t), t), p)


def _effect(x: Array) -> tuple[float, float, float]:
    """d_z with its 95 % interval."""
    n, d = len(x), float(standardised(x))
    return d, _end(d, n, TAIL), _end(d, n, 1 - TAIL)


def _end(d: float, n: int, tail: float) -> float:
    """The effect under which one at least as large as ``d`` has this probability."""
    root = np.sqrt(n)
    reach = 1 + 12 / root + 2 * abs(d)
    gap = partial(_gap, d * root, n - 1, root, tail)
    return float(optimize.brentq(gap, d - reach, d + reach, xtol=1e-6))


def _gap(t: float, df: int, root: float, tail: float, effect: float) -> float:
    return float(_above(t, df, effect * root)) - tail


def _all_inside(x: Array, size: float, *, positive: bool) -> bool:
    """Whether every column is inside ±``size``: two one-sided tests at 5 % each, no correction.

    With ``positive`` whether every column is below ``size``.
    """
    n = len(x)
    t = standardised(x) * np.sqrt(n)
    border = size * np.sqrt(n)
    below, above = 1 - _above(t, n - 1, border), _above(t, n - 1, -border)
    return bool(((below if positive else np.maximum(below, above)) < 2 * TAIL).all())


def _newcombe(both: int, only_a: int, only_b: int, n: int) -> tuple[float, float]:
    of_a, of_b = (proportion(both + only, n, level=1 - 2 * TAIL) for only in (only_a, only_b))
    (pa, la, ha), (pb, lb, hb) = ((x.value, x.low, x.high) for x in (of_a, of_b))
    neither = n - both - only_a - only_b
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    cross = float(both * neither - only_a * only_b)
    cross = max(cross - n / 2, 0.0) if cross > 0 else cross
    phi = cross / np.sqrt(margins) if margins else 0.0
    down = np.sqrt(max((pa - la) ** 2 - 2 * phi * (pa - la) * (hb - pb) + (hb - pb) ** 2, 0))
    up = np.sqrt(max((ha - pa) ** 2 - 2 * phi * (ha - pa) * (pb - lb) + (pb - lb) ** 2, 0))
    return pa - pb - float(down), pa - pb + float(up)
