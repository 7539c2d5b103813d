"""Differences in single numbers, paired by input: the common step of several questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from undertow.errors import BadInput
from undertow.statistics.effects import Interval, bootstrap, compare, proportion
from undertow.store import Control, Number
from undertow.store.answers import Verdict
from undertow.studies.answered.questions.verdicts import agree, effect, number, sided
from undertow.studies.answered.results import Results

__all__ = [
    "Shift",
    "as_control",
    "means",
    "paired",
    "percent",
    "rate",
    "resampled",
    "show",
    "under_all",
]

Array = NDArray[np.float64]
FEWEST = 3
"""Pairs without which nothing is said."""


@dataclass(frozen=True, slots=True)
class Shift:
    """A paired difference under one estimator.

    Args:
        d_z: the standardised effect with its interval.
        mean: the mean difference with its interval.
        verdict: on which side of zero the mean lies.
    """

    d_z: Number
    mean: Interval
    verdict: Verdict


def paired(
    name: str, difference: Array, rng: np.random.Generator, *, least: float = 0.0
) -> Shift | None:
    """What a paired difference, (sample,), comes to; ``None`` for too few pairs.

    Below the size ``least`` of the standardised effect the verdict is inconclusive.
    """
    if len(difference) < FEWEST:
        return None
    found = compare(difference[:, None], np.zeros((len(difference), 1)), rng=rng)
    mean = Interval(float(found.mean[0]), float(found.low[0]), float(found.high[0]))
    large = abs(float(found.d_z[0])) >= least
    return Shift(effect(name, found, 0), mean, sided(mean) if large else "inconclusive")


def under_all(
    results: Results,
    name: str,
    difference: Callable[[Results], Array],
    rng: np.random.Generator,
    *,
    least: float = 0.0,
) -> tuple[Verdict, tuple[Number, ...]]:
    """The verdict that holds under every estimator of the study, and each one's effect.

    Raises:
        BadInput: for too few pairs.
    """
    found = []
    for estimator in results.estimators:
        values = difference(results.under(estimator))
        shift = paired(f"{name}, {estimator}", values, rng, least=least)
        if shift is None:
            raise BadInput(f"{name}: {len(values)} pairs of inputs, {FEWEST} are needed")
        found.append(shift)
    return agree(s.verdict for s in found), tuple(s.d_z for s in found)


def as_control(text: str, name: str, difference: Array, rng: np.random.Generator) -> Control | None:
    """The same difference between the noise controls; ``None`` for too few pairs.

    Args:
        text: what it says, with ``{}`` for the effect.
        name: of the number.
        difference: of the controls, (sample,).
        rng: for the interval.
    """
    shift = paired(name, difference, rng)
    if shift is None:
        return None
    return Control(sentence=text.format(show(shift.d_z) + " d_z"), numbers=(shift.d_z,))


def rate(name: str, hits: NDArray[np.bool_]) -> Number:
    """A share of inputs with Wilson's interval."""
    return number(name, proportion(int(hits.sum()), len(hits)), unit="share", n=len(hits))


def resampled(
    statistic: Callable[[NDArray[np.int64]], float], n: int, rng: np.random.Generator
) -> Interval:
    """A statistic of inputs with its percentile bootstrap interval.

    Args:
        statistic: of rows, which may repeat; NaN where it is not defined.
        n: number of inputs.
        rng: for the resamples.
    """
    draws = np.array([statistic(rng.integers(0, n, n)) for _ in range(1000)])
    draws = draws[np.isfinite(draws)]
    value = statistic(np.arange(n))
    if len(draws) == 0 or not np.isfinite(value):
        return Interval(float("nan"), -np.inf, np.inf)
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(float(value), float(low), float(high))


def means(values: Mapping[str, Array], unit: str, rng: np.random.Generator) -> tuple[Number, ...]:
    """The mean of each named array, (sample,), with its interval."""
    return tuple(
        number(name, bootstrap(x, rng=rng), unit=unit, n=len(x)) for name, x in values.items()
    )


def show(x: Number) -> str:
    """``+0.52 [0.31, 0.74]``."""
    if x.value is None:
        return "unknown"
    return f"{x.value:+.2f} [{x.low:.2f}, {x.high:.2f}]"


def percent(x: Number) -> str:
    """``12 % [8, 17]``."""
    if x.value is None:
        return "unknown"
    return f"{100 * x.value:.0f} % [{100 * (x.low or 0):.0f}, {100 * (x.high or 0):.0f}]"
