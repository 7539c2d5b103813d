"""Comparisons against textbook formulas, coverage by simulation, and invariances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from scipy import stats

from undertow.errors import BadInput
from undertow.statistics.effects import adjust, bootstrap, compare, proportion, unpaired


def test_compare_agrees_with_scipy_and_the_definition() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.3, 1, (40, 6)), rng.normal(0, 1, (40, 6))
    found = compare(a, b, rng=rng)
    t = stats.ttest_rel(a, b)
    difference = a - b
    np.testing.assert_allclose(found.p, stats.false_discovery_control(t.pvalue))
    np.testing.assert_allclose(found.d_z, difference.mean(0) / difference.std(0, ddof=1))
    assert found.n == 40
    assert (found.low < found.mean).all()
    assert (found.mean < found.high).all()


def test_bootstrap_moments_equal_resampling_by_hand() -> None:
    from undertow.statistics.effects import _resampled_moments

    x = np.random.default_rng(1).normal(5, 2, (12, 3))
    means, sds = _resampled_moments(x, np.random.default_rng(7), 5)
    counts = np.random.default_rng(7).multinomial(12, np.full(12, 1 / 12), size=5)
    for row, mean, sd in zip(counts, means, sds, strict=True):
        resample = np.repeat(x, row, axis=0)
        np.testing.assert_allclose(mean, resample.mean(0))
        np.testing.assert_allclose(sd, resample.std(0, ddof=1))


def test_intervals_cover_at_their_level() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        a = rng.normal(0.5, 1, (50, 1))
        found = compare(a, np.zeros_like(a), rng=rng, resamples=400)
        hits += int(found.low[0] <= 0.5 <= found.high[0])
    assert stats.binomtest(hits, 300, 0.95).pvalue > 0.001 or hits / 300 > 0.9


def test_no_difference_is_effect_zero_and_a_constant_one_is_not() -> None:
    a = np.ones((5, 2))
    found = compare(a, np.stack([np.ones(5), np.zeros(5)], axis=1), rng=np.random.default_rng(0))
    assert found.d_z[0] == 0
    assert found.p[0] == pytest.approx(1)
    assert np.isinf(found.d_z[1])
    assert found.p[1] < 1e-6


def test_no_effect_is_found_where_there_is_none() -> None:
    rng = np.random.default_rng(3)
    rejected = sum(
        bool(compare(rng.normal(size=(40, 9)), rng.normal(size=(40, 9)), rng=rng, resamples=10)
             .significant().any())
        for _ in range(400)
    )  # fmt: skip
    assert stats.binomtest(rejected, 400, 0.05).pvalue > 0.001


def test_unpaired_agrees_with_welch() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(0.4, 1, (30, 4)), rng.normal(0, 2, (50, 4))
    _, p = unpaired(a, b)
    np.testing.assert_allclose(p, adjust(stats.ttest_ind(a, b, equal_var=False).pvalue))


@given(st.integers(0, 30), st.integers(1, 30))
def test_proportions_stay_in_their_interval(successes: int, n: int) -> None:
    found = proportion(min(successes, n), n)
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1


def test_bootstrap_of_a_constant_has_no_width() -> None:
    found = bootstrap(np.full(7, 0.25), rng=np.random.default_rng(0))
    assert (found.low, found.value, found.high) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (np.zeros((3, 2)), np.zeros((3, 3)), "one shape|Expected type"),
        (np.zeros((1, 2)), np.zeros((1, 2)), "2 inputs"),
        (np.full((3, 2), np.nan), np.zeros((3, 2)), "missing"),
    ],
)
def test_bad_input_is_named(a: np.ndarray, b: np.ndarray, words: str) -> None:
    with pytest.raises((BadInput, TypeCheckError), match=words):
        compare(a, b, rng=np.random.default_rng(0))
