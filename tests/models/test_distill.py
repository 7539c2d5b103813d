from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import nn

from undertow.data import load_data
from undertow.errors import BadInput
from undertow.models import evaluate, load_model
from undertow.models.distill import choose_temperature, distill, serve_at_one, vanished_share
from undertow.models.evaluation import logits_of
from undertow.models.recipe import Recipe
from undertow.models.registry import fresh

QUICK = Recipe(
    epochs=8, batch=64, rate=0.1, shift=1, flip=False, average=0.95, smoothing=0.0
)  # fmt: skip


@pytest.fixture(scope="module")
def distilled():
    data, held = (load_data("digits", s) for s in ("fit", "held_out"))
    return distill(
        lambda role: fresh("digits_cnn", data, {"teacher": 1, "student": 2}[role]),
        data, held, QUICK, name="small", seed=0,
    )  # fmt: skip


def test_the_student_classifies(distilled):
    student, log, details = distilled
    assert evaluate(student, load_data("digits")).accuracy > 0.93
    assert details["teacher_held_out_accuracy"] > 0.93
    assert len(log) == 2 * QUICK.epochs


def test_the_softmax_saturates_at_one_and_comes_back_at_the_temperature(distilled):
    student, _, details = distilled
    logits = logits_of(student, load_data("digits", "held_out"))
    T = details["temperature"]
    assert T >= 20
    assert vanished_share(logits) == details["vanished_share"][f"{T:g}"]
    assert vanished_share(logits) > 0.5
    assert vanished_share(logits / T) == 0


def test_serving_at_one_multiplies_the_logits():
    model = load_model("digits_cnn")
    x, _ = load_data("digits")[:8]
    served = serve_at_one(copy.deepcopy(model), 40.0)
    assert torch.allclose(served(x), 40 * model(x), rtol=1e-4, atol=1e-3)
    assert torch.equal(served(x).argmax(1), model(x).argmax(1))


def test_training_in_units_of_the_temperature_is_training_at_it():
    """softmax((T·W')h / T) learns as softmax(W'h) does: one step of plain descent, by hand.

    At temperature T with weights W = T·W', a step of size T² on W is T steps of size 1 on W'.
    """
    torch.manual_seed(0)
    h, y, T = torch.randn(32, 6, dtype=torch.float64), torch.randint(4, (32,)), 25.0
    start = torch.randn(4, 6, dtype=torch.float64)
    unit = start.clone().requires_grad_(True)
    nn.functional.cross_entropy(h @ unit.T, y).backward()
    whole = (T * start).requires_grad_(True)
    nn.functional.cross_entropy(h @ whole.T / T, y).backward()
    stepped = whole.detach() - T**2 * whole.grad
    assert torch.allclose(stepped, T * (start - unit.grad))


def test_vanished_share_is_that_of_autograd():
    """A row counts exactly if the gradient of every softmax output is zero."""
    gap = torch.tensor([0.0, 10, 60, 100, 104, 200, 1000])
    logits = torch.stack([gap, torch.zeros(7), -gap], dim=1).requires_grad_(True)
    gradient = torch.zeros(7)
    for m in range(3):
        (g,) = torch.autograd.grad(logits.softmax(1)[:, m].sum(), logits)
        gradient += g.abs().sum(1)
    assert vanished_share(logits.detach()) == float((gradient == 0).float().mean())
    assert 0 < vanished_share(logits.detach()) < 1


def test_the_lowest_temperature_that_is_enough():
    logits = torch.zeros(10, 3)
    logits[:, 0] = 4.0  # 104 bits of float32 are used up at 26
    assert choose_temperature(logits) == 30
    logits[0, 0] = logits[1, 0] = 1.0
    assert choose_temperature(logits) == 100  # two of ten never saturate: none is enough
    assert choose_temperature(logits, (20.0, 200.0)) == 200


def test_no_linear_layer():
    with pytest.raises(BadInput, match="linear"):
        serve_at_one(nn.Conv2d(1, 1, 1), 20.0)


def test_your_own_architecture_is_distilled(tmp_path):
    from undertow.models.own import distill_own

    made = distill_own(
        "zoo:digits_cnn", data="digits", out=tmp_path, recipe=dataclasses.replace(QUICK, epochs=2)
    )
    loaded = load_model("digits_cnn", weights=made.weights)
    assert evaluate(loaded, load_data("digits")).accuracy == made.accuracy
    assert made.details["temperature"] >= 20
    assert {p.name for p in tmp_path.iterdir()} == {
        "distilled.json", "distilled.safetensors", "student.pt", "teacher.pt",
    }  # fmt: skip
