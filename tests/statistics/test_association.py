"""Trends, partial correlation and gains of AUC against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from undertow.statistics.association import Pair, auc, gain, partial_correlation, scored, trend
from undertow.statistics.verdicts import pseudo_values, share_beyond

RNG = np.random.default_rng


def test_a_trend_is_spearmans_correlation() -> None:
    walks = RNG(0).normal(size=(5, 12)).round(1)
    for walk, found in zip(walks, trend(walks), strict=True):
        assert found == pytest.approx(stats.spearmanr(np.arange(12), walk).statistic)
    assert trend(np.ones(5)) == 0
    assert trend(np.arange(7.0)) == pytest.approx(1)
    assert trend(-np.arange(7.0)) == pytest.approx(-1)


def test_the_auc_is_the_chance_of_the_right_order() -> None:
    rng = RNG(1)
    hit, score = rng.random(40) < 0.4, rng.normal(size=40).round(1)
    wins = [(a > b) + (a == b) / 2 for a in score[hit] for b in score[~hit]]
    assert auc(hit, score) == pytest.approx(np.mean(wins))


def _pair(seed: int, n: int = 400, own: float = 0.0) -> Pair:
    rng = RNG(seed)
    known = rng.normal(size=n)
    hit = known + rng.normal(size=n) > 0
    added = known + own * hit + rng.normal(size=n)
    return Pair(hit, known, added[:, None], rng.random(n) < 0.9)


def test_partial_correlation_is_that_of_residuals() -> None:
    pair = _pair(2)
    rows = np.flatnonzero(pair.used)
    x, y, z = pair.hit[rows].astype(float), pair.added[rows, 0], pair.known[rows]
    left = [v - np.polyval(np.polyfit(z, v, 1), z) for v in (x, y)]
    found = partial_correlation([pair], np.arange(400))
    assert found == pytest.approx(np.corrcoef(*left)[0, 1])


def test_what_is_known_anyway_is_taken_off() -> None:
    """Feature and hit that go together through the margin alone."""
    nothing = [partial_correlation([_pair(seed)], np.arange(400)) for seed in range(40)]
    assert abs(np.mean(nothing)) < 3 * np.std(nothing) / 40**0.5
    raw = np.corrcoef(_pair(0).hit, _pair(0).added[:, 0])[0, 1]
    assert raw > 0.3
    assert partial_correlation([_pair(3, own=2.0)], np.arange(400)) > 0.4


def test_a_feature_of_noise_gains_nothing_and_one_that_tells_does() -> None:
    gains = [gain(scored([_pair(seed)], 400), np.arange(400)) for seed in range(20)]
    assert np.mean(gains) < 0.005
    assert gain(scored([_pair(3, own=3.0)], 400), np.arange(400)) > 0.05


def test_rare_kinds_say_nothing() -> None:
    pair = Pair(np.arange(50) < 3, np.arange(50.0), RNG(0).normal(size=(50, 1)), np.ones(50, bool))
    assert np.isnan(partial_correlation([pair], np.arange(50)))
    assert scored([pair], 50) == ()
    assert np.isnan(gain((), np.arange(50)))
    assert share_beyond(np.full(20, np.nan), 0.1).verdict == "inconclusive"


def test_pseudo_values_of_a_mean_are_the_values() -> None:
    """Of a mean they are the observations themselves, Tukey's own example."""
    x = RNG(4).normal(size=30)
    np.testing.assert_allclose(pseudo_values(lambda rows: x[rows].mean(), 30), x)
    grouped = pseudo_values(lambda rows: x[rows].mean(), 30, groups=10)
    np.testing.assert_allclose(grouped, x.reshape(3, 10).mean(axis=0))


@pytest.mark.parametrize("n", [20, 400])
def test_the_jackknife_interval_covers_a_correlation(n: int) -> None:
    hits, runs = 0, 200
    rng = RNG(7)
    for _ in range(runs):
        x, y = rng.normal(size=(2, n))
        y = 0.5 * x + np.sqrt(0.75) * y
        told = share_beyond(
            pseudo_values(lambda r, x=x, y=y: np.corrcoef(x[r], y[r])[0, 1], n), 0.0
        )
        hits += told.low <= 0.5 <= told.high
    assert hits / runs > 0.88
