from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn

import undertow as ut
from undertow.data import load_data
from undertow.errors import BadInput
from undertow.models import load_model
from undertow.models.fitting import fit
from undertow.models.harden import Adversary
from undertow.models.recipe import Hardening, Recipe
from undertow.models.registry import fresh
from undertow.models.robustness import withstands

QUICK = Recipe(epochs=10, batch=64, rate=0.1, shift=1, flip=False, average=0.9, smoothing=0.0)
ATTACK = Hardening(epsilon=0.1, watched=100, watch_steps=5)


def _noise(seed=0):
    return torch.Generator().manual_seed(seed)


def _standing(model, x, y, epsilon=0.1, steps=10, **more):
    return withstands(model, x, y, epsilon=epsilon, steps=steps, generator=_noise(), **more)


def _fit(hardening, recipe=QUICK, **more):
    data = load_data("digits", "fit").subset(slice(0, 512))
    network = fresh("digits_cnn", data, 0)
    log = fit(
        network, data, recipe, seed=0, held_out=load_data("digits", "held_out"),
        hardening=hardening, **more,
    )  # fmt: skip
    return network, log


def test_a_linear_network_withstands_as_its_margin_says():
    """Two classes, z = (0, w·x): the nearest boundary lies w·x / ‖w‖₁ away in L∞."""
    w = torch.tensor([1.0, -2.0, 0.5, 3.0])
    head = nn.Linear(4, 2, bias=True)
    with torch.no_grad():
        head.weight.copy_(torch.stack([torch.zeros(4), w]))
        head.bias.copy_(torch.tensor([0.0, -1.25]))
    model = nn.Sequential(nn.Flatten(), head).eval().requires_grad_(False)
    # Away from the ends of the box, so that clipping does not bind.
    x = 0.5 + 0.3 * (torch.rand(200, 1, 2, 2, generator=_noise(1)) - 0.5)
    y = model(x).argmax(1)
    distance = (x.flatten(1) @ w - 1.25).abs() / w.abs().sum()
    for epsilon in (0.01, 0.03, 0.06):
        expected = distance > epsilon
        near = (distance - epsilon).abs() < 1e-5
        found = _standing(model, x, y, epsilon=epsilon, steps=5)
        assert torch.equal(found[~near], expected[~near])
        assert 0 < expected.sum() < 200


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_agrees_with_the_attack_of_the_same_name(dtype):
    """A peer of another hand: PGD of the attacks, with as many steps of the same length."""
    model, (x, y) = load_model("digits_cnn"), load_data("digits")[:100]
    pgd = ut.attacks.PGD(epsilon=0.1, steps=20, alpha=0.025)
    fooled = torch.as_tensor(ut.craft(pgd, model, x, y).success)
    mine = ~_standing(model, x, y, steps=20, size=0.025, dtype=dtype)
    assert abs(float(fooled.float().mean()) - float(mine.float().mean())) < 0.05
    assert 0.2 < float(mine.float().mean()) < 1


def test_more_restarts_and_larger_balls_leave_fewer_standing():
    model, (x, y) = load_model("digits_cnn"), load_data("digits")[:100]
    one, three = (_standing(model, x, y, epsilon=0.06, restarts=r) for r in (1, 3))
    assert not (three & ~one).any()
    shares = [
        float(_standing(model, x, y, epsilon=e).float().mean()) for e in (0.01, 0.05, 0.1, 0.5)
    ]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == 0


def test_a_saturated_softmax_is_no_robustness():
    """Logits a thousand times as large: the cross-entropy has no gradient, the answer is equal."""
    model, (x, y) = load_model("digits_cnn"), load_data("digits")[:60]

    class Saturated(nn.Module):
        def forward(self, x):
            return 1000 * model(x)

    plain = _standing(model, x, y, restarts=3)
    masked = _standing(Saturated().eval(), x, y, restarts=3)
    assert float(masked.float().mean()) <= float(plain.float().mean()) + 0.05
    assert float(_standing(Saturated().eval(), x, y).float().mean()) > 0.5  # cross-entropy alone


def test_hardening_makes_the_network_withstand_more():
    hardened, log = _fit(ATTACK)
    data = load_data("digits", "fit").subset(slice(0, 512))
    plain = fresh("digits_cnn", data, 0)
    fit(plain, data, QUICK, seed=0)
    x, y = load_data("digits")[:200]
    robust, before = (
        float(_standing(n.eval(), x, y, restarts=2).float().mean()) for n in (hardened, plain)
    )
    assert robust > before + 0.1
    assert [line["steps"] for line in log] == [1] * QUICK.epochs
    assert log[-1]["robust"] > log[0]["robust"]


