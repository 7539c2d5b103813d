"""JSMA against a slow twin that reads like the paper, and against closed forms."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from undertow.attacks.driver.craft import craft
from undertow.attacks.jsma import JSMA
from undertow.errors import BadInput
from undertow.types import Attack, Draws, Goal, Oracle


class Counted:
    """The plainest oracle: a model in float64 whose calls are counted."""

    def __init__(self, model, classes=10):
        self.model, self.classes = model, classes
        self.forwards = self.backwards = 0

    def logits(self, x):
        self.forwards += len(x)
        with torch.no_grad():
            return self.model(x)

    def gradient(self, x, loss):
        x = x.detach().requires_grad_()
        logits = self.model(x)
        self.forwards += len(x)
        self.backwards += len(x)
        return logits.detach(), torch.autograd.grad(loss(logits).sum(), x)[0]

    def jacobian(self, x, cotangents):
        x = x.detach().requires_grad_()
        logits = self.model(x)
        self.forwards += len(x)
        self.backwards += len(x) * len(cotangents)
        rows = [torch.autograd.grad(logits, x, c, retain_graph=True)[0] for c in cotangents]
        return logits.detach(), torch.stack(rows)


def play(attack, model, x0, target, classes=10):
    """Run to success or to the end: per sample, its images and the pixels of each step."""
    oracle = Counted(model, classes)
    goal = Goal(torch.full_like(target, -1), target)
    images = [[x] for x in x0]
    pixels = [[] for _ in x0]
    stalled = torch.zeros(len(x0), dtype=torch.bool)
    done = goal.reached(model(x0))
    rows = torch.nonzero(~done).flatten()
    if not len(rows):
        return images, pixels, stalled, oracle
    draws = Draws(torch.arange(len(rows)))
    steps = attack.iterates(oracle, x0[rows], goal[rows], draws=draws)
    iterate = next(steps)
    while True:
        assert torch.equal(iterate.logits, model(iterate.x).detach())
        for k, row in enumerate(rows):
            images[row].append(iterate.x[k])
            if iterate.notes["pixels"][k, 0] >= 0:
                pixels[row].append(tuple(iterate.notes["pixels"][k].tolist()))
        stalled[rows] |= iterate.notes["stalled"]
        keep = ~goal[rows].reached(iterate.logits) & ~iterate.finished
        rows = rows[keep]
        try:
            iterate = steps.send(keep)
        except StopIteration:
            assert not keep.any()
            return images, pixels, stalled, oracle


def papers_twin(model, x, t, *, theta, upsilon, decrease, softmax):
    """Algorithms 2 and 3 of 1511.07528, with the whole Jacobian and all pairs."""
    image, shape = x.flatten().clone(), x.shape
    sign = -1 if decrease else 1
    gamma = [i for i in range(len(image)) if (image[i] > 0 if decrease else image[i] < 1)]
    max_iter = math.floor(len(image) * upsilon / 2 + 1e-9)
    chosen = []

    def F(v):  # noqa: N802
        z = model(v.reshape(1, *shape))[0]
        return z.softmax(0) if softmax else z

    while F(image).argmax() != t and len(chosen) < max_iter and gamma:
        J = torch.autograd.functional.jacobian(F, image)
        top, pair = 0.0, None
        for k, p in enumerate(gamma):
            for q in gamma[k + 1 :]:
                alpha = J[t, p] + J[t, q]
                beta = sum(J[j, p] + J[j, q] for j in range(len(J)) if j != t)
                admissible = (alpha < 0 < beta) if decrease else (alpha > 0 > beta)
                if admissible and -alpha * beta > top:
                    top, pair = -alpha * beta, (p, q)
        if pair is None:
            break
        for p in pair:
            image[p] = (image[p] + sign * theta).clamp(0, 1)
            if image[p] in (0, 1):
                gamma.remove(p)
        chosen.append(pair)
    return image.reshape(shape), chosen


@pytest.fixture(scope="module")
def exact(digits):
    return digits[0].double(), digits[1]


@pytest.fixture(scope="module")
def model(model):
    """The small network in float64.

    Softmax does not see what all logits share, the saliency map of logits does. Most of it is
    taken away, or hardly any pair is admissible.
    """
    net = copy.deepcopy(model).double().requires_grad_(False)
    net[-1].weight -= 0.8 * net[-1].weight.mean(0)
    return net


class Linear(nn.Module):
    """Logits W x of a flattened image: the derivative is W everywhere."""

    def __init__(self, W):
        super().__init__()
        self.W = torch.as_tensor(W, dtype=torch.float64)

    def forward(self, x):
        return x.flatten(1) @ self.W.T


def test_it_is_an_attack():
    assert isinstance(JSMA(), Attack)
    assert isinstance(Counted(nn.Identity()), Oracle)


@pytest.mark.parametrize("decrease", [False, True])
@pytest.mark.parametrize(("softmax", "theta"), [(False, 1.0), (False, 0.3), (True, 0.7)])
def test_the_papers_algorithms_step_by_step(model, exact, decrease, softmax, theta):
    x = exact[0][[3, 40]][:, :, 1:7, 1:7]  # 36 features: 630 pairs a step for the twin
    crop = nn.Sequential(nn.ZeroPad2d(1), model)
    target = (crop(x).argmax(1) + 4) % 10
    attack = JSMA(
        theta=theta,
        gamma=0.4,
        direction="decrease" if decrease else "increase",
        outputs="softmax" if softmax else "logits",
    )
    images, pixels, _, _ = play(attack, crop, x, target)
    for row in range(2):
        end, chosen = papers_twin(
            crop, x[row], int(target[row]),
            theta=theta, upsilon=0.4, decrease=decrease, softmax=softmax,
        )  # fmt: skip
        assert chosen
        assert pixels[row] == chosen
        assert torch.allclose(images[row][-1], end, atol=1e-15)


def test_most_targets_are_reached_with_few_features(model, exact):
    x, y = exact[0][1200:1220], exact[1][1200:1220]
    target = (y + 3) % 10
    images, pixels, _, _ = play(JSMA(gamma=0.5), model, x, target)
    end = torch.stack([steps[-1] for steps in images])
    reached = model(end).argmax(1) == target
    assert reached.double().mean() >= 0.8
    assert end.min() >= 0
    assert end.max() <= 1
    for row, steps in enumerate(images):
        for now, then, pair in zip(steps, steps[1:], pixels[row], strict=False):
            changed = torch.nonzero((now != then).flatten()).flatten().tolist()
            assert changed == list(pair)


def test_one_forward_and_two_backwards_a_step(model, exact):
    x = exact[0][1200:1201]
    _, pixels, _, oracle = play(JSMA(gamma=0.5), model, x, (exact[1][1200:1201] + 3) % 10)
    assert oracle.forwards == len(pixels[0]) + 1
    assert oracle.backwards == 2 * (len(pixels[0]) + 1)
    _, pixels, _, oracle = play(
        JSMA(gamma=0.5, outputs="softmax"), model, x, (exact[1][1200:1201] + 3) % 10
    )
    assert oracle.backwards == len(pixels[0]) + 1


def test_rows_do_not_depend_on_their_batch(model, exact):
    x, target = exact[0][1200:1212], torch.arange(12) % 10
    together = play(JSMA(gamma=0.5), model, x, target)[1]
    for row in range(12):
        alone = play(JSMA(gamma=0.5), model, x[row : row + 1], target[row : row + 1])[1]
        assert alone[0] == together[row]


def test_a_linear_model_in_closed_form():
    # One class against the other: alpha = w, beta = -w. The pairs come in order of w.
    w = torch.tensor([0.1, 0.5, 0.2, 0.4, 0.3, -1.0])
    net = Linear(torch.stack([w.double(), -w.double() + 0.0]))
    x = torch.zeros(1, 1, 2, 3, dtype=torch.float64)
    net_with_bias = nn.Sequential(net, Shift(torch.tensor([0.0, 2.1])))
    _, pixels, _, _ = play(JSMA(gamma=1.0), net_with_bias, x, torch.tensor([0]), classes=2)
    assert pixels[0] == [(1, 3), (2, 4)]


class Shift(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, z):
        return z + self.by


def test_the_budget_counts_steps_of_two_features():
    assert JSMA(gamma=0.145).budget(784) == 56  # the paper: 112 of 784 pixels
    assert JSMA(gamma=0.29).budget(200) == 29
    assert JSMA(gamma=1.0).budget(7) == 3
    with pytest.raises(BadInput, match=r"less than one pair.*at least 0\.0312"):
        JSMA(gamma=0.03).budget(64)
    # The wrong class is out of reach, so the attack runs to its budget.
    net = nn.Sequential(
        Linear(torch.tensor([[1.0] * 64, [0.5] * 64])), Shift(torch.tensor([-99.0, 0]))
    )
    x = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    attack = JSMA(theta=0.25, gamma=0.25)
    images, pixels, stalled, _ = play(attack, net, x, torch.tensor([0, 0]), classes=2)
    assert [len(p) for p in pixels] == [0, 0]  # beta > 0 throughout: no admissible pair
    assert not stalled.any()
    net[0].W[1] *= -1
    images, pixels, _, _ = play(attack, net, x, torch.tensor([0, 0]), classes=2)
    assert pixels[0] == [(0, 1)] * 4 + [(2, 3)] * 4  # theta 0.25 saturates after four steps
    assert torch.equal(images[0][-1].flatten()[:4], torch.ones(4, dtype=torch.float64))


def test_features_saturated_from_the_start_are_left_out():
    net = nn.Sequential(
        Linear(torch.tensor([[3.0, 2.0, 1.0, 1.0], [-1.0] * 4])), Shift(torch.tensor([-99.0, 0]))
    )
    x = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64).reshape(1, 1, 2, 2)
    _, pixels, _, _ = play(JSMA(gamma=1.0), net, x, torch.tensor([0]), classes=2)
    assert pixels[0] == [(1, 2)]  # then one feature is left, and a pair needs two


class Saturated(nn.Module):
    """A softmax so sharp that float32 gradients of its outputs are exactly zero."""

    def __init__(self, sharpness):
        super().__init__()
        self.sharpness = sharpness

    def forward(self, x):
        z = x.flatten(1) @ torch.tensor([[1.0, 0.4, -0.2, 0.0], [-1.0, 0.2, 0.1, 0.6]]).T
        return self.sharpness * (z + torch.tensor([1.0, 0.0]))


def test_vanished_gradients_are_reported_and_the_temperature_brings_them_back():
    x = torch.full((1, 1, 2, 2), 0.2)
    model, target = Saturated(1e4), torch.tensor([1])
    _, pixels, stalled, _ = play(JSMA(gamma=1.0, outputs="softmax"), model, x, target, classes=2)
    assert stalled.tolist() == [True]
    assert pixels == [[]]
    for rule in ("pair", "gradient"):
        attack = JSMA(gamma=1.0, outputs="softmax", rule=rule)
        assert play(attack, model, x, target, classes=2)[2].tolist() == [True]
    attack = JSMA(gamma=1.0, adaptive=True, temperature=1e4)
    _, pixels, stalled, _ = play(attack, model, x, target, classes=2)
    assert stalled.tolist() == [False]
    assert pixels[0] == [(2, 3)]
    # The same as plain softmax outputs of the model without its sharpness.
    plain = play(JSMA(gamma=1.0, outputs="softmax"), Saturated(1.0), x, target, classes=2)[1]
    assert plain[0][:1] == pixels[0][:1]


def test_one_stalled_row_leaves_the_others_alone():
    class Dead(nn.Module):
        def forward(self, x):
            z = x.flatten(1) @ torch.tensor([[1.0, 2.0, 1.5, 0.5], [-1.0, -1.0, -1.0, -1.0]]).T
            return z.clamp(-4, 1) + torch.tensor([0.0, 9.0])  # flat where the clamp bites

    x = torch.stack([torch.zeros(1, 2, 2), torch.full((1, 2, 2), 0.9)])
    _, pixels, stalled, _ = play(JSMA(gamma=1.0), Dead(), x, torch.tensor([0, 0]), classes=2)
    assert stalled[1]
    assert pixels[1] == []
    assert pixels[0][0] == (1, 2)


def test_half_precision_moves_the_same_pixels(model, exact):
    x, target = exact[0][1200:1204], torch.tensor([7, 7, 7, 7])
    single = copy.deepcopy(model).float()
    half = copy.deepcopy(model).bfloat16()
    a = play(JSMA(gamma=0.3), single, x.float(), target)
    b = play(JSMA(gamma=0.3), half, x.bfloat16(), target)
    assert b[0][0][-1].dtype == torch.bfloat16
    same = np.mean([p[:1] == q[:1] for p, q in zip(a[1], b[1], strict=True)])
    assert same >= 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"theta": 0.0}, r"theta is 0.0; it must be a number above 0 and at most 1"),
        ({"theta": float("nan")}, "theta is nan"),
        ({"gamma": 1.5}, "gamma is 1.5"),
        ({"direction": "up"}, r"direction is 'up' \(allowed: increase, decrease\)"),
        ({"rule": "triple"}, r"allowed: pair, gradient"),
        ({"outputs": "scores"}, r"allowed: logits, softmax"),
        ({"adaptive": True, "temperature": 0.0}, "temperature is 0.0; it must be a number above 0"),
        ({"temperature": 40.0}, "acts on softmax outputs only"),
    ],
)
def test_bad_settings(settings, message):
    attack = object.__new__(JSMA)  # past the type checks that only tests have
    for field in dataclasses.fields(JSMA):
        object.__setattr__(attack, field.name, settings.get(field.name, field.default))
    with pytest.raises(BadInput, match=message):
        attack.__post_init__()


def test_adaptive_means_softmax_outputs():
    assert JSMA(adaptive=True, temperature=40.0).outputs == "softmax"


def test_no_target(model, exact):
    goal = Goal(exact[1][:1])
    with pytest.raises(BadInput, match="needs a target class"):
        next(JSMA().iterates(Counted(model), exact[0][:1], goal, draws=Draws(torch.arange(1))))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("decrease", [False, True])
def test_the_gradient_rule_is_arts(model, exact, decrease):
    """Adversarial-robustness-toolbox's SaliencyMapMethod ends at the same pixels."""
    reason = "adversarial-robustness-toolbox is not installed: extra [attacks]"
    evasion = pytest.importorskip("art.attacks.evasion", reason=reason)
    classification = pytest.importorskip("art.estimators.classification", reason=reason)
    x, y = exact[0][1200:1216].float(), exact[1][1200:1216]
    net = copy.deepcopy(model).float()
    target = (y + 3) % 10
    classifier = classification.PyTorchClassifier(
        net, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0.0, 1.0), device_type="cpu"
    )
    art = evasion.SaliencyMapMethod(
        classifier, theta=-0.6 if decrease else 0.6, gamma=0.5, batch_size=16, verbose=False
    )
    theirs = torch.from_numpy(art.generate(x.numpy(), target.numpy()))
    attack = JSMA(
        theta=0.6, gamma=1.0, rule="gradient", direction="decrease" if decrease else "increase"
    )
    images, *_ = play(attack, net, x, target)
    reached = net(theirs).argmax(1) == target
    assert reached.sum() >= 6
    for row in torch.nonzero(reached).flatten():
        assert torch.allclose(images[row][-1], theirs[row], atol=1e-6)


