from __future__ import annotations

import dataclasses
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import jensenshannon
from torch import nn

import undertow as ut
from undertow.attacks import make
from undertow.data import load_data
from undertow.errors import BadInput, Foreign
from undertow.losses import goal_entropy, margin
from undertow.models import load_model
from undertow.models.cards import read_card
from undertow.models.defences import DEFENCES, defence_name
from undertow.models.defended import (
    Aware,
    Defended,
    defence_in,
    fooled,
    rejected,
    straight,
    undefended,
)
from undertow.models.evaluation import evaluate
from undertow.models.magnet import Magnet, divergence
from undertow.models.own import shield_own
from undertow.models.recipe import Shielding
from undertow.models.registry import MODELS
from undertow.models.robustness import withstands
from undertow.models.shield import shield
from undertow.models.squeezed import Squeezed, fewer_bits, median
from undertow.types import Goal

QUICK = Shielding(epochs=2, batch=64, false_alarms=0.05)


class Shy(Defended):
    """Rejects what is brighter than a half on average."""

    def suspicion(self, x, logits):
        return (x.flatten(1).mean(dim=1, keepdim=True) - 0.5) * 4


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", "fit"), load_data("digits", "held_out"), load_data("digits")


@pytest.fixture(scope="module")
def magnet(digits):
    torch.manual_seed(0)
    defended = Magnet(load_model("digits_cnn"), channels=1, shape=digits[0].shape)
    shield(defended, digits[0], digits[1], dataclasses.replace(QUICK, epochs=12), seed=0)
    return defended


def test_a_rejection_is_neither_fooled_nor_correct():
    answer, label = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 0, 0])
    refused = torch.tensor([False, False, True, True])
    assert fooled(answer, label, refused).tolist() == [False, True, False, False]


def test_only_a_defended_network_rejects():
    model, x = load_model("digits_cnn"), torch.rand(5, 1, 8, 8)
    assert not rejected(model, x).any()
    assert defence_in(model) is None
    assert undefended(model) is model
    shy = Shy(model).eval()
    assert rejected(shy, torch.full_like(x, 0.6)).all()
    assert not rejected(shy, torch.full_like(x, 0.4)).any()
    assert undefended(shy) is model
    assert len(rejected(shy, x[:0])) == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_the_logit_of_rejection_leads_where_it_is_rejected_and_nowhere_else(seed):
    x = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    shy = Shy(load_model("digits_cnn")).eval()
    seen = Aware(shy)(x)
    assert torch.equal(seen[:, :-1], shy(x))
    assert torch.equal(seen.argmax(1) == 10, rejected(shy, x))


def test_losses_know_that_a_rejection_is_no_success():
    logits = torch.tensor([[1.0, 2.0, 0.0, 3.0], [1.0, 2.0, 0.0, 1.5], [4.0, 2.0, 0.0, 1.0]])
    goal = Goal(torch.zeros(3, dtype=torch.int64), rejection=True)
    assert goal.reached(logits).tolist() == [False, True, False]
    # The best wrong class against the better one of the true class and rejection.
    assert margin(logits, goal).tolist() == [1.0, -0.5, 2.0]
    p = logits.double().softmax(1)
    assert torch.allclose(goal_entropy(logits, goal).double(), (p[:, 0] + p[:, 3]).log())
    aimed = Goal(goal.label, torch.ones(3, dtype=torch.int64), rejection=True)
    assert aimed.reached(logits).tolist() == [False, True, False]
    sure = dataclasses.replace(goal, confidence=1.0)
    assert sure.reached(logits).tolist() == [False, False, False]
    assert dataclasses.replace(goal, confidence=0.5).reached(logits).tolist() == [
        False,
        True,
        False,
    ]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 50))
