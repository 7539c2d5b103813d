from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from undertow import craft
from undertow.attacks import CW, FGSM, IGSM, JSMA, DeepFool, Ensemble
from undertow.attacks.driver.members import MembersOracle
from undertow.types import Goal

Batch = tuple[Tensor, Tensor]


@pytest.fixture
def right(model: nn.Module, other_model: nn.Module, digits: Batch) -> Batch:
    x, y = digits[0][1200:1220], digits[1][1200:1220]
    with torch.no_grad():
        ok = (model(x).argmax(1) == y) & (other_model(x).argmax(1) == y)
    return x[ok][:6], y[ok][:6]


@pytest.mark.parametrize(
    "attack",
    [
        IGSM(epsilon=0.4, steps=30),
        DeepFool(),
        CW(rounds=2, steps=40, constant=1.0, learning_rate=0.05),
        JSMA(gamma=0.5),
    ],
    ids=lambda a: a.name,
)
def test_success_is_to_fool_all_members(
    attack: Any, model: nn.Module, other_model: nn.Module, right: Batch
) -> None:
    x, y = right
    t = craft(Ensemble(attack=attack), [model, other_model], x, y)
    goal = Goal(y, None if (t.target < 0).all() else t.target)
    with torch.no_grad():
        all_fooled = goal.reached(model(t.end)) & goal.reached(other_model(t.end))
    assert torch.equal(t.success, all_fooled)
    assert t.success.float().mean() >= 0.5
    last = t.notes["fooled"][[int(t.records(i)[-1]) for i in range(len(x))]]
    if t.attack == "ensemble" and attack.stops_at_success:
        assert torch.equal(last.all(1), t.success)


def test_member_losses_are_those_of_the_members(
    model: nn.Module, other_model: nn.Module, right: Batch
) -> None:
    x, y = right
    t = craft(Ensemble(attack=IGSM(steps=4)), [model, other_model], x, y)
    with torch.no_grad():
        losses = [
            -cross_entropy(m(t.images), y[t.sample], reduction="none") for m in (model, other_model)
        ]
    moved = t.step > 0
    assert torch.allclose(t.notes["member_loss"][moved], torch.stack(losses, 1)[moved], atol=1e-4)
    assert t.notes["member_loss"][~moved].isnan().all()


@pytest.mark.parametrize("combine", ["loss", "logits", "probability"])
def test_gradients_are_of_what_is_combined(
    model: nn.Module, other_model: nn.Module, right: Batch, combine: Any
) -> None:
    x, y = right
    oracle = MembersOracle((model, other_model), 10, (3.0, 1.0), combine)
    oracle.open(len(x), 0)
    logits, g = oracle.gradient(x, lambda z: cross_entropy(z, y, reduction="none"))
    leaf = x.clone().requires_grad_()
    a, b = model(leaf), other_model(leaf)
    if combine == "loss":
        value = 0.75 * cross_entropy(a, y, reduction="sum") + 0.25 * cross_entropy(
            b, y, reduction="sum"
        )
        mixed = 0.75 * a + 0.25 * b
    else:
        mixed = (
            0.75 * a + 0.25 * b
            if combine == "logits"
            else (0.75 * a.softmax(1) + 0.25 * b.softmax(1)).log()
        )
        value = cross_entropy(mixed, y, reduction="sum")
    (expected,) = torch.autograd.grad(value, leaf)
    assert torch.allclose(g, expected, atol=1e-5)
    assert torch.allclose(logits, mixed, atol=1e-5)
    assert oracle.tally.forwards.tolist() == [2] * len(x)
    assert oracle.tally.backwards.tolist() == [2] * len(x)


def test_jacobians_are_of_the_mixed_logits(
    model: nn.Module, other_model: nn.Module, right: Batch
) -> None:
    x, _ = right
    oracle = MembersOracle((model, other_model), 10)
    oracle.open(len(x), 0)
    forms = torch.eye(10)[:3, None].expand(3, len(x), 10)
    logits, gs = oracle.jacobian(x, forms)
    leaf = x.clone().requires_grad_()
    mixed = (model(leaf) + other_model(leaf)) / 2
    for k in range(3):
        (expected,) = torch.autograd.grad(mixed[:, k].sum(), leaf, retain_graph=True)
        assert torch.allclose(gs[k], expected, atol=1e-5)
    assert torch.allclose(logits, mixed, atol=1e-5)


def test_an_ensemble_of_one_is_the_attack_itself(model: nn.Module, right: Batch) -> None:
    one = craft(Ensemble(attack=FGSM(epsilon=0.1)), model, *right)
    alone = craft(FGSM(epsilon=0.1), model, *right)
    assert torch.allclose(one.end, alone.end, atol=1e-6)
    assert one.settings["attack"] == {"name": "fgsm", "epsilon": pytest.approx(0.1)}


def test_several_models_without_the_word_ensemble(
    model: nn.Module, other_model: nn.Module, right: Batch
) -> None:
    plain = craft(IGSM(epsilon=0.2), [model, other_model], *right)
    named = craft(Ensemble(attack=IGSM(epsilon=0.2)), (model, other_model), *right)
    assert torch.equal(plain.end, named.end)
    assert torch.equal(plain.forwards, named.forwards)