@pytest.mark.parametrize("steps", [1, 3])
def test_inputs_are_disturbed_as_far_as_they_may_be(steps):
    """One step: noise and step add up; several: they stay in the ball. Always inside the box."""
    held = load_data("digits", "held_out")
    adversary = Adversary(
        dataclasses.replace(ATTACK, steps=steps, noise=2.0), held, 0, torch.float32
    )
    network, (x, y) = load_model("digits_cnn"), held[:50]
    middle = 0.5 + 0.02 * (x - 0.5)
    moved = (adversary.disturb(network, middle, y, adversary.epoch(0)) - middle).abs()
    assert float(moved.max()) == pytest.approx(0.1 if steps > 1 else 0.3, abs=0.005)
    ends = adversary.disturb(network, x, y, adversary.epoch(0))
    assert float(ends.min()) >= 0
    assert float(ends.max()) <= 1
    again = adversary.disturb(network, x, y, adversary.epoch(0))
    assert torch.equal(ends, again)


def test_a_collapse_is_taken_back_and_done_again_with_more_steps(monkeypatch, tmp_path):
    """Robust accuracy is told to vanish once, in the third epoch."""
    seen = []

    def robust(self, network, device):
        seen.append(self.steps)
        return 0.05 if len(seen) == 3 else 0.3 + len(seen) / 100

    monkeypatch.setattr(Adversary, "robust", robust)
    recipe = dataclasses.replace(QUICK, epochs=4)
    _, log = _fit(ATTACK, recipe, checkpoint=tmp_path / "a.pt")
    assert [line["epoch"] for line in log] == [1, 2, 3, 3, 4]
    assert [line.get("taken_back", 0) for line in log] == [0, 0, 1, 0, 0]
    assert seen == [1, 1, 1, 2, 2]
    assert log[3]["steps"] == 2


def test_taking_back_restores_the_state_before_the_epoch(monkeypatch):
    """The epoch after a collapse starts from what the good epoch ended in."""
    from undertow.models import fitting

    starts = {}
    real = fitting._epoch

    def spying(state, *rest):
        key = (state.epoch, state.adversary.mends)
        starts[key] = {k: v.clone() for k, v in state.network.state_dict().items()}
        return real(state, *rest)

    monkeypatch.setattr(fitting, "_epoch", spying)
    values = iter([0.4, 0.1, 0.4, 0.4])
    monkeypatch.setattr(Adversary, "robust", lambda self, network, device: next(values))
    _fit(ATTACK, dataclasses.replace(QUICK, epochs=3))
    assert set(starts) == {(0, 0), (1, 0), (1, 1), (2, 1)}
    assert all(torch.equal(v, starts[1, 1][k]) for k, v in starts[1, 0].items())


def test_a_training_that_diverges_ends_in_a_line():
    """A rate a million times too high: halving it three times is not enough."""
    wild = dataclasses.replace(QUICK, epochs=3, rate=1e12, average=0.0)
    with pytest.raises(BadInput, match=r"failed 4 times.*not finite"):
        _fit(ATTACK, wild)
    data = load_data("digits", "fit").subset(slice(0, 512))
    with pytest.raises(BadInput, match="diverged: the loss of epoch 1 is not finite"):
        fit(fresh("digits_cnn", data, 0), data, wild, seed=0)


def test_a_killed_hardening_ends_in_the_same_weights(tmp_path):
    undisturbed, log = _fit(ATTACK, dataclasses.replace(QUICK, epochs=3))

    class Stop(Exception):
        pass

    def stopping(title, total, unit=""):
        from contextlib import contextmanager

        @contextmanager
        def progress():
            done = [0.0]

            def advance(amount=1, note=""):
                done[0] += amount
                if done[0] > 1.5:
                    raise Stop

            yield advance

        return progress()

    recipe = dataclasses.replace(QUICK, epochs=3)
    with pytest.raises(Stop):
        _fit(ATTACK, recipe, checkpoint=tmp_path / "a.pt", progress=stopping)
    resumed, again = _fit(ATTACK, recipe, checkpoint=tmp_path / "a.pt")
    assert [line["robust"] for line in again] == [line["robust"] for line in log]
    for a, b in zip(undisturbed.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("bad", [{"epsilon": 0.0}, {"epsilon": 8.0}, {"steps": 0}])
def test_what_cannot_be_is_said(bad):
    with pytest.raises(BadInput, match="allowed"):
        Hardening(**bad)


def test_it_needs_images_to_watch():
    data = load_data("digits", "fit").subset(slice(0, 128))
    with pytest.raises(BadInput, match="held-out"):
        fit(fresh("digits_cnn", data, 0), data, QUICK, seed=0, hardening=ATTACK)
    assert math.isfinite(ATTACK.epsilon)
