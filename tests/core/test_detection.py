"""The benchmark of detectors: its measures against scikit-learn's, and on planted scores."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.detection.judged import Scores, area, fitted, intervals
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(2, 40))
def test_the_area_is_scikit_learns_ties_included(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    benign, other = rng.integers(0, 6, n).astype(float), rng.integers(2, 8, m).astype(float)
    y = np.repeat([0, 1], [n, m])
    assert area(benign, other) == pytest.approx(roc_auc_score(y, np.concatenate([benign, other])))


def _scores(shift: float, seed: int = 0) -> Scores:
    """Two attacks; what is fitted on one sees the other by ``shift`` standard deviations."""
    rng = np.random.default_rng(seed)
    draw = rng.normal(size=(7, 400))
    return Scores(
        benign={"a": draw[0], "b": draw[1]},
        noise={"a": draw[2], "b": draw[2]},
        adversarial={
            ("a", "a"): draw[3] + 3, ("a", "b"): draw[4] + shift,
            ("b", "a"): draw[5] + shift, ("b", "b"): draw[6] + 3,
        },
    )  # fmt: skip


def test_only_unseen_attacks_count_and_failed_ones_do_not() -> None:
    blind = _scores(0.0)
    assert blind.unseen() == pytest.approx(0.5, abs=0.04)
    assert blind.matrix()["a", "a"] > 0.95
    rate, alarms = blind.rates()
    assert rate == pytest.approx(0.05, abs=0.03)
    assert alarms == pytest.approx(0.05, abs=0.03)
    seeing = _scores(2.0)
    seeing.adversarial["a", "b"][:200] = np.nan
    assert seeing.unseen() > 0.9


def test_intervals_hold_the_difference_from_the_reference() -> None:
    told = intervals({"baselines": _scores(0.5), "more": _scores(1.5, seed=1)}, "baselines", 0)
    assert told["baselines"]["gain"] == 0
    assert told["more"]["gain interval"][0] > 0.1
    assert told["more"]["interval"][0] < told["more"]["auroc"] < told["more"]["interval"][1]


def test_a_detector_finds_what_is_there_and_nothing_where_there_is_none() -> None:
    rng = np.random.default_rng(0)
    benign, other = rng.normal(size=(200, 3)), rng.normal(size=(200, 3))
    other[:, 1] += 2
    detector = fitted(benign, other, 0)
    calm, new = rng.normal(size=(200, 3)), rng.normal(size=(200, 3))
    new[:, 1] += 2
    calm, unseen = (detector.predict_proba(x)[:, 1] for x in (calm, new))
    assert area(calm, unseen) > 0.85
    none = fitted(benign, rng.normal(size=(200, 3)), 0)
    scores = [none.predict_proba(rng.normal(size=(400, 3)))[:, 1] for _ in range(2)]
    assert area(*scores) == pytest.approx(0.5, abs=0.08)
