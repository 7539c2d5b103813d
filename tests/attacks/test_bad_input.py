from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import undertow
from undertow import craft
from undertow.attacks import CW, FGSM, IGSM, JSMA, DeepFool, Ensemble, Noise, make
from undertow.attacks.driver.craft import Record
from undertow.data import load_data
from undertow.errors import BadInput, Unavailable, UndertowError, UnknownName
from undertow.models import load_model

Batch = tuple[Tensor, Tensor]


def _says(error: UndertowError, *words: str) -> None:
    text = str(error)
    assert text.count("\n") <= 1, f"more than two lines: {text}"
    assert len(text) < 320, f"too long: {text}"
    for word in words:
        assert re.search(word, text), f"'{word}' is not in: {text}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y": lambda y: y * 0 + 10}, ["10", "0 to 9"]),
        ({"y": lambda y: y * 0 - 1}, ["-1", "0 to 9"]),
        ({"x": lambda x: x * 255}, ["255|242", r"\[0, 1\]"]),
        ({"x": lambda x: x - 0.5}, [r"-0\.4", r"\[0, 1\]"]),
        ({"x": lambda x: x * torch.nan}, ["nan", r"\[0, 1\]"]),
        ({"x": lambda x: x[:0], "y": lambda y: y[:0]}, ["empty", "at least one"]),
        ({"x": lambda x: x.repeat(1, 3, 1, 1)}, ["cannot take", r"\(1, 3, 8, 8\)"]),
        ({"target": lambda y: 12}, ["12", "0 to 9"]),
        ({"batch_size": lambda y: 0}, ["batch_size", "at least 1"]),
        ({"seed": lambda y: _draws(3)}, ["3", "8"]),
    ],
)
def test_arguments_that_do_not_fit(
    model: nn.Module, batch: Batch, change: dict[str, Callable[[Any], Any]], words: list[str]
) -> None:
    x, y = batch
    given: dict[str, Any] = {"x": x, "y": y}
    for name, make_it in change.items():
        given[name] = make_it(x if name == "x" else y)
    with pytest.raises(BadInput) as caught:
        craft(FGSM(), model, **given)
    _says(caught.value, *words)


def _draws(n: int) -> Any:
    from undertow.attacks import draws_for

    return draws_for(0, range(n))


class _Broken(nn.Module):
    """A model that answers wrongly in one way or another."""

    def __init__(self, model: nn.Module, answer: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.model, self.answer = model, answer
        self.eval()

    def forward(self, x: Tensor) -> Any:
        return self.answer(self.model(x))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda z: z.flatten(), [r"\(10,\)", r"\(1, M\)"]),
        (lambda z: (z.tolist(), z.argmax(dim=1)), ["tuple"]),
        (lambda z: z[:, :1], [r"\(1, 1\)"]),
        (lambda z: z.where(z < z.max(), torch.nan), ["not finite", "input"]),
        (lambda z: z / 0.0, ["not finite", "input"]),
        (lambda z: z if len(z) < 2 else z[:1], [r"\(8, 10\)"]),
    ],
)
def test_models_that_answer_wrongly(
    model: nn.Module, batch: Batch, answer: Callable[[Tensor], Any], words: list[str]
) -> None:
    with pytest.raises(BadInput) as caught:
        craft(FGSM(), _Broken(model, answer), *batch)
    _says(caught.value, *words)


