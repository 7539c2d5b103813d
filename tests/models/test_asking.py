"""Models as people have them: the logits are found or asked for, the caller's images stay."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import undertow as ut
from undertow.errors import BadInput
from undertow.models.asking import Picked, ask, logits_in, uncompiled

LOGITS, FEATURES, MAPS = torch.rand(3, 5), torch.rand(3, 8), torch.rand(3, 4, 2, 2)
Named = namedtuple("Named", ["embedding", "scores"])


@pytest.mark.parametrize(
    "output",
    [
        LOGITS, (LOGITS,), [MAPS, LOGITS], {"maps": MAPS, "scores": LOGITS},
        {"embedding": FEATURES, "logits": LOGITS}, (LOGITS, LOGITS), (None, (MAPS, LOGITS)),
    ],
)  # fmt: skip
def test_logits_are_found_by_the_rule(output: Any) -> None:
    assert logits_in(output) is LOGITS


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ((FEATURES, LOGITS), r"puts out 0: \(3, 8\), 1: \(3, 5\); say which"),
        ({"head": LOGITS, "other": LOGITS + 1}, r"head: \(3, 5\), other: \(3, 5\); say which"),
        (Named(FEATURES, LOGITS), r"embedding: \(3, 8\), scores: \(3, 5\); say which"),
    ],
)
def test_of_several_that_could_be_none_is_guessed(output: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        logits_in(output)


class Gives(nn.Module):
    """Puts out what it was given to put out, beside the digits' logits."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.inner, self.kind = ut.load_model("digits_cnn"), kind

    def forward(self, x: Tensor) -> Any:
        features, logits = x.flatten(1)[:, :16], self.inner(x)
        return {
            "tuple": (features, logits), "dict": {"e": features, "y": logits},
            "named": Named(features, logits),
        }[self.kind]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "output"),
    [("tuple", 1), ("tuple", -1), ("dict", "y"), ("dict", 1), ("named", "scores")],
)
def test_what_was_asked_for_is_attacked_and_measured(kind: str, output: int | str) -> None:
    x, y = ut.load_data("digits", split="test")[:6]
    model = ut.load_model(Gives(kind), output=output)
    plain = ut.load_model("digits_cnn")
    attack = ut.attacks.FGSM(epsilon=0.2)
    assert torch.equal(ut.craft(attack, model, x, y).end, ut.craft(attack, plain, x, y).end)
    found, wanted = (ut.measure(m, x, null="shift") for m in (model, plain))
    assert [t.removeprefix("inner.") for t in found["tap"].values] == list(wanted["tap"].values)
    assert torch.equal(torch.tensor(found["oip"].values), torch.tensor(wanted["oip"].values))


def test_what_is_not_there_is_said() -> None:
    x = ut.load_data("digits")[:2][0]
    for output in (7, "logits", "zzz"):
        with pytest.raises(BadInput, match=r"puts out no .*\(it puts out 0: \(2, 16\), 1"):
            Picked(Gives("tuple"), output)(x)