def test_the_divergence_is_jensens_and_shannons(seed, temperature):
    draw = np.random.default_rng(seed)
    a, b = (torch.tensor(draw.normal(0, 5, (6, 10))) for _ in range(2))
    found = divergence(a / temperature, b / temperature)
    p, q = ((z / temperature).softmax(1).numpy() for z in (a, b))
    expected = np.array([jensenshannon(*pair) ** 2 for pair in zip(p, q, strict=True)])
    assert np.allclose(found.numpy(), expected, atol=1e-12, rtol=1e-6)
    assert (divergence(a, a) < 1e-15).all()


@pytest.mark.parametrize("window", [2, 3])
def test_the_median_is_scipys(window):
    x = torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(window))
    expected = [
        ndimage.median_filter(c, size=window, mode="mirror") for c in x.flatten(0, 1).numpy()
    ]
    assert np.array_equal(median(x, window).flatten(0, 1).numpy(), np.stack(expected))


def test_fewer_bits_have_so_many_levels_and_the_gradient_of_the_image():
    x = torch.rand(4, 1, 8, 8, requires_grad=True)
    coarse = fewer_bits(x, 2)
    assert {round(v, 4) for v in coarse.flatten().tolist()} <= {0.0, 0.3333, 0.6667, 1.0}
    assert float((coarse - x).detach().abs().max()) <= 1 / 6 + 1e-6
    (g,) = torch.autograd.grad((coarse * 3).sum(), x)
    assert (g == 3).all()
    assert torch.equal(straight(x, x.detach() + 1).detach(), x.detach() + 1)


def test_thresholds_reject_the_share_that_was_asked_for(magnet, digits):
    """Of the images that they were set on; of others about as many."""
    held_out = digits[1]
    scores = magnet.score(held_out[:][0], magnet(held_out[:][0]))
    above = (scores > magnet.threshold).double().mean(dim=0)
    assert (above <= 0.05 + 1e-9).all()
    assert (above >= 0.05 - 2 / len(held_out)).all()
    found = evaluate(magnet, digits[2])
    assert 0.02 < found.rejected < 0.3
    plain = evaluate(magnet.network, digits[2])
    assert plain.rejected == 0
    assert plain.accuracy - 0.3 < found.accuracy < plain.accuracy


def test_a_shielded_network_resumes_and_is_the_same(digits, tmp_path):
    def made(**more):
        torch.manual_seed(1)
        defended = Magnet(load_model("digits_cnn"), channels=1, shape=digits[0].shape)
        shield(defended, digits[0], digits[1], QUICK, seed=3, **more)
        return defended

    whole = made()

    class Stop(Exception):
        pass

    @contextmanager
    def dying(title, total, unit):
        def advance(amount=1, note=""):
            if note.startswith("epoch 1"):
                raise Stop

        yield advance

    with pytest.raises(Stop):
        made(out=tmp_path, progress=dying)
    again = made(out=tmp_path)
    for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(Foreign, match="seed"):
        shield(whole, digits[0], digits[1], QUICK, seed=4, out=tmp_path)


def test_images_of_another_size_and_impossible_settings_are_refused(magnet, digits):
    with pytest.raises(BadInput, match="1 × 16 × 16, not 1 × 9 × 9"):
        magnet(torch.rand(1, 1, 9, 9))
    few = dataclasses.replace(QUICK, false_alarms=1e-6)
    with pytest.raises(BadInput, match="held-out images cannot set"):
        shield(magnet, digits[0], digits[1], few, seed=0)
    with pytest.raises(BadInput, match="false_alarms=2"):
        Shielding(false_alarms=2.0)


@pytest.mark.parametrize("attack", ["pgd", "igsm", "fgsm", "cw", "deepfool", "opgd", "jsma"])
def test_every_attack_counts_a_rejection_as_no_success(attack, magnet, digits):
    x, y = digits[2][:12]
    how = {"cw": {"rounds": 2, "steps": 20, "constant": 1.0}}.get(attack, {})
    if attack in ("pgd", "igsm", "fgsm", "opgd"):
        how = {"epsilon": 0.3}
    t = ut.craft(make(attack, **how), magnet, x, y)
    answers = magnet(t.end).argmax(1)
    assert torch.equal(t.success, fooled(answers, y, rejected(magnet, t.end)))
    assert t.end_logits.shape[1] == t.logits.shape[1] == 10
    assert torch.allclose(t.end_logits, magnet(t.end), atol=1e-4)