def test_the_input_with_the_wrong_answer_is_named(model: nn.Module, batch: Batch) -> None:
    x = batch[0].clone()
    x[5] = 0.5  # the one grey image

    def answer(z: Tensor) -> Tensor:
        return z

    class Picky(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            z = answer(model(images))
            return z.masked_fill((images == 0.5).flatten(1).all(1)[:, None], torch.nan)

    with pytest.raises(BadInput, match="input 5"):
        craft(FGSM(), Picky().eval(), x, batch[1], batch_size=4)


def test_a_gradient_that_is_not_finite(model: nn.Module, batch: Batch) -> None:
    broken = _Broken(model, lambda z: (z - z.detach()).sqrt() + z.detach())
    with pytest.raises(BadInput, match="gradient is not finite"):
        craft(FGSM(), broken, *batch)


def test_a_model_in_training_mode(model: nn.Module, batch: Batch) -> None:
    part = nn.Sequential(nn.Dropout(), model)
    part[0].train()
    part.training = False
    with pytest.raises(BadInput) as caught:
        craft(FGSM(), part, *batch)
    _says(caught.value, "training mode", "0", r"eval\(\)")


WRONG_TYPES = {
    "craft(FGSM(), model, x, y[:3])": [r"shape \(3,\)", r"\(8,\)"],
    "craft(FGSM(), model, x, y.float())": ["float32", "whole numbers"],
    "craft(FGSM(), model, x[0], y)": [r"\(1, 8, 8\)", "four axes"],
    "craft(FGSM(), model, (x * 255).byte(), y)": ["uint8", "floating-point"],
    "craft(FGSM(), model, x.numpy(), y)": ["ndarray"],
    "craft(FGSM(), model, x, y, target='nearest')": ["nearest", "easiest"],
    "craft(FGSM(), model, x, y, target=0.5)": ["target", "float"],
    "craft(FGSM(), 'resnet', x, y)": ["str", "Module"],
    "craft(FGSM(), None, x, y)": ["NoneType", "Module"],
    "craft(FGSM(), [], x, y)": ["empty"],
    "craft(FGSM(), [x], x, y)": ["Tensor", "Module"],
    "craft(FGSM, model, x, y)": ["give an object"],
    "craft('fgsm', model, x, y)": ["give an object"],
    "craft(FGSM(), model, x, y, batch_size=2.0)": ["batch_size", "whole number"],
    "craft(FGSM(), model, x, y, seed='a')": ["seed", "whole number"],
    "craft(FGSM(), model, x, y, record=3)": ["record"],
    "FGSM(epsilon=0)": ["epsilon", "0", "above 0", "at most 1"],
    "FGSM(epsilon='8/255')": ["epsilon", "a number"],
    "FGSM(epsilon=None)": ["epsilon", "None"],
    "IGSM(steps=2.5)": ["steps", "whole number"],
    "IGSM(steps=True)": ["steps", "whole number"],
    "PGD(norm='l1')": ["norm", "l1", "linf, l2"],
    "PGD(random_start=1)": ["random_start", "True, False"],
    "DeepFool(slack=0.5)": ["slack", "at least 1"],
    "Noise(l2=0)": ["l2", "above 0"],
    "Noise(l2='long')": ["l2", "number"],
    "Noise(kind='salt')": ["kind", "sign, gaussian"],
    "Ensemble(attack='igsm')": ["attack"],
    "Ensemble(weights='heavy')": ["weights"],
    "Ensemble(combine='votes')": ["combine", "loss, logits, probability"],
    "make('noise', l2=1.0, norm='l2')": ["norm", "l2, linf, kind"],
    "match_strength(FGSM(), model, x, y, l2=0)": ["l2", "above 0"],
}
"""Arguments of another type, which the tests' own type checks would refuse first."""

SCRIPT = """
import json, sys
import torch
from undertow import craft
from undertow.attacks import *
from undertow.errors import BadInput
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()
x, y = torch.rand(8, 1, 8, 8), torch.arange(8)
said = {}
for case in json.load(sys.stdin):
    try:
        eval(case)
        said[case] = "nothing"
    except BadInput as error:
        said[case] = str(error)
    except Exception as error:
        said[case] = f"not BadInput but {error!r}"
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """What each case says in a process without type checks."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(list(WRONG_TYPES)),
        text=True,
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("case", WRONG_TYPES)
def test_arguments_of_another_type(said: dict[str, str], case: str) -> None:
    _says(BadInput(said[case]), *WRONG_TYPES[case])


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: FGSM(epsilon=2.0), ["epsilon", "at most 1"]),
        (lambda: FGSM(epsilon=float("nan")), ["epsilon", "nan"]),
        (lambda: IGSM(steps=0), ["steps", "at least 1"]),
        (lambda: DeepFool(overshoot=-0.1), ["overshoot", "at least 0"]),
        (lambda: CW(rounds=0), ["rounds", "at least 1"]),
        (lambda: JSMA(gamma=0.0), ["gamma", r"\(0, 1\]|above 0"]),
        (lambda: Noise(l2=-1.0), ["l2", "-1"]),
        (lambda: Noise(l2=1.0, linf=1.0), ["one of them"]),
        (lambda: Ensemble(weights=(1.0, 0.0)), ["weights", "positive"]),
        (lambda: make("igsm", epsilom=0.1), ["epsilom", "epsilon, alpha, steps"]),
        (lambda: make("ensemble", attack={"epsilon": 0.1}), ["name", "igsm"]),
        (lambda: Record(every=0), ["every", "at least 1"]),
        (lambda: Record(at_most=2), ["at_most", "at least 3"]),
    ],
)
def test_settings_out_of_range(build: Callable[[], Any], words: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        build()
    _says(caught.value, *words)


def test_an_unknown_attack_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'deepfool'"):
        make("deepfol")


def test_models_of_different_classes(model: nn.Module, batch: Batch) -> None:
    other = _Broken(model, lambda z: z[:, :4])
    with pytest.raises(BadInput, match=r"different numbers of classes: \[4, 10\]"):
        craft(Ensemble(), [model, other], *batch)
    with pytest.raises(BadInput, match="3 weights for 2 models"):
        craft(Ensemble(weights=(1.0, 1.0, 1.0)), [model, model], *batch)


def test_all_inputs_misclassified_already(model: nn.Module, batch: Batch) -> None:
    with torch.no_grad():
        wrong = (model(batch[0]).argmax(1) + 1) % 10
    t = craft(IGSM(), model, batch[0], wrong)
    assert t.success.all()
    assert t.forwards.tolist() == [1] * len(wrong)
    assert t.l2.tolist() == [0.0] * len(wrong)


class _Hungry(nn.Module):
    """Runs out of memory on more rows than it can take."""

    def __init__(self, model: nn.Module, most: int) -> None:
        super().__init__()
        self.model, self.most, self.largest = model, most, 0
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        self.largest = max(self.largest, len(x))
        z: Tensor = self.model(x)
        return z


@pytest.mark.parametrize("target", [None, "easiest"])
def test_out_of_memory_halves_the_batch_and_goes_on(
    model: nn.Module, batch: Batch, target: Any
) -> None:
    hungry = _Hungry(model, 3 if target is None else 20)
    t = craft(IGSM(steps=5), hungry, *batch, target=target)
    expected = craft(IGSM(steps=5), model, *batch, target=target)
    assert torch.allclose(t.end, expected.end, atol=1e-5)
    assert torch.equal(t.forwards, expected.forwards), "calls of failed batches were counted"
    assert torch.equal(t.step, expected.step)
    assert hungry.largest >= 2


def test_out_of_memory_with_one_input(model: nn.Module, batch: Batch) -> None:
    with pytest.raises(Unavailable, match="one input"):
        craft(IGSM(steps=5), _Hungry(model, 5), *batch, target="easiest")


def test_an_error_of_the_model_is_not_swallowed(model: nn.Module, batch: Batch) -> None:
    def answer(z: Tensor) -> Tensor:
        if len(z) > 1:
            raise RuntimeError("expected scalar type Half")
        return z

    with pytest.raises(RuntimeError, match="scalar type"):
        craft(FGSM(), _Broken(model, answer), *batch)


def test_an_input_whose_target_is_its_own_label_is_skipped(model: nn.Module, batch: Batch) -> None:
    x, y = batch
    target = torch.where(torch.arange(len(y)) < 2, y, (y + 1) % 10)
    with pytest.warns(UserWarning, match=rf"2 of {len(y)} inputs skipped"):
        found = craft(FGSM(epsilon=0.3), model, x, y, target=target)
    assert found.outcomes[:2] == ["skipped: the target is its own label"] * 2
    assert not found.success[:2].any()
    assert torch.equal(found.end[:2], x[:2])
    assert "skipped" not in " ".join(found.outcomes[2:])
    alone = craft(FGSM(epsilon=0.3), model, x[2:], y[2:], target=target[2:])
    assert torch.equal(alone.end, found.end[2:])


def test_pixels_that_rounding_put_beside_the_ends_are_taken_for_them():
    model, (x, y) = load_model("digits_cnn"), load_data("digits")[:3]
    beside = x.clone()
    beside[:, :, 0, 0], beside[:, :, 0, 1] = 1 + 2.0**-23, -(2.0**-30)
    t = undertow.craft(undertow.attacks.FGSM(epsilon=0.1), model, beside, y)
    assert float(t.benign.min()) >= 0
    assert float(t.benign.max()) <= 1
    assert undertow.measure(model, beside, taps="blocks.1").sizes["sample"] == 3
    for far in (1.001, -0.001, float("nan")):
        wrong = x.clone()
        wrong[0, 0, 0, 0] = far
        for use in (lambda w: undertow.craft(undertow.attacks.FGSM(), model, w, y),
                    lambda w: undertow.measure(model, w)):  # fmt: skip
            with pytest.raises(BadInput, match=r"must lie in \[0, 1\]"):
                use(wrong)
