"""Profiles from matrices: definitions, alternatives, degenerate taps, overall difference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from undertow.errors import UnknownName
from undertow.information import profiles
from undertow.information.matrices import Matrices, Means
from undertow.information.profiles import (
    drift,
    flow,
    iip,
    input_output_curve,
    ioc,
    oip,
    overall_difference,
    turn,
)


def matrices(seed: int, *shape: int) -> Matrices:
    generator = torch.Generator().manual_seed(seed)
    raw, null = torch.randn((2, *shape), generator=generator)
    return Matrices(raw, null, torch.zeros(shape))


@pytest.fixture(scope="module", name="S")
def source_matrices() -> Matrices:
    return matrices(0, 5, 3, 12)


@pytest.fixture(scope="module", name="T")
def target_matrices() -> Matrices:
    return matrices(1, 5, 12, 10)


@pytest.mark.parametrize("part", ["net", "raw", "null"])
def test_definitions(S: Matrices, T: Matrices, part: str) -> None:
    s, t = getattr(S, part).mean(1).numpy(), getattr(T, part).mean(2).numpy()
    np.testing.assert_allclose(iip(S, part=part), s.mean(1), atol=1e-6)
    np.testing.assert_allclose(oip(T, part=part), t.mean(1), atol=1e-6)
    np.testing.assert_allclose(iip(S, part=part, reduction="median"), np.median(s, 1), atol=1e-6)
    np.testing.assert_allclose(oip(T, part=part, reduction="max"), t.max(1), atol=1e-6)
    for sample in range(5):
        if part == "net":
            for how in ("pearson", "spearman"):
                raw, null = (ioc(S, T, part=p, coupling=how)[sample] for p in ("raw", "null"))
                assert ioc(S, T, coupling=how)[sample] == pytest.approx(float(raw - null))
            continue
        pearson = np.corrcoef(s[sample], t[sample])[0, 1]
        assert ioc(S, T, part=part)[sample].item() == pytest.approx(pearson, abs=1e-5)
        ranks = spearmanr(s[sample], t[sample]).statistic
        found = ioc(S, T, part=part, coupling="spearman")[sample]
        assert found.item() == pytest.approx(ranks, abs=1e-5)


def test_net_is_the_default(S: Matrices, T: Matrices) -> None:
    assert torch.equal(iip(S), iip(S, part="net"))
    assert torch.equal(ioc(S, T), ioc(S, T, part="net"))
    assert not torch.equal(oip(T), oip(T, part="raw"))


def test_coupling_of_flat_taps_is_zero() -> None:
    flat = Matrices(torch.full((2, 3, 6), 0.3), torch.zeros(2, 3, 6), torch.zeros(2, 3, 6))
    for coupling in ("pearson", "spearman"):
        assert ioc(flat, matrices(0, 2, 6, 4), coupling=coupling).tolist() == [0, 0]
    assert ioc(matrices(0, 2, 3, 1), matrices(1, 2, 1, 4)).tolist() == [0, 0]


def test_coupling_is_a_correlation() -> None:
    S = matrices(0, 4, 3, 8)
    T = Matrices(S.raw.mean(1)[:, :, None] * 2 + 1, torch.zeros(4, 8, 1), torch.zeros(4, 8, 1))
    torch.testing.assert_close(ioc(S, T, part="raw"), torch.ones(4))
    turned = Matrices(-T.raw, T.null, T.null_std)
    torch.testing.assert_close(ioc(S, turned, part="raw"), -torch.ones(4))


def test_coupling_is_held_against_that_of_each_reference() -> None:
    """Maps that couple with every reference as they do with their own input have net 0."""
    S, T = matrices(0, 4, 3, 8), matrices(1, 4, 8, 5)
    each_s = S.raw.mean(1)[:, :, None] + torch.randn(4, 1, 6)
    each_t = T.raw.mean(2)[:, :, None] * torch.rand(4, 1, 6)
    S = Matrices(S.raw, S.null, S.null_std, each_s)
    T = Matrices(T.raw, T.null, T.null_std, each_t)
    torch.testing.assert_close(ioc(S, T), torch.zeros(4), atol=1e-5, rtol=0)
    # Each reference's input goes with its own evidence, not with another's.
    mixed = ioc(S, Matrices(T.raw, T.null, T.null_std, each_t * torch.tensor([1, -1] * 3)))
    torch.testing.assert_close(mixed, ioc(S, T, part="raw"), atol=1e-5, rtol=0)


def test_all_profiles_are_the_single_ones() -> None:
    S, T = matrices(0, 4, 3, 8), matrices(1, 4, 8, 5)
    found = profiles.all_profiles(S, T)
    for part, suffix in (("net", ""), ("raw", "_raw"), ("null", "_null")):
        torch.testing.assert_close(found[f"iip{suffix}"], iip(S, part=part))
        torch.testing.assert_close(found[f"oip{suffix}"], oip(T, part=part))
        torch.testing.assert_close(found[f"ioc{suffix}"], ioc(S, T, part=part))
        torch.testing.assert_close(found[f"flow{suffix}"], flow(T, part=part))


def test_a_batch_of_one_is_the_same() -> None:
    S, T = matrices(0, 64, 3, 96), matrices(1, 64, 96, 10)
    for sample in (0, 17, 63):
        part = slice(sample, sample + 1)
        s, t = (Matrices(m.raw[part], m.null[part], m.null_std[part]) for m in (S, T))
        assert torch.equal(iip(S)[part], iip(s))
        assert torch.equal(oip(T)[part], oip(t))
        assert torch.equal(ioc(S, T)[part], ioc(s, t))


def test_unknown_choices(S: Matrices) -> None:
    values = S.net.mean(dim=1)
    with pytest.raises(UnknownName, match="reduction 'maen'; did you mean 'mean'"):
        profiles._reduced(values, "maen")
    with pytest.raises(UnknownName, match="did you mean 'pearson'"):
        profiles._coupled(Means.of(S, maps=2), Means.of(S, maps=2), "perason")
    with pytest.raises(UnknownName, match="allowed: net, null, raw"):
        profiles._means(S, "gross", 1)


def test_curve() -> None:
    curve = input_output_curve(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]))
    assert curve.tolist() == [[[1, 3], [2, 4]]]


class TestOverallDifference:
    def test_in_benign_standard_deviations(self) -> None:
        profile, benign = np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([0.0, 0.0])
        found = overall_difference(profile, benign, np.array([0.5, 1.0]))
        np.testing.assert_allclose(found, [2, 0])

    def test_more_taps_are_no_further_away(self) -> None:
        profile, benign, unit = np.random.default_rng(1).normal(size=(3, 7)) ** 2 + 0.1
        once = overall_difference(profile, benign, unit)
        twice = overall_difference(*(np.repeat(v, 3) for v in (profile, benign, unit)))
        assert twice == pytest.approx(once)

    def test_all_profiles_together(self) -> None:
        rng = np.random.default_rng(0)
        profile, benign = rng.normal(size=(2, 6, 3, 9))
        unit = rng.uniform(1, 2, size=(3, 9))
        each = overall_difference(profile, benign, unit)
        assert each.shape == (6, 3)
        together = np.sqrt((((profile - benign) / unit) ** 2).mean(axis=(1, 2)))
        names = ("iip", "oip", "ioc")
        split = [{n: v[..., k, :] for k, n in enumerate(names)} for v in (profile, benign, unit)]
        parts, whole = profiles.differences(*split)
        np.testing.assert_allclose(np.stack([parts[n] for n in names], -1), each)
        np.testing.assert_allclose(whole, together)

    def test_missing_and_constant_taps_are_left_out(self) -> None:
        profile = np.array([3.0, np.nan, 7.0, 1.0])
        found = overall_difference(profile, np.zeros(4), np.array([1.0, 1.0, 0.0, np.nan]))
        assert found == 3.0
        assert overall_difference(np.array([np.nan]), np.zeros(1), np.ones(1)) == 0


class TestFlow:
    def test_oip_is_its_mean_over_classes(self) -> None:
        T = matrices(4, 3, 6, 5)
        for part in ("net", "raw", "null"):
            torch.testing.assert_close(flow(T, part=part).mean(1), oip(T, part=part))

    def test_closed_form(self) -> None:
        """Two maps, three classes; drift is the difference of two columns."""
        raw = torch.tensor([[[1.0, 2.0, 4.0], [3.0, 0.0, 2.0]]])
        T = Matrices(raw, torch.full_like(raw, 0.5), torch.zeros_like(raw))
        assert flow(T).tolist() == [[1.5, 0.5, 2.5]]
        found = drift(flow(T)[:, None], torch.tensor([1]), torch.tensor([2]))
        assert found.tolist() == [[2.0]]

    def test_drift_knows_no_order_of_classes_and_changes_sign_with_its_ends(self) -> None:
        F = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))
        true, rival = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([3, 2, 1, 0, 1])
        order = torch.tensor([2, 0, 3, 1])
        place = order.argsort()
        moved = drift(F[:, :, order], place[true], place[rival])
        assert torch.equal(moved, drift(F, true, rival))
        assert torch.equal(drift(F, rival, true), -drift(F, true, rival))
        assert not drift(F, true, true).any()

    def test_where_the_flow_turns(self) -> None:
        nan = float("nan")
        found = turn(torch.tensor([
            [-1.0, 1.0, 2.0, 3.0], [1.0, -1.0, 2.0, nan], [1.0, 1.0, 1.0, -1.0],
            [nan, 1.0, nan, 1.0], [1.0, 1.0, 1.0, 1.0], [nan, nan, nan, nan], [1.0, 0.0, nan, 1.0],
        ]))  # fmt: skip
        assert found.tolist() == [1, 2, -1, 1, 0, -1, 3]
