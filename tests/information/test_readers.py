from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from undertow.errors import BadInput
from undertow.information import readers


def gaussians(
    n: int, classes: int, dim: int, gap: float, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Unit Gaussians around random centres; the third tensor is the true log posterior (nats)."""
    g = torch.Generator().manual_seed(seed)
    centres = gap * torch.randn(classes, dim, generator=torch.Generator().manual_seed(99))
    y = torch.arange(n) % classes
    x = centres[y] + torch.randn(n, dim, generator=g)
    posterior = (-0.5 * (x[:, None] - centres).square().sum(2)).log_softmax(1)
    return x, y, posterior


def fitted(classes: int = 4, gap: float = 0.7) -> readers.Readers:
    x, y, _ = gaussians(4000, classes, 6, gap)
    h, hy, _ = gaussians(2000, classes, 6, gap, seed=1)
    return readers.fit({"tap": x}, y, {"tap": h}, hy)


def test_class_information_is_the_true_posteriors_where_it_is_linear() -> None:
    found = fitted()
    x, y, posterior = gaussians(3000, 4, 6, 0.7, seed=2)
    bits = readers.class_information(found, {"tap": x})[:, 0]
    truth = posterior / np.log(2) + 2
    rows = torch.arange(len(y))
    assert (bits - truth)[rows, y].mean().abs() < 0.02
    middle = truth > -6
    assert (bits - truth)[middle].abs().mean() < 0.15


def test_held_out_cross_entropy_is_that_of_the_answers_and_gives_v_information() -> None:
    found = fitted()
    h, hy, posterior = gaussians(2000, 4, 6, 0.7, seed=1)
    bits = readers.class_information(found, {"tap": h})[torch.arange(2000), 0, hy]
    reader = found.by_tap["tap"]
    assert found.entropy == pytest.approx(2)
    assert float(bits.mean()) == pytest.approx(2 - reader.cross_entropy, abs=1e-5)
    assert found.information["tap"] == pytest.approx(float(bits.mean()), abs=1e-5)
    optimal = float(-posterior[torch.arange(2000), hy].mean() / np.log(2))
    assert reader.cross_entropy == pytest.approx(optimal, abs=0.02)


def test_agrees_with_scikit_learn() -> None:
    x, y, _ = gaussians(1500, 3, 5, 0.8)
    h, hy, _ = gaussians(800, 3, 5, 0.8, seed=1)
    reader = readers.fit({"tap": x}, y, {"tap": h}, hy).by_tap["tap"]
    z, zh = ((v - x.mean(0)) / x.std(0, correction=0) for v in (x, h))
    peer = LogisticRegression(C=1 / (reader.penalty * len(x)), tol=1e-8, max_iter=1000).fit(z, y)
    ours = (h @ reader.weight.T + reader.bias) * reader.temperature
    gap = ours.numpy() - peer.decision_function(zh)
    np.testing.assert_allclose(gap - gap.mean(1, keepdims=True), 0, atol=0.02)


def test_noise_tells_nothing() -> None:
    g = torch.Generator().manual_seed(0)
    x, h = torch.randn(1000, 40, generator=g), torch.randn(1000, 40, generator=g)
    y = torch.arange(1000) % 5
    found = readers.fit({"tap": x}, y, {"tap": h}, y)
    assert abs(found.information["tap"]) < 0.01
    bits = readers.class_information(found, {"tap": torch.randn(500, 40, generator=g)})
    assert bits.abs().max() < 0.5


def test_bounds_hold_for_any_input() -> None:
    found = fitted(gap=5.0)
    for scale in (0.0, 1.0, 1e3, 1e6):
        bits = readers.class_information(found, {"tap": scale * torch.randn(200, 6)})
        assert bits.isfinite().all()
        assert bits.min() >= np.log2(readers.MIXING) - 1e-4
        assert bits.max() <= 2 + 1e-6


def test_bounds_hold_for_classes_of_any_frequency() -> None:
    y = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
    x = torch.nn.functional.one_hot(y, 3).float() + 0.01 * torch.randn(1000, 3)
    found = readers.fit({"tap": x}, y, {"tap": x}, y)
    bits = readers.class_information(found, {"tap": 1e4 * torch.randn(300, 3)})[:, 0]
    assert bits.min() >= np.log2(readers.MIXING) - 1e-4
    assert (bits <= -found.prior.log2() + 1e-6).all()


def test_calibration_corrects_overconfidence() -> None:
    """Few inputs, many features: the answers on new inputs are as sure as they are right."""
    x, y, _ = gaussians(150, 3, 60, 0.25)
    h, hy, _ = gaussians(3000, 3, 60, 0.25, seed=1)
    t, ty, _ = gaussians(3000, 3, 60, 0.25, seed=2)
    found = readers.fit({"tap": x}, y, {"tap": h}, hy)
    answer = (readers.class_information(found, {"tap": t})[:, 0] + found.prior.log2()).exp2()
    sure, guess = answer.max(1)
    assert float(sure.mean()) == pytest.approx(float((guess == ty).float().mean()), abs=0.03)


def test_one_input_reads_the_same_in_any_batch() -> None:
    found = fitted()
    x, _, _ = gaussians(64, 4, 6, 0.7, seed=3)
    whole = readers.class_information(found, {"tap": x})
    for size in (1, 3, 17):
        parts = [readers.class_information(found, {"tap": p}) for p in x.split(size)]
        assert torch.equal(torch.cat(parts), whole)


def test_features_are_averages_of_quarters() -> None:
    maps = torch.rand(3, 5, 8, 6)
    truth = torch.stack(
        [maps[:, :, r : r + 4, c : c + 3].mean((2, 3)) for r in (0, 4) for c in (0, 3)], 2
    ).flatten(1)
    torch.testing.assert_close(readers.features(maps), truth)
    odd = readers.features(torch.rand(3, 5, 7, 7))
    assert odd.shape == (3, 20)
    assert readers.features(torch.rand(3, 5, 1, 7)).shape == (3, 10)
    dense = torch.rand(3, 5)
    assert torch.equal(readers.features(dense), dense)


# Takeover -----------------------------------------------------------------------------------------


def slow_takeover(lead: list[bool]) -> int:
    for k in range(len(lead)):
        if all(lead[k:]):
            return k
    return -1


leads = st.lists(st.booleans(), min_size=1, max_size=8)


@given(lead=leads)
@settings(max_examples=60)
def test_takeover_is_the_first_tap_of_a_lead_that_lasts(lead) -> None:
    bits = torch.zeros(1, len(lead), 3)
    bits[0, :, 1] = 1.0
    bits[0, :, 2] = torch.tensor([2.0 if ahead else 1.0 for ahead in lead])  # a tie is no lead
    found = readers.takeover(bits, torch.tensor([1]), torch.tensor([2]))
    assert found.tolist() == [slow_takeover(lead)]
    assert readers.takeover(bits, torch.tensor([1]), torch.tensor([1])).tolist() == [-1]
    depth = torch.linspace(0.1, 1, len(lead))
    got = readers.takeover_depth(found, depth)
    assert got.isnan().item() if found < 0 else got.item() == depth[found].item()


@given(taken=st.lists(st.integers(-1, 3), min_size=1, max_size=8))
@settings(max_examples=60)
def test_takeover_step_is_the_first_step_of_a_takeover_that_lasts(taken) -> None:
    steps = 2 * torch.arange(len(taken))
    place = slow_takeover([t >= 0 for t in taken])
    assert readers.takeover_step(torch.tensor(taken), steps) == (2 * place if place >= 0 else -1)


def test_classes_without_inputs_are_not_told_of_and_change_nothing_else() -> None:
    """The same readers as of the classes that there are, put among all."""
    x, y, _ = gaussians(900, 3, 6, 0.9)
    h, hy, _ = gaussians(400, 3, 6, 0.9, seed=1)
    few = readers.fit({"tap": x}, y, {"tap": h}, hy)
    where = torch.tensor([1, 4, 6])
    strange = torch.cat([where[hy], torch.tensor([0, 5])])  # held-out inputs of other classes
    held = torch.cat([h, torch.randn(2, 6)])
    many = readers.fit({"tap": x}, where[y], {"tap": held}, strange, classes=8)
    wanted = readers.class_information(few, {"tap": h})
    got = readers.class_information(many, {"tap": h})
    assert torch.equal(got[..., where], wanted)
    others = [m for m in range(8) if m not in where.tolist()]
    assert bool(got[..., others].isnan().all())
    assert many.entropy == pytest.approx(few.entropy)
    assert many.by_tap["tap"].cross_entropy == few.by_tap["tap"].cross_entropy
    rival = torch.full((len(h),), 5)
    assert set(readers.takeover(got, where[hy], rival).tolist()) == {-1}


# Bad input and cost -------------------------------------------------------------------------------


def test_bad_input() -> None:
    x, y = torch.randn(20, 4), torch.arange(20) % 2
    with pytest.raises(BadInput, match="two classes or more, got 1 of 3 to fit on"):
        readers.fit({"a": x}, 0 * y, {"a": x}, y, classes=3)
    with pytest.raises(BadInput, match="and 0 held-out inputs of those"):
        readers.fit({"a": x}, y, {"a": x}, y + 2, classes=4)
    with pytest.raises(BadInput, match="same taps twice"):
        readers.fit({"a": x}, y, {"b": x}, y)
    with pytest.raises(BadInput, match="tap 'a': 0 rows of held-out features, 0 labels"):
        readers.fit({"a": x}, y, {"a": x[:0]}, y[:0], classes=2)
    with pytest.raises(BadInput, match="NaN or infinite"):
        readers.fit({"a": x / 0}, y, {"a": x}, y)
    found = readers.fit({"a": x}, y, {"a": x}, y)
    with pytest.raises(BadInput, match="no maps of tap 'a'"):
        readers.class_information(found, {"b": x})
    with pytest.raises(BadInput, match="gives 3 features, its reader was fitted on 4"):
        readers.class_information(found, {"a": x[:, :3]})


def test_constant_features_are_harmless() -> None:
    x, y = torch.randn(60, 4), torch.arange(60) % 3
    x[:, 1], x[:, 2] = 0.0, 7.0
    found = readers.fit({"a": x}, y, {"a": x}, y)
    assert found.by_tap["a"].weight[:, 1:3].abs().max() == 0
    assert readers.class_information(found, {"a": x}).isfinite().all()


def test_fitting_is_quick() -> None:
    """2,000 inputs, 512 features, ten classes: what the widest tap of good_init asks for."""
    x, y, _ = gaussians(2000, 10, 512, 0.1)
    h, hy, _ = gaussians(1000, 10, 512, 0.1, seed=1)
    start = time.process_time()
    readers.fit({"tap": x}, y, {"tap": h}, hy)
    assert time.process_time() - start < 6
