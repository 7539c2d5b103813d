from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from undertow.viewer.difference import difference

DEPTH = np.array([0.1, 0.5, 1.0])


def rows(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (n, 3))


def test_paired_by_index_whatever_the_order() -> None:
    a = rows(20, 0)
    order = np.random.default_rng(1).permutation(20)
    b = (a - [1.0, 2.0, 3.0])[order]
    found = difference((a, DEPTH, np.arange(20)), (b, DEPTH, order), same_data=True)
    assert found is not None
    assert found.paired
    assert found.n == 20
    np.testing.assert_allclose(found.mean, [1, 2, 3])
    np.testing.assert_allclose(found.high - found.low, 0, atol=1e-12)


def test_the_interval_is_students() -> None:
    a, b = rows(12, 0, 0.3), rows(12, 1)
    found = difference((a, DEPTH, np.arange(12)), (b, DEPTH, np.arange(12)), same_data=True)
    assert found is not None
    for k in range(3):
        reach = stats.ttest_rel(a[:, k], b[:, k]).confidence_interval(0.95)
        np.testing.assert_allclose([found.low[k], found.high[k]], [reach.low, reach.high])
    np.testing.assert_allclose(found.effect, (a - b).mean(0) / (a - b).std(0, ddof=1))


def test_only_common_inputs_are_paired() -> None:
    a, b = rows(10, 0), rows(10, 1)
    found = difference((a, DEPTH, np.arange(10)), (b, DEPTH, np.arange(6, 16)), same_data=True)
    assert found is not None
    assert found.n == 4
    np.testing.assert_allclose(found.mean, (a[6:] - b[:4]).mean(0))


@pytest.mark.parametrize("same", [True, False])
def test_different_inputs_are_compared_as_welch_did(same: bool) -> None:
    a, b = rows(15, 0, 0.5), rows(9, 1)
    there = np.arange(100, 109) if same else np.arange(9)
    found = difference((a, DEPTH, np.arange(15)), (b, DEPTH, there), same_data=same)
    assert found is not None
    assert not found.paired
    for k in range(3):
        reach = stats.ttest_ind(a[:, k], b[:, k], equal_var=False).confidence_interval(0.95)
        np.testing.assert_allclose([found.low[k], found.high[k]], [reach.low, reach.high])


def test_other_taps_meet_on_a_common_depth() -> None:
    """Profiles that are straight lines over depth differ by a straight line at every depth."""
    other = np.linspace(0.2, 0.9, 6)
    a = np.outer(np.ones(4), 2 * DEPTH)
    b = np.outer(np.ones(4), other)
    found = difference((a, DEPTH, np.arange(4)), (b, other, np.arange(4)), same_data=True)
    assert found is not None
    assert found.depth.min() >= 0.2
    assert found.depth.max() <= 0.9
    np.testing.assert_allclose(found.mean, found.depth, atol=1e-12)


def test_a_cell_differs_from_itself_by_nothing() -> None:
    a = (rows(8, 3), DEPTH, np.arange(8))
    found = difference(a, a, same_data=True)
    assert found is not None
    assert not found.mean.any()
    assert not found.effect.any()


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    draw, inside, n = np.random.default_rng(0), 0, 600
    for _ in range(n):
        a, b = draw.normal(0.4, 1, (10, 1)), draw.normal(0, 2, (14, 1))
        found = difference((a, DEPTH[:1], None), (b, DEPTH[:1], None), same_data=False)
        assert found is not None
        inside += int(found.low[0] <= 0.4 <= found.high[0])
    assert abs(inside / n - 0.95) < 3.5 * np.sqrt(0.95 * 0.05 / n)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_inputs_give_nothing(n: int) -> None:
    one = (rows(n, 0), DEPTH, np.arange(n))
    assert difference(one, (rows(5, 1), DEPTH, np.arange(5)), same_data=False) is None