def test_the_easiest_target_is_the_exhaustive_answer(model, exact):
    x, y = exact[0][1200:1208].float(), exact[1][1200:1208]
    net = copy.deepcopy(model).float()
    y = net(x).argmax(1)
    lockstep = craft(JSMA(gamma=0.5), net, x, y)
    alone = []
    for shift in range(1, 10):
        t = craft(JSMA(gamma=0.5), net, x, y, target=(y + shift) % 10)
        alone.append(torch.where(t.success, t.steps, 999))
    fewest = torch.stack(alone).amin(dim=0)
    assert lockstep.success.all()
    assert lockstep.steps.tolist() == fewest.tolist()
    assert (lockstep.l0 <= 2 * lockstep.steps).all()
    assert lockstep.notes["pixels"].shape == (len(lockstep.step), 2)


def test_the_driver_hears_of_stalled_rows():
    x = torch.full((2, 1, 2, 2), 0.2)
    t = craft(
        JSMA(gamma=1.0, outputs="softmax"), Saturated(1e4).eval(), x, torch.tensor([0, 0]),
        target=torch.tensor([1, 1]),
    )  # fmt: skip
    assert not t.success.any()
    assert t.stalled.all()


def test_large_images_need_little_memory():
    """Nine rows of 3 x 224 x 224, the search over 150,528 features each, in under 1 GiB."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peak memory can be reset on Linux only")

    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.W = torch.randn(10, 3 * 224 * 224, generator=torch.Generator().manual_seed(0))

        def forward(self, x):
            return x.flatten(1) @ self.W.T

    def resident(what):
        return int(re.search(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 2**20

    net = Wide().eval()
    x = 0.1 * torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    y = net(x).argmax(1)
    craft(JSMA(gamma=2e-5), net, x, y)  # imports and compilation
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    t = craft(JSMA(gamma=2e-4), net, x, y)
    assert resident("VmHWM") - before < 1.0
    assert t.steps.item() >= 1
