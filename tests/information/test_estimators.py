"""All estimators against their contract, their slow twins and known truths."""

from __future__ import annotations

from math import log, log2
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import digamma, ndtri
from scipy.stats import rankdata

from undertow.errors import BadInput, UnknownName
from undertow.information import DEFAULT_ESTIMATOR, ESTIMATORS
from undertow.information.backend import BackendName, anywhere, using
from undertow.information.backend.numba.ranking import average_ranks
from undertow.information.estimators import gaussian_copula
from undertow.information.estimators.binned import Binned, BinnedWidth
from undertow.information.estimators.gaussian_copula import CopulaCodes, GaussianCopula
from undertow.information.estimators.ksg import KSG
from undertow.testing.estimators import CHECKS

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
few = st.sampled_from([0.0, -0.0, 1.0, 1.0000001, -1.0, 1e-45, 3.4e38, -3.4e38, 0.5])


@pytest.mark.parametrize("backend", get_args(BackendName))
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_contract(name: str, check: str, backend: BackendName) -> None:
    """The torch backend is the one of devices; here it runs on the processor."""
    with using(backend):
        CHECKS[check](ESTIMATORS[name]())


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("n", [9, 64, 256])
def test_both_backends_agree(name: str, n: int) -> None:
    """Ties, constants, spikes and extremes; codes of the one are never met by the other."""
    maps = torch.cat([
        relu_maps(6, n, 0.6), relu_maps(3, n, 0.0, 1), torch.zeros(1, n), torch.eye(n)[:1],
        torch.tensor([-3e38, 3e38, 0.0])[torch.arange(n) % 3][None],
    ])  # fmt: skip
    estimator = ESTIMATORS[name]()
    found = []
    for backend in get_args(BackendName):
        with using(backend):
            codes = estimator.encode(maps)
            found.append(estimator.pairwise(codes, codes))
            with pytest.raises(BadInput, match=f"1 of {maps.numel()} values"):
                estimator.encode(maps.index_put(
                    (torch.tensor(2), torch.tensor(3)), torch.tensor(float("nan"))
                ))  # fmt: skip
    # Where maps determine each other 1 - rho^2 is rounding, and its logarithm amplifies it.
    sure = found[0] < 8
    torch.testing.assert_close(found[0][sure], found[1][sure], rtol=1e-3, atol=2e-5)
    torch.testing.assert_close(found[0], found[1], rtol=0.1, atol=0.1)


def test_registry() -> None:
    assert DEFAULT_ESTIMATOR in ESTIMATORS
    assert all(ESTIMATORS[name].name == name for name in ESTIMATORS)
    with pytest.raises(UnknownName, match="did you mean 'gaussian_copula'"):
        ESTIMATORS["gausian_copula"]


def relu_maps(rows: int, n: int, zeros: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    keep = torch.rand((rows, n), generator=generator) >= zeros
    return torch.randn((rows, n), generator=generator).abs() * keep


class TestRanks:
    @given(arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(3, 80)), elements=floats))
    @settings(max_examples=150, deadline=None)
    def test_any_values(self, maps: np.ndarray) -> None:
        self.check(maps)

    @given(arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(3, 200)), elements=few))
    @settings(max_examples=100, deadline=None)
    def test_ties_and_extremes(self, maps: np.ndarray) -> None:
        self.check(maps)

    @pytest.mark.parametrize("n", [3, 64, 100, 1023, 1024, 4096, 16384, 16385])
    @pytest.mark.parametrize("zeros", [0.0, 0.5, 0.95])
    def test_sizes(self, n: int, zeros: float) -> None:
        self.check(relu_maps(5, n, zeros).numpy())

    def test_values_that_share_their_keys(self) -> None:
        """An outlier leaves the others a few levels only; the values themselves must decide."""
        maps = relu_maps(4, 3000, 0.3).numpy()
        maps[:, 7] = 1e30
        self.check(maps)
        self.check(-maps)

    def check(self, maps: np.ndarray) -> None:
        maps = np.ascontiguousarray(maps)
        truth = 2 * (rankdata(maps, axis=1) - 1)
        found = average_ranks(maps)
        assert found is not None
        np.testing.assert_array_equal(found, truth)
        np.testing.assert_array_equal(anywhere.ranks(torch.from_numpy(maps)).numpy(), truth)


