"""The A/A test on real profiles, and that it can fail."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from undertow.errors import BadInput
from undertow.measuring.aa import false_positives, rejections


def test_benign_against_benign_rejects_at_the_nominal_rate() -> None:
    found = false_positives(comparisons=200, inputs=30)
    assert [f.profile for f in found] == ["iip", "oip", "ioc"]
    for f in found:
        assert f.as_nominal, f


def test_rejections_are_nominal_for_noise_and_not_for_a_shift() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(400, 8))
    hits = rejections(noise, comparisons=300, inputs=40, rng=rng)
    assert stats.binomtest(hits, 300, 0.05).pvalue > 0.001
    # Were the level ignored, half of these would be rejected.
    assert rejections(noise, comparisons=300, inputs=40, rng=rng, level=0.5) > 2 * hits


def test_too_few_inputs_are_refused() -> None:
    with pytest.raises(BadInput, match="need 80 inputs, got 10"):
        rejections(np.zeros((10, 2)), comparisons=1, inputs=40, rng=np.random.default_rng(0))
