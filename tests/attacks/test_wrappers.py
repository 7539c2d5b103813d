from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from undertow import craft
from undertow.attacks import BPDA, IGSM, Expectation
from undertow.errors import BadInput

Batch = tuple[Tensor, Tensor]


def quantise(x: Tensor) -> Tensor:
    return (x * 7).round() / 7


def test_bpda_breaks_a_defence_without_gradients(model: nn.Module, digits: Batch) -> None:
    x, y = digits[0][1200:1220], digits[1][1200:1220]

    class Quantised(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            z: Tensor = model(quantise(images))
            return z

    plain = craft(IGSM(epsilon=0.2), Quantised().eval(), x, y)
    adaptive = craft(IGSM(epsilon=0.2), BPDA(quantise, model), x, y)
    started_wrong = plain.steps == 0
    assert (plain.stalled | started_wrong | plain.success).all()
    assert plain.stalled.any(), "the defence hides no gradient: nothing is tested"
    assert adaptive.success.float().mean() > plain.success.float().mean() + 0.3
    with torch.no_grad():
        fooled = model(quantise(adaptive.end)).argmax(1) != y
    assert torch.equal(fooled, adaptive.success)


def test_bpda_differentiates_the_surrogate(model: nn.Module, batch: Batch) -> None:
    x, y = batch
    wrapped = BPDA(quantise, model, surrogate=lambda v: 3 * v)
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(cross_entropy(wrapped(leaf), y), leaf)
    at = quantise(x).requires_grad_()
    (inner,) = torch.autograd.grad(cross_entropy(model(at), y), at)
    assert torch.allclose(g, 3 * inner, atol=1e-6)


def test_a_defence_that_changes_the_shape_needs_a_surrogate(model: nn.Module, batch: Batch) -> None:
    with pytest.raises(BadInput, match="keep the shape"):
        BPDA(lambda x: x[:, :, :4], model)(batch[0])


def shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    step = int(torch.randint(-1, 2, (), generator=generator))
    return x.roll(step, dims=3)


def test_expectation_is_the_mean_probability(model: nn.Module, batch: Batch) -> None:
    wrapped = Expectation(model, shifted, samples=6, seed=1)
    with torch.no_grad():
        found = wrapped(batch[0])
        rolled = {s: model(batch[0].roll(s, dims=3)).softmax(1) for s in (-1, 0, 1)}
    assert torch.allclose(found.exp().sum(1), torch.ones(8), atol=1e-5)
    shares = torch.linalg.lstsq(
        torch.stack([rolled[s].flatten() for s in (-1, 0, 1)], 1), found.exp().flatten()
    ).solution
    assert torch.allclose(shares * 6, (shares * 6).round(), atol=1e-2), "not a mean of six draws"
    assert float(shares.sum()) == pytest.approx(1, abs=1e-3)


def test_attacks_on_an_expectation_do_not_depend_on_the_batch(
    model: nn.Module, batch: Batch
) -> None:
    wrapped = Expectation(model, shifted, samples=3)
    whole = craft(IGSM(epsilon=0.3), wrapped, *batch)
    parts = craft(IGSM(epsilon=0.3), wrapped, *batch, batch_size=3)
    assert torch.equal(whole.success, parts.success)
    assert torch.allclose(whole.end, parts.end, atol=1e-5)
    assert whole.success.any()
    with pytest.raises(BadInput, match="samples"):
        Expectation(model, shifted, samples=0)
