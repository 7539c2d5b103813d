"""Gradients in bfloat16: successes are the model's own, and what does not pay is said."""

from __future__ import annotations

import warnings

import pytest
import torch

import undertow as ut
from undertow.attacks import IGSM, JSMA
from undertow.attacks.driver import open as opening
from undertow.models import devices


@pytest.fixture(scope="module")
def digits() -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    model, (x, y) = ut.load_model("digits_cnn"), ut.load_data("digits")[:12]
    right = model(x).argmax(1) == y
    return model, x[right], y[right]


@pytest.mark.parametrize("attack", [IGSM(epsilon=0.25), JSMA(gamma=0.3)], ids=lambda a: a.name)
def test_successes_and_distances_are_those_of_the_model_as_it_is(
    attack: object, digits: tuple[torch.nn.Module, torch.Tensor, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(opening, "native", lambda device: torch.bfloat16)
    monkeypatch.setattr(opening, "bf16_gain", lambda kind: 2.0)
    model, x, y = digits
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        t = ut.craft(attack, model, x, y, precision="bf16")  # type: ignore[arg-type]
    with torch.no_grad():
        assert torch.equal(model(t.end).argmax(1) != y, t.success)
    assert t.success.float().mean() > 0.8
    change = (t.end - x).flatten(1)
    torch.testing.assert_close(t.l2, change.norm(dim=1), rtol=1e-5, atol=1e-6)
    plain = ut.craft(attack, model, x, y)  # type: ignore[arg-type]
    assert not torch.equal(plain.logits[1], t.logits[1]), "nothing was computed in bfloat16"


def test_what_does_not_pay_is_said(
    digits: tuple[torch.nn.Module, torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x, y = digits
    monkeypatch.setattr(opening, "native", lambda device: torch.bfloat16)
    monkeypatch.setattr(opening, "bf16_gain", lambda kind: 0.9)
    with pytest.warns(UserWarning, match=r"does not pay here: a convolution is 0\.9 × as fast"):
        ut.craft(IGSM(), model, x[:2], y[:2], precision="bf16")
    monkeypatch.setattr(opening, "native", lambda device: torch.float32)
    with pytest.warns(UserWarning, match="no arithmetic of its own"):
        t = ut.craft(IGSM(), model, x[:2], y[:2], precision="bf16")
    assert torch.equal(t.images, ut.craft(IGSM(), model, x[:2], y[:2]).images)


def test_the_gain_is_tried_and_an_accelerators_is_taken_on_trust() -> None:
    assert 0.01 < devices.bf16_gain("cpu") < 100
    assert devices.bf16_gain("cuda") == float("inf")
