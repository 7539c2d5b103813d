"""Answers that depend on more than the input are found and announced, once."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

import undertow as ut
from undertow.models.steady import announce, unsteady


class Net(nn.Module):
    def __init__(self, kind: str = "steady") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head, self.kind = nn.Conv2d(3, 6, 3), nn.Linear(6, 4), kind

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x).relu()
        if self.kind == "dropout":
            y = nn.functional.dropout(y, 0.5, training=True)
        if self.kind == "statistics":
            y = nn.functional.batch_norm(y, None, None, training=True)
        return 5 * self.head(y.mean((2, 3)))


X = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("rows", [1, 4])
def test_each_kind_is_told_apart(rows: int) -> None:
    for kind, wanted in (("steady", None), ("dropout", "chance"), ("statistics", "batch")):
        found = unsteady(Net(kind).eval(), X[:rows])
        assert (None if found is None else found[0]) == wanted
        assert found is None or found[1] > 0.01


def test_the_difference_that_is_told_is_the_one_there_is() -> None:
    model = Net("statistics").eval()
    with torch.no_grad():
        wanted = (model(X[:2])[:1] - model(X[:1])).abs().max()
    assert unsteady(model, X) == ("batch", pytest.approx(float(wanted)))


def test_shipped_models_are_steady_also_in_half_precision() -> None:
    model, x = ut.load_model("digits_cnn"), ut.load_data("digits")[:3][0]
    assert unsteady(model, x) is None
    assert unsteady(model.to(torch.bfloat16), x) is None
    model.float()


@pytest.mark.parametrize("kind", ["dropout", "statistics"])
def test_it_is_announced_once_by_whatever_comes_first(kind: str) -> None:
    words = {"dropout": "from call to call", "statistics": "others in its batch"}[kind]
    model, y = Net(kind).eval(), torch.zeros(4, dtype=torch.int64)
    with pytest.warns(UserWarning, match=words):
        ut.craft(ut.attacks.FGSM(), model, X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ut.craft(ut.attacks.FGSM(), model, X, y)
        ut.measure(model, X, null="shift")
    with pytest.warns(UserWarning, match=words):
        ut.measure(Net(kind).eval(), X, null="shift")


def test_random_numbers_of_others_are_left_alone() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        announce(Net("dropout").eval(), X)
    torch.manual_seed(5)
    unsteady(Net("steady").eval(), X)
    torch.manual_seed(5)
    model = Net("dropout").eval()
    torch.manual_seed(5)
    unsteady(model, X)
    assert torch.equal(torch.rand(3), wanted)