@pytest.mark.parametrize("kind", ["magnet", "squeezed"])
def test_an_attack_that_sees_the_defence_is_stronger(kind, magnet, digits):
    """The same attack, at the same ε, made without a thought of the defence and with one."""
    defended = magnet
    if kind == "squeezed":
        defended = Squeezed(load_model("digits_cnn"), bits=3)
        shield(defended, digits[0], digits[1], dataclasses.replace(QUICK, epochs=0), seed=0)
    x, y = digits[2][:150]
    right = (defended(x).argmax(1) == y) & ~rejected(defended, x)
    x, y = x[right], y[right]
    attack = make("pgd", epsilon=0.25, steps=40)
    blind = ut.craft(attack, undefended(defended), x, y).end
    regular = fooled(defended(blind).argmax(1), y, rejected(defended, blind))
    adaptive = ut.craft(attack, defended, x, y).success
    assert float(adaptive.float().mean()) > float(regular.float().mean()) + 0.1
    standing = withstands(
        Aware(defended), x, y, epsilon=0.25, steps=40, generator=torch.Generator().manual_seed(0)
    )
    assert abs(float((~standing).float().mean()) - float(adaptive.float().mean())) < 0.15


def test_an_ensemble_does_not_take_a_defended_network(magnet, digits):
    x, y = digits[2][:4]
    with pytest.raises(BadInput, match="attacked alone"):
        ut.craft(make("ensemble"), [magnet, load_model("digits_cnn")], x, y)


def test_a_network_of_ones_own_is_shielded_and_loaded(tmp_path):
    made = shield_own("digits_cnn", data="digits", out=tmp_path, shielding=QUICK)
    loaded = load_model(_digits_factory(tmp_path), weights=made.weights)
    assert isinstance(loaded, Magnet)
    x = load_data("digits")[:20][0]
    assert loaded.threshold.tolist() == made.details["thresholds"]
    assert (loaded.network(x).argmax(1) == load_model("digits_cnn")(x).argmax(1)).all()
    assert tuple(loaded.shape.tolist()) == (1, 16, 16)


def test_an_untrained_network_is_not_shielded(tmp_path):
    with pytest.raises(BadInput, match="which is chance: shield a trained one"):
        shield_own(_digits_factory(tmp_path), data="digits", out=tmp_path, shielding=QUICK)


def _digits_factory(folder):
    file = folder / "mine.py"
    file.write_text("from undertow.models.digits_cnn import digits_cnn\n")
    return f"{file}:digits_cnn"


def test_the_normalisation_of_a_defended_network_stands_behind_its_defence():
    class Plain(Defended):
        def suspicion(self, x, logits):
            assert float(x.min()) >= 0  # sees the image as it came
            return x.new_zeros(len(x), 1)

    inner = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    loaded = load_model(Plain(inner).eval(), mean=(0.5,) * 3, std=(0.25,) * 3, probe=False)
    x = torch.rand(2, 3, 8, 8)
    assert torch.allclose(loaded(x), inner((x - 0.5) / 0.25), atol=1e-6)
    assert not rejected(loaded, x).any()


@pytest.mark.parametrize("name", ["good_init/magnet", "good_init/squeezed"])
def test_a_shipped_defence_stands_before_the_network_as_shipped(name):
    model, card = load_model(name), read_card(name)
    parent = load_model("good_init")
    x = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(undefended(model)(x), parent(x))
    assert defence_in(model) is model
    assert card.details["thresholds"] == pytest.approx(model.threshold.tolist())
    assert card.method == MODELS[name].method == "shield"
    assert DEFENCES[defence_name(name)].detects
    assert not model.training