class InPlace(nn.Module):
    """Normalises its input in place, as torchvision's transforms once did."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(6, 4),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.sub_(0.5).div_(0.25))


def test_a_model_that_works_in_place_changes_no_image_of_the_caller() -> None:
    model = InPlace().eval()
    x = torch.rand(5, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    before, y = x.clone(), ask(model, x).argmax(1)
    with torch.no_grad():
        wanted = model(x.clone())
    assert torch.equal(ask(model, x), wanted)
    found = ut.craft(ut.attacks.IGSM(epsilon=0.9, stop=False), model, x, y)
    assert torch.equal(found.benign, before)
    assert torch.equal(ask(model, found.end).argmax(1) != y, found.success)
    flow = ut.measure(model, x, null="shift")
    torch.testing.assert_close(torch.tensor(flow["logits"].values), wanted)
    if bool(found.success.any()):
        ut.carriers(model, found)
    assert torch.equal(x, before)


def test_under_inference_mode_the_same_numbers_come_out() -> None:
    model, data = ut.load_model("digits_cnn"), ut.load_data("digits", split="test")
    x, y = data[:6]
    attack = ut.attacks.IGSM(epsilon=0.3, stop=False)
    wanted = ut.craft(attack, model, x, y)
    flow, maps = ut.measure(model, wanted.end, null="shift"), ut.carriers(model, wanted)
    with torch.inference_mode():
        made = x * 1.0
        inside = ut.craft(attack, model, made, y)
        same = ut.measure(model, inside.end, null="shift")
        told = ut.carriers(model, inside)
    assert torch.equal(ut.craft(attack, model, made, y).end, wanted.end)
    assert torch.equal(inside.end, wanted.end)
    assert same.equals(flow)
    assert told.equals(maps)


def test_weights_of_inference_mode_are_refused_in_one_line() -> None:
    with torch.inference_mode():
        model = InPlace().eval()
    with pytest.raises(BadInput, match=r"made under torch\.inference_mode"):
        ut.craft(ut.attacks.FGSM(), model, torch.rand(2, 1, 12, 12), torch.zeros(2).long())


class Compiled(nn.Module):
    """What torch.compile gives, without its compiler: gradients can be taken once."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._orig_mod = module

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("This backward function was compiled with non-empty donated buffers")


@pytest.mark.parametrize("attack", ["deepfool", "jsma", "igsm"])
def test_compiled_models_and_parts_are_attacked_as_what_they_stand_around(attack: str) -> None:
    x, y = ut.load_data("digits", split="test")[:3]
    plain = ut.load_model("digits_cnn")
    wanted = ut.craft(ut.attacks.make(attack), plain, x, y).end
    assert torch.equal(ut.craft(ut.attacks.make(attack), Compiled(plain).eval(), x, y).end, wanted)


def test_compiled_parts_are_put_back_also_after_an_error() -> None:
    model = InPlace()
    model.body = Compiled(model.body)
    with pytest.raises(BadInput), uncompiled(model):
        raise BadInput(type(model.body).__name__)
    assert isinstance(model.body, Compiled)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit itself is on its way out
@pytest.mark.parametrize("kind", ["scripted", "traced", "frozen"])
def test_torchscript_is_attacked_and_says_that_it_cannot_be_read(kind: str) -> None:
    torch.manual_seed(0)
    plain = InPlace().body
    plain[1] = nn.ReLU()
    plain = plain.eval()
    x = torch.rand(4, 1, 12, 12)
    y = ask(plain, x).argmax(1)
    script = torch.jit.trace(plain, x) if kind == "traced" else torch.jit.script(plain)
    model = torch.jit.freeze(script) if kind == "frozen" else script
    attack = ut.attacks.IGSM(epsilon=0.9, stop=False)
    found = ut.craft(attack, model, x, y)
    torch.testing.assert_close(found.end, ut.craft(attack, plain, x, y).end, rtol=0, atol=1e-6)
    with pytest.raises(BadInput, match="TorchScript model has no hooks"):
        ut.measure(model, x, null="shift")


@pytest.mark.filterwarnings("ignore")  # torch's own, on loading it
def test_an_exported_program_is_attacked_and_says_that_it_cannot_be_read() -> None:
    x, y = ut.load_data("digits", split="test")[:2]
    plain = ut.load_model("digits_cnn")
    batch = {0: torch.export.Dim("batch", min=1)}
    model = ut.load_model(torch.export.export(plain, (x,), dynamic_shapes=(batch,)).module())
    attack = ut.attacks.FGSM(epsilon=0.2)
    wanted = ut.craft(attack, plain, x, y).end
    torch.testing.assert_close(ut.craft(attack, model, x, y).end, wanted)
    with pytest.raises(BadInput, match="no block to tap"):
        ut.measure(model, x, null="shift")
    fixed = ut.load_model(torch.export.export(plain, (x,)).module())
    with pytest.raises(BadInput, match="cannot take images of shape"):
        ut.craft(attack, fixed, x, y)
