"""Matrices, nulls, grids and evidence: shapes, definitions, closed forms, batch invariance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from undertow.errors import BadInput
from undertow.information import DEFAULT_NULL, ESTIMATORS, NULLS
from undertow.information.coded import Coded, References
from undertow.information.estimators.binned import Binned
from undertow.information.estimators.gaussian_copula import GaussianCopula
from undertow.information.grids import area_weights, coarser, pooled
from undertow.information.matrices import evidence, source, target
from undertow.information.nulls import mismatch, shift, shuffle
from undertow.types import Draws

COPULA = GaussianCopula()


def draws(count: int) -> Draws:
    return Draws(torch.arange(100, 100 + count))


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def tap() -> dict[str, torch.Tensor]:
    """Four inputs, a tap at half their size with a dead map, evidence at a quarter."""
    maps = normal(1, 4, 6, 8, 8).relu()
    maps[:, 2] = 0
    return {
        "inputs": normal(0, 4, 3, 16, 16).sigmoid(),
        "maps": maps,
        "references": normal(2, 5, 3, 16, 16).sigmoid(),
        "evidence": normal(3, 4, 7, 4, 4),
        "reference_evidence": normal(4, 5, 7, 4, 4),
    }


def both(tap: dict[str, torch.Tensor], **more: object) -> tuple:
    return (
        source(COPULA, tap["inputs"], tap["maps"], tap["references"], **more),
        target(COPULA, tap["maps"], tap["evidence"], tap["reference_evidence"], **more),
    )


def test_source_is_the_definition(tap: dict[str, torch.Tensor]) -> None:
    """S[i, j] and its null, pair by pair."""
    S, _ = both(tap)
    assert S.raw.shape == S.null.shape == S.null_std.shape == (4, 3, 6)

    def bits(image: torch.Tensor, sample: int) -> torch.Tensor:
        small = image.reshape(3, 8, 2, 8, 2).mean(dim=(2, 4)).flatten(1)
        return COPULA.pairwise(COPULA.encode(small), COPULA.encode(tap["maps"][sample].flatten(1)))

    for sample in range(4):
        raw = bits(tap["inputs"][sample], sample)
        others = torch.stack([bits(reference, sample) for reference in tap["references"]])
        torch.testing.assert_close(S.raw[sample], raw)
        torch.testing.assert_close(S.null[sample], others.mean(dim=0))
        torch.testing.assert_close(S.null_std[sample], others.std(dim=0, correction=0))
    torch.testing.assert_close(S.net, S.raw - S.null)


def test_target_is_the_definition(tap: dict[str, torch.Tensor]) -> None:
    """T[j, m] on the coarser grid, and its null."""
    _, T = both(tap)
    assert T.raw.shape == (4, 6, 7)
    small = COPULA.encode(tap["maps"].reshape(4, 6, 4, 2, 4, 2).mean(dim=(3, 5)).flatten(2))
    raw = COPULA.pairwise(small, COPULA.encode(tap["evidence"].flatten(2)))
    torch.testing.assert_close(T.raw, raw)
    references = COPULA.encode(tap["reference_evidence"].flatten(2))
    others = torch.stack([COPULA.pairwise(small, references[r]) for r in range(5)])
    torch.testing.assert_close(T.null, others.mean(dim=0))


def test_dead_maps_read_zero(tap: dict[str, torch.Tensor]) -> None:
    for null in NULLS:
        S, T = both(tap, null=NULLS[null], draws=draws(4))
        for values in (S.raw[:, :, 2], S.null[:, :, 2], T.raw[:, 2], T.null[:, 2]):
            assert (values == 0).all()


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("name", ["gaussian_copula", "binned", "binned_width"])
@pytest.mark.parametrize("size", [(8, 6), (5, 7)])
def test_a_batch_of_one_is_bit_for_bit_the_same(name: str, null: str, size: tuple) -> None:
    estimator = ESTIMATORS[name]()
    inputs, maps = normal(5, 64, 3, 8, 8), normal(6, 64, 5, *size).relu()
    seen, references = normal(7, 64, 4, 4, 3), normal(8, 3, 3, 8, 8)
    reference_evidence = normal(9, 3, 4, 4, 3)

    def measured(part: slice) -> list[torch.Tensor]:
        more = {"null": NULLS[null], "draws": draws(64)[torch.arange(64)[part]]}
        S = source(estimator, inputs[part], maps[part], references, **more)
        T = target(estimator, maps[part], seen[part], reference_evidence, **more)
        return [S.raw, S.null, S.null_std, T.raw, T.null, T.null_std]

    whole = measured(slice(None))
    for sample in (0, 31, 63):
        part = slice(sample, sample + 1)
        assert all(torch.equal(a[part], b) for a, b in zip(whole, measured(part), strict=True))


def test_threads_do_not_matter(tap: dict[str, torch.Tensor]) -> None:
    before = torch.get_num_threads()
    maps, inputs = normal(10, 16, 32, 16, 16).relu(), normal(11, 16, 3, 16, 16)
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(source(COPULA, inputs, maps, tap["references"]))
    torch.set_num_threads(before)
    assert all(torch.equal(found[0].net, other.net) for other in found)


def test_references_are_encoded_once(tap: dict[str, torch.Tensor]) -> None:
    class Counting(GaussianCopula):
        calls = 0

        def encode(self, maps: torch.Tensor) -> object:
            Counting.calls += 1
            return COPULA.encode(maps)

    estimator, references = Counting(), References(tap["references"])
    maps = Coded(tap["maps"])
    first = source(estimator, tap["inputs"], maps, references)
    assert Counting.calls == 3
    again = source(estimator, tap["inputs"], maps, references)
    assert Counting.calls == 4, "only the inputs are new"
    assert torch.equal(first.net, again.net)
    assert torch.equal(first.net, both(tap)[0].net)


def test_net_of_unrelated_smooth_maps_is_near_zero() -> None:
    """Smooth maps read above zero though unrelated; the mismatch and shift nulls take that off."""
    smooth = nn.AvgPool2d(7, stride=1, padding=3, count_include_pad=False)
    inputs, maps = smooth(normal(12, 40, 3, 32, 32)), smooth(normal(13, 40, 8, 32, 32))
    references = smooth(normal(14, 8, 3, 32, 32))
    net = {
        name: source(COPULA, inputs, maps, references, null=NULLS[name], draws=draws(40))
        for name in NULLS
    }
    assert net["mismatch"].raw.mean() > 0.01
    assert abs(net["mismatch"].net.mean()) < 0.003
    assert abs(net["shift"].net.mean()) < 0.005
    assert net["shuffle"].net.mean() > 0.01


def test_single_position() -> None:
    with pytest.raises(BadInput, match="choose taps with spatial extent"):
        source(COPULA, normal(0, 2, 3, 8, 8), normal(0, 2, 5, 1, 1), normal(0, 1, 3, 8, 8))
    with pytest.raises(BadInput, match="1x4 against 4x1"):
        target(COPULA, normal(0, 2, 5, 1, 4), normal(0, 2, 3, 4, 1), normal(0, 1, 3, 4, 1))


def test_bad_batches() -> None:
    with pytest.raises(BadInput, match="2 samples of maps with 3"):
        source(COPULA, Coded(normal(0, 3, 3, 8, 8)), normal(0, 2, 5, 8, 8), normal(0, 1, 3, 8, 8))
    with pytest.raises(BadInput, match="needs reference inputs, got none"):
        source(COPULA, normal(0, 2, 3, 8, 8), normal(0, 2, 5, 8, 8), None)
    for null in (shift, shuffle):
        with pytest.raises(BadInput, match="needs draws for 2 samples, got none"):
            source(COPULA, normal(0, 2, 3, 8, 8), normal(0, 2, 5, 8, 8), None, null=null)


class TestNulls:
    def test_registry(self) -> None:
        assert DEFAULT_NULL in NULLS
        assert NULLS["mismatch"] is mismatch

    def test_mismatch_is_the_references(self) -> None:
        references = normal(0, 5, 3, 4, 4)
        assert torch.equal(mismatch(normal(1, 2, 3, 4, 4), references, None)[0], references)

    def test_shift_moves_around_the_torus(self) -> None:
        images = normal(0, 3, 2, 4, 5)
        moved = shift(images, None, draws(3))
        assert moved.shape == (3, 8, 2, 4, 5)
        for sample in range(3):
            rolls = [images[sample].roll((y, x), (1, 2)) for y in range(4) for x in range(5)][1:]
            for one in moved[sample]:
                assert sum(torch.equal(one, roll) for roll in rolls) == 1

    def test_shuffle_permutes_all_parts_alike(self) -> None:
        images = torch.arange(16.0).reshape(1, 1, 4, 4).repeat(2, 3, 1, 1)
        mixed = shuffle(images, normal(1, 5, 3, 4, 4), draws(2))
        assert mixed.shape == (2, 5, 3, 4, 4)
        assert torch.equal(mixed[:, :, 0], mixed[:, :, 2])
        assert torch.equal(mixed.flatten(3).sort().values[0, 0, 0], torch.arange(16.0))
        assert not torch.equal(mixed[0], mixed[1])

    @pytest.mark.parametrize("null", [shift, shuffle])
    def test_draws_belong_to_samples(self, null: object) -> None:
        images = normal(0, 4, 2, 4, 4)
        whole = null(images, None, draws(4))
        part = torch.tensor([2, 0])
        assert torch.equal(null(images[part], None, draws(4)[part]), whole[part])


class TestGrids:
    def test_coarser(self) -> None:
        assert coarser((32, 8), (16, 16)) == (16, 8)

    @given(st.integers(1, 40), st.integers(1, 40))
    @settings(max_examples=60, deadline=None)
    def test_weights_are_areas(self, fine: int, coarse: int) -> None:
        if coarse > fine:
            fine, coarse = coarse, fine
        weights = area_weights(fine, coarse)
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(coarse).double())
        torch.testing.assert_close(weights.sum(dim=0), torch.full((fine,), coarse / fine).double())

    def test_seven_to_five_by_hand(self) -> None:
        first = area_weights(7, 5)[:2]
        truth = torch.tensor([[5, 2, 0, 0, 0, 0, 0], [0, 3, 4, 0, 0, 0, 0]]).double() / 7
        torch.testing.assert_close(first, truth)

    @pytest.mark.parametrize("grid", [(7, 7), (5, 4), (14, 3), (1, 2)])
    def test_as_the_finest_common_grid_has_it(self, grid: tuple[int, int]) -> None:
        """Every cell split until both grids divide it, then plain averages."""
        maps = normal(0, 2, 3, 14, 12)
        split = np.repeat(np.repeat(maps.numpy(), grid[0], axis=2), grid[1], axis=3)
        truth = split.reshape(2, 3, grid[0], 14, grid[1], 12).mean(axis=(3, 5))
        np.testing.assert_allclose(pooled(maps, grid).numpy(), truth, rtol=1e-5, atol=1e-6)

    def test_the_same_grid_is_left_alone(self) -> None:
        maps = normal(0, 2, 3, 4, 4)
        assert pooled(maps, (4, 4)) is maps


class TestEvidence:
    def test_is_the_class_activation_map(self) -> None:
        """Global average pooling and a linear layer: Σ_j w_mj t_j / positions."""
        maps = normal(0, 3, 6, 4, 5).requires_grad_()
        head = nn.Linear(6, 4)
        logits = head(maps.mean(dim=(2, 3)))
        gradients = torch.stack([
            torch.autograd.grad(logits[:, m].sum(), maps, retain_graph=True)[0] for m in range(4)
        ])  # fmt: skip
        cam = torch.einsum("mj,sjrc->smrc", head.weight, maps) / 20
        torch.testing.assert_close(evidence(maps.detach(), gradients), cam.detach())

    def test_a_batch_of_one_is_the_same(self) -> None:
        maps, gradients = normal(0, 64, 48, 8, 8), normal(1, 5, 64, 48, 8, 8)
        whole = evidence(maps, gradients)
        for sample in (0, 40):
            part = slice(sample, sample + 1)
            assert torch.equal(evidence(maps[part], gradients[:, part]), whole[part])


def test_the_estimator_is_a_choice(tap: dict[str, torch.Tensor]) -> None:
    """References keep the codes of different estimators apart."""
    references = References(tap["references"])
    first = source(COPULA, tap["inputs"], tap["maps"], references)
    source(Binned(3), tap["inputs"], tap["maps"], references)
    assert torch.equal(source(COPULA, tap["inputs"], tap["maps"], references).null, first.null)
