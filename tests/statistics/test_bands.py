"""The Gaussian-process band on synthetic profiles whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from undertow.errors import BadInput
from undertow.statistics.bands import aggregate

DEPTH = np.array([0.02, 0.15, 0.3, 0.42, 0.55, 0.68, 0.78, 0.9, 1.0])


def _truth(depth: np.ndarray) -> np.ndarray:
    return 0.18 * np.exp(-2.5 * depth) + 0.02 * np.sin(4 * depth)


def _flat(depth: np.ndarray) -> np.ndarray:
    return np.full_like(depth, 0.13)


@pytest.mark.parametrize("function", [_truth, _flat])
def test_the_band_covers_the_truth_at_its_level(function) -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(60):
        noise = rng.normal(0, 0.2, (50, len(DEPTH)))
        band = aggregate(function(DEPTH) + noise, DEPTH)
        truth = function(band.depth)
        covered.append(np.mean((band.low <= truth) & (truth <= band.high)))
    assert 0.88 <= np.mean(covered) <= 1.0


def test_the_band_narrows_as_inputs_are_added() -> None:
    rng = np.random.default_rng(1)
    widths = []
    for n in (20, 2000):
        band = aggregate(_truth(DEPTH) + rng.normal(0, 0.05, (n, len(DEPTH))), DEPTH)
        widths.append((band.high - band.low).mean())
    assert widths[1] < widths[0] / 4


def test_without_noise_the_curve_goes_through_the_taps() -> None:
    profiles = np.repeat(_truth(DEPTH)[None], 5, axis=0)
    band = aggregate(profiles, DEPTH, points=len(DEPTH))
    on_grid = np.interp(DEPTH, band.depth, band.mean)
    np.testing.assert_allclose(on_grid, _truth(DEPTH), atol=0.004)
    np.testing.assert_allclose(band.tap_mean, _truth(DEPTH))


def test_order_of_taps_and_inputs_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    profiles = _truth(DEPTH) + rng.normal(0, 0.03, (30, len(DEPTH)))
    order, rows = rng.permutation(len(DEPTH)), rng.permutation(30)
    one, other = aggregate(profiles, DEPTH), aggregate(profiles[rows][:, order], DEPTH[order])
    np.testing.assert_allclose(one.mean, other.mean, atol=1e-6)


def test_a_flat_profile_is_flat() -> None:
    band = aggregate(np.full((4, len(DEPTH)), 0.1), DEPTH)
    np.testing.assert_allclose(band.mean, 0.1)


def test_missing_values_and_too_few_are_refused() -> None:
    with pytest.raises(BadInput, match="missing"):
        aggregate(np.full((4, 3), np.nan), np.arange(3.0))
    with pytest.raises(BadInput, match="2 inputs and 2 taps"):
        aggregate(np.zeros((1, 3)), np.arange(3.0))


def test_a_jump_between_neighbouring_taps_is_not_overshot() -> None:
    """Two taps almost at one depth that differ by the whole range: the curve stays within it."""
    depth = np.array([0.05, 0.2, 0.4, 0.6, 0.8, 0.99, 0.9911])
    mean = np.array([0.01, 0.01, 0.01, 0.02, 0.02, 0.05, 0.65])
    profiles = mean + np.random.default_rng(0).normal(0, 0.02, (200, len(depth)))
    band = aggregate(profiles, depth)
    reach = np.ptp(mean)
    assert band.mean.min() > mean.min() - 0.2 * reach
    assert band.mean.max() < mean.max() + 0.2 * reach


@pytest.mark.parametrize("seed", range(3))
def test_crowded_and_sparse_taps_neither_balloon_nor_leave_their_points(seed: int) -> None:
    """Twelve taps within a hundredth of the depth, then three far apart, and values that jump."""
    rng = np.random.default_rng(seed)
    depth = np.concatenate([np.linspace(0.1, 0.11, 12), [0.5, 0.9, 1.0]])
    truth = np.where(np.arange(15) % 4 == 0, 0.7, 0.05) + 0.02 * rng.normal(size=15)
    spread = rng.uniform(0.01, 0.1, 15)
    band = aggregate(truth + spread * rng.normal(size=(200, 15)), depth)
    at = np.arange(15) / 14 * (len(band.depth) - 1)
    low, high = (np.interp(at, np.arange(len(band.depth)), v) for v in (band.low, band.high))
    room = 1e-3 + 0.1 * band.tap_sem.max()
    assert (band.tap_mean >= low - room).all()
    assert (band.tap_mean <= high + room).all()
    # No wider between taps than the values themselves lie apart.
    widest = (band.high - band.low).max()
    assert widest < 2 * np.ptp(truth)
    covered = (truth >= low - room) & (truth <= high + room)
    assert covered.mean() >= 0.8


def test_taps_that_coincide_in_depth_do_not_widen_the_band_elsewhere() -> None:
    rng = np.random.default_rng(0)
    depth = np.array([0.0, 0.25, 0.2501, 0.2502, 0.75, 1.0])
    truth = np.array([0.0, 0.2, 0.1, 0.25, 0.4, 0.5])
    band = aggregate(truth + 0.05 * rng.normal(size=(300, 6)), depth)
    assert (band.high - band.low).max() < 0.3
    assert (np.diff(band.depth) >= 0).all()
