"""Rules that turn paired differences into verdicts, with error rates that are known.

Every rule takes arrays and gives a verdict with the numbers it rests on. *Supported* means that an
interval lies beyond the smallest effect that matters; *contradicted* that it lies beyond zero on
the other side or, where something is claimed to exist, wholly inside that smallest effect, at every
tap (two one-sided tests, Schuirmann 1987). What is merely not significant is *inconclusive*. Fewer
than :data:`FEWEST` inputs, and intervals of no width, say nothing. :func:`error_rates` simulates
each rule at the border of its hypothesis and beyond it.

Effects are d_z, the mean paired difference in units of its standard deviation; their intervals
invert the noncentral t distribution (Cumming and Finch 2001, equation 10).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import optimize, special, stats

from undertow.errors import BadInput

__all__ = [
    "DRASTIC",
    "EXISTS",
    "FEWEST",
    "RULES",
    "ErrorRate",
    "Ruled",
    "Ruling",
    "beyond",
    "error_rates",
    "exists",
    "more_often",
]

Ruling: TypeAlias = Literal["supported", "contradicted", "inconclusive"]
Array = NDArray[Any]

FEWEST = 12
"""Inputs or trajectories below which nothing is said."""
EXISTS, DRASTIC = 0.2, 0.8
"""The smallest |d_z| that matters where an effect is claimed to exist, or to be drastic."""
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
        reason: why nothing can be said, where that is so.
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
    verdict: Ruling = "inconclusive"
    if low > size:
        verdict = "supported"
    elif high < 0:
        verdict = "contradicted"
    return Ruled(verdict, d, low, high, len(x))


def exists(x: Float[np.ndarray, "sample column"], size: float = EXISTS) -> Ruled:
    """Whether some column differs from 0 by more than ``size`` in |d_z|, either way.

    The strongest column, and its sign, are chosen on every other input and told of the rest.
    Contradicted if all inputs together show every column inside ±``size``.

    Args:
        x: one difference an input and column (tap, or tap × profile).
        size: the smallest effect that matters.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] == 0:
        raise BadInput(f"differences are (sample, column), got {x.shape}")
    choosing, telling = x[::2], x[1::2]
    if len(telling) < FEWEST // 2 or len(x) < FEWEST:
        return _nothing(x[:, 0], f"{len(x)} inputs, fewer than {FEWEST}")
    d = _standardised(choosing)
    column = int(np.argmax(np.abs(d)))
    sign = 1.0 if d[column] >= 0 else -1.0
    told = sign * telling[:, column]
    if problem := _silent(told, fewest=FEWEST // 2):
        return _nothing(told, problem)
    value, low, high = _effect(told)
    verdict: Ruling = "inconclusive"
    if low > size:
        verdict = "supported"
    elif _all_inside(x, size):
        verdict = "contradicted"
    ends = sorted((sign * low, sign * high))
    return Ruled(verdict, sign * value, ends[0], ends[1], len(told), column)


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
    return Ruled(verdict, (only_a - only_b) / n, low, high, n)


def _silent(x: Array, fewest: int = FEWEST) -> str:
    """Why nothing can be said of these differences; empty where something can."""
    if len(x) < fewest:
        return f"{len(x)} inputs, fewer than {fewest}"
    if not np.isfinite(x).all():
        return "missing values"
    return "" if np.ptp(x) > 0 else "all inputs differ by the same, so there is no interval"


def _nothing(x: Array, reason: str) -> Ruled:
    return Ruled("inconclusive", float("nan"), -np.inf, np.inf, len(x), reason=reason)


def _standardised(x: Array) -> Array:
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
    n, d = len(x), float(_standardised(x))
    return d, _end(d, n, TAIL), _end(d, n, 1 - TAIL)


def _end(d: float, n: int, tail: float) -> float:
    """The effect under which one at least as large as ``d`` has this probability."""
    root = np.sqrt(n)
    reach = 1 + 12 / root + 2 * abs(d)
    gap = partial(_gap, d * root, n - 1, root, tail)
    return float(optimize.brentq(gap, d - reach, d + reach, xtol=1e-6))


def _gap(t: float, df: int, root: float, tail: float, effect: float) -> float:
    return float(_above(t, df, effect * root)) - tail


def _all_inside(x: Array, size: float) -> bool:
    """Whether every column is inside ±``size``: two one-sided tests at 5 % each, no correction."""
    n = len(x)
    t = _standardised(x) * np.sqrt(n)
    border = size * np.sqrt(n)
    below, above = 1 - _above(t, n - 1, border), _above(t, n - 1, -border)
    return bool((np.maximum(below, above) < 2 * TAIL).all())


def _wilson(k: int, n: int) -> tuple[float, float, float]:
    found = stats.binomtest(k, n).proportion_ci(1 - 2 * TAIL, method="wilson")
    return k / n, float(found.low), float(found.high)


def _newcombe(both: int, only_a: int, only_b: int, n: int) -> tuple[float, float]:
    (pa, la, ha), (pb, lb, hb) = _wilson(both + only_a, n), _wilson(both + only_b, n)
    neither = n - both - only_a - only_b
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    cross = float(both * neither - only_a * only_b)
    cross = max(cross - n / 2, 0.0) if cross > 0 else cross
    phi = cross / np.sqrt(margins) if margins else 0.0
    down = np.sqrt(max((pa - la) ** 2 - 2 * phi * (pa - la) * (hb - pb) + (hb - pb) ** 2, 0))
    up = np.sqrt(max((ha - pa) ** 2 - 2 * phi * (ha - pa) * (pb - lb) + (pb - lb) ** 2, 0))
    return pa - pb - float(down), pa - pb + float(up)


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """How often a rule says what, over simulated runs.

    Args:
        rule: its name.
        noise: how inputs vary: normal, heavy-tailed or skewed; taps go together.
        n: inputs a run.
        effect: what was planted: d_z, or the difference of shares.
        truth: whether the claim is then true.
        supported: share of runs.
        contradicted: share of runs.
        runs: how many.
    """

    rule: str
    noise: str
    n: int
    effect: float
    truth: bool
    supported: float
    contradicted: float
    runs: int


Draw: TypeAlias = Callable[[np.random.Generator, int, float], Ruled]
TAPS: Final = 8
NOISES: Final = ("normal", "heavy", "skewed")


def _varied(rng: np.random.Generator, noise: str, n: int, columns: int) -> Array:
    """Inputs of mean 0 and standard deviation 1 whose columns correlate by a half."""
    x: Array = (_drawn(rng, noise, (n, 1)) + _drawn(rng, noise, (n, columns))) / np.sqrt(2)
    return x


def _drawn(rng: np.random.Generator, noise: str, shape: tuple[int, ...]) -> Array:
    if noise == "heavy":
        return np.asarray(rng.standard_t(5, shape) / np.sqrt(5 / 3))
    return rng.standard_exponential(shape) - 1 if noise == "skewed" else rng.normal(size=shape)


def _one(size: float) -> Callable[[str], Draw]:
    def of(noise: str) -> Draw:
        return lambda rng, n, d: beyond(_varied(rng, noise, n, 1)[:, 0] + d, size)

    return of


def _some(size: float) -> Callable[[str], Draw]:
    def of(noise: str) -> Draw:
        return lambda rng, n, d: exists(_varied(rng, noise, n, TAPS) + d, size)

    return of


def _shares(noise: str) -> Draw:
    def draw(rng: np.random.Generator, n: int, gap: float) -> Ruled:
        common = rng.random(n) < 0.5
        a, b = (np.where(common, rng.random(n) < p, rng.random(n) < p) for p in (0.4 + gap, 0.4))
        return more_often(a, b)

    return draw


RULES: Final[Mapping[str, tuple[Callable[[str], Draw], float, tuple[float, ...]]]] = {
    "beyond": (_one(EXISTS), EXISTS, (0.0, EXISTS, 0.5, 0.8)),
    "exists": (_some(EXISTS), EXISTS, (0.0, EXISTS, 0.5, 0.8)),
    "drastic": (_some(DRASTIC), DRASTIC, (0.0, 0.4, DRASTIC, 1.2, 1.6)),
    "more often": (_shares, 0.0, (0.0, 0.2, 0.4)),
}
"""Each rule: how to draw a run and rule on it, the border of its hypothesis, effects to plant."""


def error_rates(
    *, sizes: tuple[int, ...] = (32, 1000), runs: int = 1000, seed: int = 0
) -> list[ErrorRate]:
    """Simulate every rule at the border of its hypothesis, at no effect, and beyond.

    A claim is false up to and at its border, so "supported" there is an error; beyond, it is power.

    Args:
        sizes: inputs a run.
        runs: simulated runs a line.
        seed: of all draws.
    """
    found = []
    for name, (of, border, effects) in RULES.items():
        for noise in NOISES if name != "more often" else NOISES[:1]:
            draw = of(noise)
            for n in sizes:
                for effect in effects:
                    rng = np.random.default_rng([seed, n, int(1000 * effect)])
                    said = [draw(rng, n, effect).verdict for _ in range(runs)]
                    yes, no = (said.count(word) / runs for word in ("supported", "contradicted"))
                    true = effect > border
                    found.append(ErrorRate(name, noise, n, effect, true, yes, no, runs))
    return found
