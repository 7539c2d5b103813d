"""Rules of verdicts: closed forms, error rates at the border of each hypothesis, invariances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from undertow.statistics.simulated import RULES, error_rates
from undertow.statistics.verdicts import (
    DRASTIC,
    EXISTS,
    FEWEST,
    _above,
    _effect,
    beyond,
    exists,
    more_often,
)

RNG = np.random.default_rng


def test_no_rule_supports_what_is_false_in_more_than_five_percent() -> None:
    """At the border and at no effect; 40 runs a line."""
    runs = 40
    lines = error_rates(sizes=(32,), runs=runs)
    assert {line.rule for line in lines} == set(RULES)
    most = stats.binom.ppf(1 - 1e-3, runs, 0.05) / runs
    wrong = [line for line in lines if not line.truth and line.supported > most]
    assert wrong == []
    strong = [x for x in lines if x.truth and x.effect == max(RULES[x.rule].effects)]
    assert max(line.contradicted for line in strong) == 0


@pytest.mark.parametrize("name", RULES)
def test_every_rule_sees_a_large_effect(name: str) -> None:
    rule = RULES[name]
    said = [rule.draw(RNG(k), "normal", 300, max(rule.effects)).verdict for k in range(8)]
    assert said.count("supported") >= 7


@pytest.mark.parametrize("df", [11, 31, 99, 100, 999])
@pytest.mark.parametrize("border", [-3.0, 0.0, 2.0, 6.0])
def test_the_noncentral_tail(df: int, border: float) -> None:
    """Against the defining integral: T = (Z + border) / sqrt(chi2 / df)."""
    for t in (border - 2, border, border + 2):
        grid = (np.arange(4000) + 0.5) / 4000
        scale = np.sqrt(stats.chi2.ppf(grid, df) / df)
        truth = stats.norm.sf(t * scale - border).mean()
        assert _above(t, df, border) == pytest.approx(truth, abs=2e-3)


def test_far_tails_are_numbers() -> None:
    assert _above(0.0, 999, 25.3) == pytest.approx(1.0)
    assert _above(0.0, 31, -25.3) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("d", [-1.0, 0.0, 0.3, 2.0])
@pytest.mark.parametrize("n", [12, 40, 500])
def test_the_interval_covers(d: float, n: int) -> None:
    rng = RNG(5)
    hits = 0
    for _ in range(300):
        _, low, high = _effect(rng.normal(size=n) + d)
        hits += low <= d <= high
    assert stats.binom.cdf(hits, 300, 0.95) > 1e-4
    assert stats.binom.sf(hits - 1, 300, 0.95) > 1e-4


def test_what_says_nothing() -> None:
    for x in (np.arange(5.0), np.ones(40), np.array([np.nan, *range(20)])):
        said = beyond(x)
        assert (said.verdict, bool(said.reason)) == ("inconclusive", True)
    few = exists(RNG(0).normal(size=(FEWEST - 1, 4)) + 9)
    assert (few.verdict, few.reason) == ("inconclusive", "11 inputs, fewer than 12")
    assert exists(np.ones((40, 3))).verdict == "inconclusive"
    assert more_often(np.ones(5), np.zeros(5)).verdict == "inconclusive"


def test_one_trajectory_supports_nothing() -> None:
    assert beyond(np.array([1.0])).verdict == "inconclusive"


def test_not_significant_is_not_contradicted() -> None:
    """n = 32 and a true effect of 0.4: in no run is it contradicted."""
    rng = RNG(1)
    said = [exists(rng.normal(size=(32, 8)) + 0.4).verdict for _ in range(100)]
    assert said.count("contradicted") == 0


def test_equivalence_contradicts_existence() -> None:
    rng = RNG(2)
    assert exists(rng.normal(size=(2000, 8))).verdict == "contradicted"
    assert exists(rng.normal(size=(2000, 8)) + np.eye(8)[7] / 2).verdict == "supported"
    assert exists(rng.normal(size=(100, 3)) + 0.1, DRASTIC).verdict == "contradicted"


@given(st.integers(0, 10**6), st.floats(0.01, 100), st.permutations(range(5)))
def test_units_signs_and_the_order_of_taps_change_no_verdict(
    seed: int, unit: float, order: list[int]
) -> None:
    x = RNG(seed).normal(size=(40, 5)) + RNG(seed + 1).normal(size=5) / 2
    said = exists(x)
    other = exists(-unit * x[:, order])
    assert other.verdict == said.verdict
    assert said.column is not None
    assert other.column == order.index(said.column)
    assert other.value == pytest.approx(-said.value)
    assert (other.low, other.high) == pytest.approx((-said.high, -said.low))


def test_more_often_is_the_exact_test_of_mcnemar() -> None:
    a = np.array([True] * 10 + [False] * 30)
    b = np.array([False] * 9 + [True] + [False] * 30)
    said = more_often(a, b)
    p = stats.binomtest(9, 9, 0.5, alternative="greater").pvalue
    assert (said.verdict == "supported") == (p < 0.025)
    assert said.value == pytest.approx(9 / 40)
    assert more_often(b, a).verdict == "contradicted"
    assert more_often(a, a).verdict == "inconclusive"
    # Newcombe 1998, table II, example (a): 36, 12, 2, 0 of 50.
    x = np.array([1] * 36 + [1] * 12 + [0] * 2, dtype=bool)
    y = np.array([1] * 36 + [0] * 12 + [1] * 2, dtype=bool)
    found = more_often(x, y)
    assert (found.low, found.high) == pytest.approx((0.0569, 0.3404), abs=2e-3)


def test_existence_is_told_of_other_inputs_than_it_was_chosen_on() -> None:
    """A tap that stands out among the choosing half alone says nothing of the other half."""
    x = np.zeros((60, 2))
    x[::2, 0] = 5 + RNG(0).normal(size=30)
    x[1::2, 0] = RNG(1).normal(size=30)
    x[:, 1] = RNG(2).normal(size=60)
    said = exists(x)
    assert said.column == 0
    assert said.verdict == "inconclusive"
    assert said.low < EXISTS < 5
