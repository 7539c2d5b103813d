"""The A/A test: where nothing differs, the study's own comparison must say so.

Two disjoint sets of benign inputs are compared exactly as the study compares benign with
adversarial inputs, many times; the share of rejections is to be the nominal one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from undertow.axes import PROFILES
from undertow.data import load_data
from undertow.errors import BadInput
from undertow.measuring.measure import measure
from undertow.models import MODELS, load_model
from undertow.progress import SILENT, Progress
from undertow.seeds import derive
from undertow.statistics.effects import compare, proportion

__all__ = ["FalsePositives", "false_positives", "rejections"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FalsePositives:
    """How often one profile of two benign sets was said to differ at some tap.

    Args:
        profile: ``iip``, ``oip`` or ``ioc``.
        comparisons: how many pairs of sets.
        inputs: in each set.
        rejected: how many comparisons rejected at some tap.
        rate: their share.
        low: lower end of its 95 % interval.
        high: upper end.
        nominal: the level at which they were to reject.
        as_nominal: whether an exact binomial test keeps the nominal level (p ≥ 0.01).
    """

    profile: str
    comparisons: int
    inputs: int
    rejected: int
    rate: float
    low: float
    high: float
    nominal: float
    as_nominal: bool


def rejections(
    profiles: Array, *, comparisons: int, inputs: int, rng: np.random.Generator, level: float = 0.05
) -> int:
    """How many of ``comparisons`` random pairs of disjoint sets differ at some tap.

    Args:
        profiles: benign inputs, (sample, tap).
        comparisons: pairs of sets.
        inputs: in each set.
        rng: draws the sets.
        level: the false discovery rate; with nothing to discover, the rate of any rejection.

    Raises:
        BadInput: if there are fewer than two sets' worth of inputs.
    """
    if len(profiles) < 2 * inputs:
        raise BadInput(f"two sets of {inputs} need {2 * inputs} inputs, got {len(profiles)}")
    rejected = 0
    for _ in range(comparisons):
        drawn = rng.permutation(len(profiles))[: 2 * inputs]
        found = compare(profiles[drawn[:inputs]], profiles[drawn[inputs:]], rng=rng, resamples=2)
        rejected += bool(found.significant(level).any())
    return rejected


def false_positives(
    *,
    model: str = "digits_cnn",
    comparisons: int = 200,
    inputs: int = 50,
    seed: int = 0,
    level: float = 0.05,
    progress: Progress = SILENT,
) -> list[FalsePositives]:
    """Run the A/A test on a shipped model and the test split of its data set.

    Args:
        model: a name in the zoo.
        comparisons: pairs of disjoint sets.
        inputs: in each set.
        seed: of inputs and sets.
        level: the nominal level.
        progress: told about measuring.
    """
    data = load_data(MODELS[model].data, "test", progress=progress)
    rng = np.random.default_rng(derive(seed, "aa", model))
    rows = np.sort(rng.permutation(len(data))[: 6 * inputs])
    found = measure(load_model(model), data[rows][0], progress=progress)
    table = _spatial({p: found[p].values.astype(np.float64) for p in PROFILES})
    out = []
    for name, profiles in table.items():
        hits = rejections(profiles, comparisons=comparisons, inputs=inputs, rng=rng, level=level)
        rate = proportion(hits, comparisons)
        fair = stats.binomtest(hits, comparisons, level).pvalue >= 0.01
        out.append(
            FalsePositives(
                profile=name, comparisons=comparisons, inputs=inputs, rejected=hits,
                rate=rate.value, low=rate.low, high=rate.high, nominal=level,
                as_nominal=bool(fair),
            )
        )  # fmt: skip
    return out


def _spatial(table: Mapping[str, Array]) -> dict[str, Array]:
    """Only taps that have IPs."""
    return {name: values[:, np.isfinite(values).all(axis=0)] for name, values in table.items()}
