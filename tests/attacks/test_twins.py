"""Against twins: each attack written once more, slowly and straight from its paper."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from undertow import craft
from undertow.attacks import CW, FGSM, IGSM, DeepFool, make
from undertow.attacks.driver.open import open_oracle
from undertow.data import load_data
from undertow.losses import goal_entropy, hinge
from undertow.models import load_model
from undertow.types import Goal

Batch = tuple[Tensor, Tensor]


def _gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    nn.functional.cross_entropy(model(x), y, reduction="sum").backward()
    assert x.grad is not None
    return x.grad


def _right(model: nn.Module, batch: Batch) -> Batch:
    with torch.no_grad():
        right = model(batch[0]).argmax(1) == batch[1]
    return batch[0][right], batch[1][right]


def test_fgsm(model: nn.Module, batch: Batch) -> None:
    x, y = _right(model, batch)
    twin = (x + 0.1 * _gradient(model, x, y).sign()).clamp(0, 1)
    assert torch.allclose(craft(FGSM(epsilon=0.1), model, x, y).end, twin, atol=1e-6)


def test_fgsm_with_a_target(model: nn.Module, batch: Batch) -> None:
    x, y = _right(model, batch)
    t = (y + 3) % 10
    twin = (x - 0.1 * _gradient(model, x, t).sign()).clamp(0, 1)
    assert torch.allclose(craft(FGSM(epsilon=0.1), model, x, y, target=t).end, twin, atol=1e-6)


def test_igsm(model: nn.Module, batch: Batch) -> None:
    x0, y = _right(model, batch)
    trajectory = craft(IGSM(epsilon=0.2, alpha=0.03, steps=10), model, x0, y)
    for i in range(len(x0)):
        x, steps = x0[i : i + 1], 0
        while steps < 10 and int(model(x).argmax()) == int(y[i]):
            x = x + 0.03 * _gradient(model, x, y[i : i + 1]).sign()
            x = x.clamp(x0[i : i + 1] - 0.2, x0[i : i + 1] + 0.2).clamp(0, 1)
            steps += 1
        assert int(trajectory.steps[i]) == steps
        assert torch.allclose(trajectory.end[i], x[0], atol=1e-5)


def test_deepfool(model: nn.Module, batch: Batch) -> None:
    """Algorithm 2, with the authors' overshoot at every step."""
    x0, y = _right(model, batch)
    for attack in (DeepFool(steps=20), DeepFool(steps=20, slack=None)):
        trajectory = craft(attack, model, x0, y)
        for i in range(len(x0)):
            x, total, label, steps = x0[i : i + 1], torch.zeros_like(x0[i : i + 1]), int(y[i]), 0
            while steps < 20 and int(model(x).argmax()) == label:
                J = torch.autograd.functional.jacobian(lambda v: model(v)[0], x)
                f = model(x)[0].detach()
                best = None
                for k in range(10):
                    if k == label:
                        continue
                    w = J[k] - J[label]
                    far = abs(float(f[k] - f[label])) / float(w.norm())
                    if best is None or far < best[0]:
                        best = (far, w)
                assert best is not None
                total = total + (best[0] + 1e-4) * best[1] / best[1].norm()
                x = (x0[i : i + 1] + 1.02 * total).clamp(0, 1)
                steps += 1
            assert int(trajectory.steps[i]) == steps
            assert torch.allclose(trajectory.end[i], x[0], atol=1e-3)


def _cw(model: nn.Module, x0: Tensor, label: Tensor, rounds: int, steps: int) -> tuple[bool, float]:
    """Section 6A for one input, with torch's own Adam and no early abort."""
    c, low, high, best = 0.1, 0.0, 1e10, float("inf")
    w0 = (2 * x0.clamp(0.4 / 255, 1 - 0.4 / 255) - 1).atanh()
    for _ in range(rounds):
        w = w0.clone().requires_grad_()
        adam = torch.optim.Adam([w], lr=0.02)
        found = False
        for _ in range(steps):
            x = (w.tanh() + 1) / 2
            z = model(x)
            others = z.scatter(1, label[:, None], -1e9).amax(1)
            margin = (z[0, label[0]] - others[0]).clamp(min=0)
            square = (x - x0).square().sum()
            if int(z.argmax()) != int(label):
                found, best = True, min(best, square.item())
            adam.zero_grad()
            (square + c * margin).backward()
            adam.step()
        low, high = (low, min(high, c)) if found else (max(low, c), high)
        c = (low + high) / 2 if high < 1e10 else c * 10
    return best < float("inf"), best**0.5


def test_cw(model: nn.Module, batch: Batch) -> None:
    x, y = _right(model, batch)
    attack = CW(constant=0.1, learning_rate=0.02, rounds=3, steps=40, abort_early=False)
    trajectory = craft(attack, model, x[:3], y[:3])
    assert int(trajectory.notes["round"].max()) == 3
    for i in range(3):
        success, l2 = _cw(model, x[i : i + 1], y[i : i + 1], 3, 40)
        assert bool(trajectory.success[i]) == success
        if success:
            assert float(trajectory.l2[i]) == pytest.approx(l2, rel=1e-2)


@pytest.mark.parametrize("loss", [goal_entropy, hinge])
@pytest.mark.parametrize("aim", [None, 3])
def test_gradients_by_finite_differences(
    model: nn.Module, batch: Batch, loss: object, aim: int | None
) -> None:
    assert callable(loss)
    double = deepcopy(model).double()
    x, y = _right(model, batch)
    x, y = x[:2].double(), y[:2]
    goal = Goal(y, None if aim is None else (y + aim) % 10)
    oracle = open_oracle(FGSM(), (double,), x)
    oracle.open(2, 0)
    _, g = oracle.gradient(x, lambda z: loss(z, goal))
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        d = torch.randn(x.shape, generator=generator, dtype=x.dtype) * 1e-6
        with torch.no_grad():
            slope = (loss(double(x + d), goal) - loss(double(x - d), goal)) / 2
        assert torch.allclose(slope, (g * d).flatten(1).sum(1), rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("attack", ["cw", "cw_linf", "cw_l0"])
def test_black_and_white_images_can_be_moved(attack: str) -> None:
    """At exactly 0 and 1 tanh has no gradient; the attacks start half a grey level inside."""
    inner, (x, _) = load_model("digits_cnn"), load_data("digits")[:3]
    x = (x > 0.5).float()
    y = inner(x).argmax(1)
    t = craft(make(attack), inner, x, y)
    assert t.success.all()
    assert float(t.end.min()) >= 0
    assert float(t.end.max()) <= 1
    first = t.images_of(torch.nonzero(t.step == 0).flatten())
    assert torch.equal(first, x)
