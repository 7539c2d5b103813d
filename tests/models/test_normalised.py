"""Normalisation is judged by what the first layer receives, not by what modules are called."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

import undertow as ut
from undertow.models.normalised import normalises


class Net(nn.Module):
    def __init__(self, before: str) -> None:
        super().__init__()
        self.before = before
        self.normalised = nn.Identity()  # a name tells nothing
        self.bn, self.conv = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = {
            "nothing": lambda: x, "crop": lambda: x[:, :, 2:-2],
            "ordinary": lambda: (x - 0.45) / 0.22,
            "in place": lambda: x.sub_(0.5).div_(0.5), "batch norm": lambda: self.bn(x),
            "bytes": lambda: 255 * x, "padded": lambda: nn.functional.pad(x, (1, 1, 1, 1)),
        }[self.before]()  # fmt: skip
        return self.head(self.conv(x).mean((2, 3)))


@pytest.mark.parametrize(
    ("before", "does"),
    [
        ("nothing", False), ("crop", False), ("padded", False), ("ordinary", True),
        ("in place", True), ("batch norm", True), ("bytes", True),
    ],
)  # fmt: skip
def test_what_the_first_layer_receives_decides(before: str, does: bool) -> None:
    assert normalises(Net(before).eval()) is does
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ut.load_model(Net(before))
    assert any("no normalisation inside" in str(w.message) for w in told) is not does


def test_where_no_image_goes_through_nothing_is_said() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no such size")

    assert normalises(Odd()) is None
    assert normalises(nn.Flatten()) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ut.load_model(Odd())


def test_shipped_models_normalise_and_no_hook_stays() -> None:
    model = ut.load_model("digits_cnn")
    assert normalises(model)
    assert not any(m._forward_pre_hooks for m in model.modules())
    assert torch.equal(*(ut.load_model("digits_cnn")(torch.ones(1, 1, 16, 16)) for _ in range(2)))


class Token(Net):
    """Holds a weight itself, as transformers do their class token."""

    def __init__(self, before: str) -> None:
        super().__init__(before)
        self.token = nn.Parameter(torch.zeros(3))


@pytest.mark.parametrize(("before", "does"), [("nothing", False), ("ordinary", True)])
def test_a_weight_of_the_whole_network_is_no_layer(before: str, does: bool) -> None:
    assert normalises(Token(before).eval()) is does


class Remembering(nn.Module):
    """Keeps the least size it ever saw, as Swin does its window, and fails on larger ones."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
        self.least = 10_000
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.least = min(self.least, x.shape[2])
        self.calls += 1
        if x.shape[2] > self.least:
            raise RuntimeError("the size of tensor a must match")
        return self.head(self.conv(x).mean((2, 3)))


def test_what_is_tried_is_not_remembered_by_the_model() -> None:
    network = Remembering().eval().requires_grad_(False)
    with pytest.warns(UserWarning, match="no normalisation inside"):
        model = ut.load_model(network, classes=5)
    assert int(network.calls) == 0
    assert model(torch.rand(1, 3, 224, 224)).shape == (1, 5)


def test_swin_takes_its_own_size_after_it_was_loaded() -> None:
    hf = pytest.importorskip("transformers")
    config = hf.SwinConfig(
        image_size=64, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 1], num_labels=5
    )
    network = hf.SwinForImageClassification(config).eval().requires_grad_(False)
    x = torch.rand(1, 3, 64, 64)
    before = network(x).logits
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = ut.load_model(network, classes=5)
    assert torch.equal(network(x).logits, before)
    assert ut.measure(model, x, references=torch.rand(4, 3, 64, 64))["iip"].notnull().all()