def entropy_of(values: np.ndarray) -> float:
    """Plug-in entropy in bits of the values themselves."""
    counts = np.unique(values, return_counts=True)[1]
    return float(-(counts / len(values) * np.log2(counts / len(values))).sum())


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("estimator", [GaussianCopula(), Binned(), KSG()])
def test_no_estimate_exceeds_the_entropy_of_either_map(estimator: Any, backend: Any) -> None:
    """One live position of 64, of a few values, of all different ones."""
    few = torch.zeros(3, 64)
    few[0, 7], few[1, 5:9], few[2] = 1.0, torch.arange(1.0, 5), torch.rand(64)
    with using(backend):
        code = estimator.encode(few)
        found = estimator.pairwise(code, code)
    most = [entropy_of(row.numpy()) for row in few]
    assert most[0] == pytest.approx(0.116, abs=1e-3)
    for i in range(3):
        for j in range(3):
            assert found[i, j] <= min(most[i], most[j]) + 1e-6


@pytest.mark.parametrize("live", [1, 2, 6, 32])
def test_few_valued_maps_read_nothing_where_they_are_independent(live: int) -> None:
    """The cap at the entropy takes off what a few coinciding positions would add."""
    rng = torch.Generator().manual_seed(live)
    a, b = torch.zeros(2, 600, 4, 64)
    for maps in (a, b):
        place = torch.rand(600, 4, 64, generator=rng).argsort(-1)[..., :live]
        maps.scatter_(-1, place, torch.rand(600, 4, live, generator=rng) + 0.5)
    estimator = GaussianCopula()
    found = estimator.pairwise(estimator.encode(a), estimator.encode(b))
    assert abs(float(found.mean())) < 0.012


