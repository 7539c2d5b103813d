from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.errors import BadInput
from undertow.information import plane


def entropy(counts: list[int]) -> float:
    p = np.array(counts) / sum(counts)
    return float(-(p * np.log2(p)).sum())


clusters = st.lists(st.integers(1, 9), min_size=1, max_size=6)


@given(counts=clusters, labels=st.randoms())
@settings(max_examples=40)
def test_clusters_far_apart_have_the_entropy_of_their_sizes(counts, labels) -> None:
    """The limit in which both bounds of Kolchinsky and Tracey are exact; binning agrees."""
    t = torch.cat([torch.full((n, 2), 1000.0 * i) for i, n in enumerate(counts)])
    y = torch.tensor([labels.randrange(3) for _ in range(len(t))])
    found = plane.kernel(t, y)
    code = t[:, 0].numpy()
    within = sum(
        np.mean(y.numpy() == c) * entropy(np.unique(code[y.numpy() == c], return_counts=True)[1])
        for c in np.unique(y)
    )
    truth = entropy(counts)
    for value in (found.x_lower, found.x_upper, plane.binned(t, y).x):
        assert value == pytest.approx(truth, abs=1e-6)
    for value in (found.y, found.y_lower, found.y_upper, plane.binned(t, y).y):
        assert value == pytest.approx(truth - within, abs=1e-6)


def mixture_information(centres: np.ndarray, variance: float) -> float:
    """I(X;T) of a uniform mixture of Gaussians in one dimension, integrated numerically."""
    grid = np.linspace(centres.min() - 9, centres.max() + 9, 400_001)
    kernels = np.exp(-np.square(grid[:, None] - centres) / (2 * variance))
    density = (kernels / np.sqrt(2 * np.pi * variance)).mean(1)
    terms = np.where(density > 0, density * np.log2(np.maximum(density, 1e-300)), 0)
    return -np.trapezoid(terms, grid) - 0.5 * np.log2(2 * np.pi * np.e * variance)


@pytest.mark.parametrize("variance", [0.1, 1.0])
@pytest.mark.parametrize("gap", [0.0, 0.3, 1.0, 3.0, 8.0])
def test_the_bounds_hold_the_truth_of_gaussian_mixtures(gap, variance) -> None:
    centres = gap * np.array([0.0, 1.0, 1.5, 4.0])
    y = torch.tensor([0, 0, 1, 1])
    found = plane.kernel(torch.tensor(centres)[:, None].float(), y, noise_variance=variance)
    truth = mixture_information(centres, variance)
    assert found.x_lower - 1e-6 <= truth <= found.x_upper + 1e-6
    within = (
        mixture_information(centres[:2], variance) + mixture_information(centres[2:], variance)
    ) / 2
    assert found.y_lower - 1e-6 <= truth - within <= found.y_upper + 1e-6
    assert found.y_lower <= found.y <= found.y_upper + 1e-12


def test_kernel_bounds_against_their_equations() -> None:
    h = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    found = plane.kernel(h, torch.zeros(30, dtype=torch.int64), noise_variance=0.4)
    upper = lower = 0.0
    for i in range(30):
        gaps = [float((h[i] - h[j]).square().sum()) for j in range(30)]
        upper -= np.log2(np.mean([np.exp(-g / 0.8) for g in gaps])) / 30
        lower -= np.log2(np.mean([np.exp(-g / 3.2) for g in gaps])) / 30
    assert found.x_upper == pytest.approx(upper, abs=1e-6)
    assert found.x_lower == pytest.approx(lower, abs=1e-6)
    assert found.y == pytest.approx(0, abs=1e-12)


def test_blocks_do_not_change_the_bounds(monkeypatch) -> None:
    h, y = torch.randn(50, 3), torch.arange(50) % 3
    whole = plane.kernel(h, y)
    monkeypatch.setattr(plane, "BLOCK", 130)
    monkeypatch.setattr(plane, "UNITS", 2)
    parts = plane.kernel(h, y)
    assert whole.x_upper == pytest.approx(parts.x_upper, abs=1e-12)
    assert whole.y_lower == pytest.approx(parts.y_lower, abs=1e-12)


def test_discrete_maps_of_the_input() -> None:
    x = torch.arange(64)
    y = x % 4
    one_to_one = torch.stack([x % 8, x // 8], 1).float()
    assert plane.binned(one_to_one, y) == plane.BinnedPlace(x=6.0, y=2.0)
    assert plane.binned((x % 8)[:, None].float(), y) == plane.BinnedPlace(x=3.0, y=2.0)
    assert plane.binned((x // 8)[:, None].float(), y) == plane.BinnedPlace(x=3.0, y=0.0)
    assert plane.binned(torch.full((64, 3), 5.0), y) == plane.BinnedPlace(x=0.0, y=0.0)


def test_bins_cluster_what_falls_together() -> None:
    t = torch.tensor([[0.0], [0.04], [0.51], [0.55], [1.0]])
    y = torch.tensor([0, 0, 1, 1, 1])
    assert plane.binned(t, y, bins=2).y == pytest.approx(entropy([2, 3]))
    assert plane.binned(t, y, bins=10).x == pytest.approx(entropy([2, 2, 1]))
    outside = plane.binned(t, y, bins=2, low=0.0, high=0.5)
    assert outside == plane.binned(t, y, bins=2)


def test_batches_of_patterns_are_the_whole() -> None:
    t, y = torch.rand(40, 3), torch.arange(40) % 2
    digests = np.concatenate([plane.patterns(part, 0.0, 1.0, 4) for part in t.split(7)])
    assert plane.binned(digests, y) == plane.binned(t, y, bins=4, low=0.0, high=1.0)


def test_invariances() -> None:
    h, y = torch.randn(40, 3), torch.arange(40) % 4
    order = torch.randperm(40)
    a, b = plane.kernel(h, y), plane.kernel(h[order] + 7, y[order])
    assert a.x_upper == pytest.approx(b.x_upper, abs=1e-5)
    assert a.y_lower == pytest.approx(b.y_lower, abs=1e-5)
    scaled = plane.kernel(10 * h, y, noise_variance=10.0)
    assert scaled.x_lower == pytest.approx(a.x_lower, abs=1e-5)
    assert plane.binned(3 * h + 1, y) == plane.binned(h, y)


def test_bad_input() -> None:
    h, y = torch.randn(6, 2), torch.zeros(6, dtype=torch.int64)
    for wrong, message in (
        (lambda: plane.kernel(h, y, noise_variance=0.0), "noise_variance is above 0, got 0.0"),
        (lambda: plane.kernel(h / 0, y), "NaN or infinite"),
        (lambda: plane.binned(h, y, bins=1), "between 2 and 256, got 1"),
        (lambda: plane.binned(h, y, low=2.0, high=1.0), "finite range, got 2.0 to 1.0"),
        (lambda: plane.binned(h[:0], y[:0]), "0 inputs with 0 labels"),
    ):
        with pytest.raises(BadInput, match=message):
            wrong()


def test_caveats_name_their_sources() -> None:
    text = " ".join(plane.CAVEATS)
    for source in ("Amjad and Geiger", "Goldfeld", "Saxe", "2003.09671"):
        assert source in text