class TestGaussianCopula:
    @pytest.mark.parametrize("n", [5, 64, 100, 1024])
    @pytest.mark.parametrize("zeros", [0.0, 0.6, 0.9])
    def test_slow_twin(self, n: int, zeros: float) -> None:
        """Ranks, scores, correlation and correction as the definition reads."""
        a, b = relu_maps(3, n, zeros, 1), relu_maps(9, n, zeros, 2)
        b[:3] += a
        estimator = GaussianCopula()
        found = estimator.pairwise(estimator.encode(a), estimator.encode(b)).numpy()
        scores = [ndtri(rankdata(x.numpy(), axis=1) / (n + 1)) for x in (a, b)]
        bias = (digamma((n - 1) / 2) - digamma((n - 2) / 2)) / (2 * log(2))
        for i, x in enumerate(scores[0]):
            for j, y in enumerate(scores[1]):
                if np.ptp(x) == 0 or np.ptp(y) == 0:
                    assert found[i, j] == 0
                    continue
                rest = max(1 - np.corrcoef(x, y)[0, 1] ** 2, n**-2)
                truth = (-0.5 * np.log2(rest) - bias) * (1 + 3 / n)
                truth = min(truth, *(entropy_of(m.numpy()) for m in (a[i], b[j])))
                assert found[i, j] == pytest.approx(truth, abs=2e-6, rel=2e-6)

    def test_monotone_transforms_change_nothing(self) -> None:
        a, b = relu_maps(3, 256, 0.3, 3), relu_maps(4, 256, 0.3, 4)
        estimator = GaussianCopula()
        plain = estimator.pairwise(estimator.encode(a), estimator.encode(b))
        bent = estimator.pairwise(estimator.encode(a.exp()), estimator.encode(b**3))
        assert torch.equal(plain, bent)

    def test_a_decreasing_transform_changes_nothing(self) -> None:
        a, b = relu_maps(3, 256, 0.3, 3), relu_maps(4, 256, 0.3, 4)
        estimator = GaussianCopula()
        plain = estimator.pairwise(estimator.encode(a), estimator.encode(b))
        turned = estimator.pairwise(estimator.encode(-a), estimator.encode(b))
        torch.testing.assert_close(plain, turned, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(("n", "most"), [(16, 4.0), (64, 6.0), (1024, 10.0), (4096, 10.0)])
    def test_identical_maps_read_the_stated_cap(self, n: int, most: float) -> None:
        a = torch.randn((1, n), generator=torch.Generator().manual_seed(0))
        estimator = GaussianCopula()
        code = estimator.encode(a)
        truth = (most - gaussian_copula.independence_bias(n)) * (1 + 3 / n)
        truth = min(truth, log2(n))  # the entropy of n different values
        assert estimator.pairwise(code, code).item() == pytest.approx(truth, rel=0.02)
        assert estimator.pairwise(code, estimator.encode(-a)).item() == pytest.approx(
            truth, rel=0.02
        )

    @pytest.mark.parametrize("n", [64, 256, 1024])
    @pytest.mark.parametrize("rho", [0.5, 0.9])
    def test_bias_within_five_percent(self, n: int, rho: float) -> None:
        generator = torch.Generator().manual_seed(n)
        pairs = 400_000 // n
        a, b = torch.randn((2, pairs, 1, n), generator=generator)
        estimator = GaussianCopula()
        c = rho * a + (1 - rho**2) ** 0.5 * b
        bits = estimator.pairwise(estimator.encode(a), estimator.encode(c)).flatten()
        truth = -0.5 * np.log2(1 - rho**2)
        error = 2 * float(bits.std()) / len(bits) ** 0.5
        assert abs(float(bits.mean()) - truth) <= 0.05 * truth + error

    def test_codes_are_indexable(self) -> None:
        codes = GaussianCopula().encode(relu_maps(8, 64, 0.5).reshape(4, 2, 64))
        assert isinstance(codes[1:3], CopulaCodes)
        assert codes[1:3].scores.shape == (2, 2, 64)


class TestBinned:
    @pytest.mark.parametrize("estimator", [Binned(), Binned(16), BinnedWidth(), BinnedWidth(16)])
    @pytest.mark.parametrize("n", [50, 256, 1024])
    def test_slow_twin(self, estimator: Binned | BinnedWidth, n: int) -> None:
        """Histogram, entropies, Miller-Madow as the definition reads."""
        a, b = relu_maps(3, n, 0.6, 5), relu_maps(5, n, 0.3, 6)
        b[:2] += a[:2]
        codes = estimator.encode(a), estimator.encode(b)
        found = estimator.pairwise(*codes)
        for i in range(3):
            for j in range(5):
                x, y = codes[0].bins[i].numpy(), codes[1].bins[j].numpy()
                truth = min(miller_madow(x, y), entropy_of(x), entropy_of(y))
                assert found[i, j].item() == pytest.approx(truth, abs=1e-5)

    @pytest.mark.parametrize("bins", [2, 11, 12, 13, 16, 17, 60, 255])
    @pytest.mark.parametrize("n", [37, 600])
    def test_every_number_of_bins_and_positions(self, bins: int, n: int) -> None:
        """Planes, tables of bytes and large tables; positions that fill no whole word."""
        a, b = (
            relu_maps(3, n, 0.6, 5),
            torch.rand((2, n), generator=torch.Generator().manual_seed(7)),
        )
        codes = Binned(bins).encode(a), Binned(bins).encode(b)
        found = Binned(bins).pairwise(*codes)
        for i in range(3):
            for j in range(2):
                x, y = codes[0].bins[i].numpy(), codes[1].bins[j].numpy()
                truth = min(miller_madow(x, y), entropy_of(x), entropy_of(y))
                assert found[i, j].item() == pytest.approx(truth, abs=1e-5)

    def test_bins_by_rank(self) -> None:
        """Equal population without ties; ties share the bin of their average rank."""
        bins = Binned(4).encode(torch.randperm(64).float()[None]).bins
        assert torch.bincount(bins[0].long()).tolist() == [16, 16, 16, 16]
        maps = torch.cat([torch.zeros(48), torch.arange(1.0, 17)])[None]
        assert torch.bincount(Binned(4).encode(maps).bins[0].long()).tolist() == [0, 48, 0, 16]

    def test_bins_by_width(self) -> None:
        bins = BinnedWidth(4).encode(torch.tensor([[0.0, 0.9, 1.0, 2.5, 4.0]])).bins
        assert bins.tolist() == [[0, 0, 1, 2, 3]]

    @given(arrays(np.float32, st.integers(3, 40), elements=few))
    @settings(max_examples=100, deadline=None)
    def test_only_constant_maps_fall_into_one_bin(self, values: np.ndarray) -> None:
        codes = Binned(2).encode(torch.from_numpy(values)[None])
        assert codes.live.item() == (np.ptp(values.astype(np.float64)) > 0)

    def test_discrete_truth(self) -> None:
        """A channel of four symbols with errors: bits within 5 % of its known capacity."""
        generator = torch.Generator().manual_seed(0)
        sent = torch.randint(0, 4, (40, 1, 1024), generator=generator)
        wrong = torch.rand(sent.shape, generator=generator) < 0.3
        got = torch.where(wrong, torch.randint(0, 4, sent.shape, generator=generator), sent)
        hit, miss = 0.7 + 0.3 / 4, 0.3 / 4
        truth = 2 + hit * np.log2(hit) + 3 * miss * np.log2(miss)
        for estimator in (Binned(), BinnedWidth()):
            codes = estimator.encode(sent.float()), estimator.encode(got.float())
            assert estimator.pairwise(*codes).mean().item() == pytest.approx(truth, rel=0.05)

    def test_sees_what_is_not_monotone(self) -> None:
        x = torch.randn((1, 1024), generator=torch.Generator().manual_seed(0))
        codes = Binned().encode(x), Binned().encode(x.square())
        assert Binned().pairwise(*codes).item() > 0.9
        other = GaussianCopula()
        assert abs(other.pairwise(other.encode(x), other.encode(x.square())).item()) < 0.05

    def test_bad_bins(self) -> None:
        with pytest.raises(BadInput, match="between 2 and 255, got 1"):
            Binned(1)


def miller_madow(a: np.ndarray, b: np.ndarray) -> float:
    """Plug-in entropies, each with (occupied - 1) / 2n nats added."""

    def entropy(counts: np.ndarray) -> float:
        p = counts[counts > 0] / len(a)
        return float(-(p * np.log(p)).sum() + (len(p) - 1) / (2 * len(a)))

    joint = np.histogram2d(a, b, bins=[range(257), range(257)])[0]
    nats = entropy(joint.sum(0)) + entropy(joint.sum(1)) - entropy(joint.ravel())
    return nats / log(2)


class TestKSG:
    @pytest.mark.parametrize("k", [1, 3])
    def test_slow_twin(self, k: int) -> None:
        """Equation 8 of Kraskov et al., point by point."""
        x, y = torch.randn((2, 60), generator=torch.Generator().manual_seed(1)).numpy()
        y = y + x
        u, v = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
        total = 0.0
        for i in range(60):
            dx, dy = np.delete(abs(u - u[i]), i), np.delete(abs(v - v[i]), i)
            epsilon = np.sort(np.maximum(dx, dy))[k - 1]
            total += digamma((dx < epsilon).sum() + 1) + digamma((dy < epsilon).sum() + 1)
        truth = (digamma(k) + digamma(60) - total / 60) / log(2)
        estimator = KSG(k)
        a, b = (estimator.encode(torch.from_numpy(m)[None]) for m in (x, y))
        assert estimator.pairwise(a, b).item() == pytest.approx(truth, abs=1e-5)

    def test_shared_zeros_are_information(self) -> None:
        """The same half of the positions at zero in both maps: about one bit."""
        generator = torch.Generator().manual_seed(2)
        keep = torch.rand(256, generator=generator) < 0.5
        a, b = torch.rand((2, 1, 256), generator=generator).add(1) * keep
        estimator = KSG()
        bits = estimator.pairwise(estimator.encode(a), estimator.encode(b))
        assert bits.item() == pytest.approx(1.0, abs=0.15)

    def test_too_few_positions(self) -> None:
        with pytest.raises(BadInput, match="at least 6, got maps with 5"):
            KSG(5).encode(torch.randn(1, 5))
