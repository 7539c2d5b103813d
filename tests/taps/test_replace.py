"""Maps put in at a tap, against forward passes that are rebuilt by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from undertow.errors import BadInput
from undertow.taps import choose
from undertow.taps.replace import Rest, TapOutputs, outputs
from undertow.types import Tap


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


class InPlace(nn.Module):
    """A ReLU overwrites what the convolution put out, and the block adds to it in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.more = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 5, 3, padding=1)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        self.relu(y)  # its answer is not used: only the overwritten tensor is
        z = self.more(y)
        z += y
        return self.head(z.mean((2, 3)))

    def by_hand(self, x: Tensor, conv: Tensor) -> Tensor:
        y = torch.relu(conv)
        return self.head((conv2d(y, self.more.weight, self.more.bias, padding=1) + y).mean((2, 3)))


class Thrice(nn.Module):
    """One module, called three times."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.step = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.stem(x))
        for _ in range(3):
            y = torch.tanh(self.step(y))
        return self.head(y.mean((2, 3)))

    def by_hand(self, x: Tensor, second: Tensor) -> Tensor:
        return self.head(torch.tanh(self.step(torch.tanh(second))).mean((2, 3)))


class Past(nn.Module):
    """The input flows past the convolution, too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.conv(x) * x).mean((2, 3)))

    def by_hand(self, x: Tensor, conv: Tensor) -> Tensor:
        return self.head((conv * x).mean((2, 3)))


class Tokens(nn.Module):
    """Patches behind a class token, attention, and a head that reads the class token alone."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.first = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.second = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.patch(x).flatten(2).transpose(1, 2)
        y = self.first(torch.cat([self.token.expand(len(x), -1, -1), y], 1))
        return self.head(self.second(y)[:, 0])

    def by_hand(self, x: Tensor, first: Tensor) -> Tensor:
        return self.head(self.second(first.transpose(1, 2))[:, 0])


class Last(nn.Module):
    """Maps along the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 9, 3, 2, 1), nn.LayerNorm(9), nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.conv(x).permute(0, 2, 3, 1))).mean((1, 2)))

    def by_hand(self, x: Tensor, norm: Tensor) -> Tensor:
        return self.head(torch.relu(norm).mean((2, 3)))


class Shaped(nn.Module):
    """Takes the batch's size from its input, so that more rows cannot come from one stand-in."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 5, 3, padding=1), nn.Linear(5 * 144, 4)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.shape[0]
        return self.head(self.conv(x).reshape(rows, 5 * 144))

    def by_hand(self, x: Tensor, conv: Tensor) -> Tensor:
        return self.head(conv.flatten(1))


CASES = {
    "in place": (InPlace, "conv", True),
    "called thrice": (Thrice, "step#2", True),
    "flows past": (Past, "conv", False),
    "tokens": (Tokens, "first", True),
    "maps last": (Last, "norm", True),
    "shaped by the batch": (Shaped, "conv", True),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rows", [1, 5])
def test_maps_put_in_give_the_logits_of_a_pass_by_hand(case: str, rows: int) -> None:
    kind, name, cut = CASES[case]
    model = kind().eval()
    x, worse = torch.rand(rows, 3, 12, 12), torch.rand(rows, 3, 12, 12)
    (tap,) = choose(model, x, name)
    before, after = outputs(model, x, [tap]), outputs(model, worse, [tap])
    rest = Rest(model, tap, worse, after, x[:1])
    assert rest.cut is cut
    which = torch.randint(rows, (11,))
    maps = torch.rand(11, tap.shape[0]) < 0.5
    own, other = after.maps[name][which], before.maps[name][which]
    mixed = torch.where(maps.reshape(11, -1, *[1] * (own.ndim - 2)), other, own)
    with torch.no_grad():
        wanted = model.by_hand(worse[which], mixed)
        assert float((wanted - after.logits[which]).abs().max()) > 1e-5
    torch.testing.assert_close(rest(mixed.clone(), which), wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model(worse), after.logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", [c for c in CASES if c != "in place"])
def test_slopes_of_all_taps_by_one_pass_are_those_of_a_pass_by_hand(case: str) -> None:
    kind, name, _ = CASES[case]
    model = kind().eval()
    x = torch.rand(3, 3, 12, 12)
    taps = choose(model, x, [name])
    found = outputs(model, x, taps, lambda logits: logits[:, 1] - logits[:, 2])
    maps = found.maps[name].clone().requires_grad_()
    logits = model.by_hand(x, maps)
    (slope,) = torch.autograd.grad((logits[:, 1] - logits[:, 2]).sum(), maps)
    torch.testing.assert_close(found.slopes[name], slope, rtol=1e-4, atol=1e-6)


def test_maps_are_those_from_before_they_were_overwritten() -> None:
    model = InPlace().eval()
    x = torch.rand(2, 3, 12, 12)
    taps = choose(model, x, ["conv", "relu"])
    found = outputs(model, x, taps)
    conv = model.conv(x).detach()
    torch.testing.assert_close(found.maps["conv"], conv)
    assert float(conv.min()) < 0
    torch.testing.assert_close(found.maps["relu"], conv.relu())


def test_what_works_in_place_and_whose_answer_is_not_used_is_put_in_all_the_same() -> None:
    model = InPlace().eval()
    x, worse = torch.rand(4, 3, 12, 12), torch.rand(4, 3, 12, 12)
    (tap,) = choose(model, x, "relu")
    before, after = outputs(model, x, [tap]), outputs(model, worse, [tap])
    rest = Rest(model, tap, worse, after, x[:1])
    wanted = model.by_hand(worse, before.maps["relu"])
    torch.testing.assert_close(rest(before.maps["relu"].clone(), torch.arange(4)), wanted)
    with pytest.raises(BadInput, match="no slope at tap 'relu'"):
        outputs(model, x, [tap], lambda logits: logits[:, 0])


def test_refusals() -> None:
    model = Last().eval()
    x = torch.rand(2, 3, 12, 12)
    with pytest.raises(BadInput, match="no module 'nowhere'"):
        outputs(model, x, [Tap("nowhere", (5, 6, 6), 0.5, 1)])
    with pytest.raises(BadInput, match="now gives"):
        outputs(model, x, [Tap("norm", (7, 6, 6), 0.5, 1)])
    with pytest.raises(BadInput, match="training mode"):
        outputs(model.train(), x, [])


def test_no_hook_stays_on_after_an_error() -> None:
    model = Last().eval()
    x = torch.rand(2, 3, 12, 12)
    (tap,) = choose(model, x, "norm")
    rest = Rest(model, tap, x, outputs(model, x, [tap]), x[1:])
    with pytest.raises(RuntimeError):
        rest(torch.rand(2, 7, 6, 6), torch.arange(2))
    assert not any(m._forward_hooks for m in model.modules())
    assert isinstance(outputs(model, x, [tap]), TapOutputs)


CALLS: list[str] = []


class Told(nn.Module):
    """Says when it runs; copies of it do, too."""

    def __init__(self, name: str, inner: nn.Module) -> None:
        super().__init__()
        self.name, self.inner = name, inner

    def forward(self, x: Tensor) -> Tensor:
        CALLS.append(self.name)
        return self.inner(x)


def test_what_comes_before_the_tap_is_not_computed_again() -> None:
    names = ("a", "b", "c", "d")
    layers = [Told(n, nn.Conv2d(3, 3, 3, padding=1)) for n in names]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)).eval()
    x, worse = torch.rand(2, 3, 12, 12), torch.rand(2, 3, 12, 12)
    (tap,) = choose(model, x, ["1"])
    seen = outputs(model, worse, [tap])
    rest = Rest(model, tap, worse, seen, x[:1])
    CALLS.clear()
    rows = torch.tensor([0, 1, 1])
    found = rest(seen.maps["1"][rows], rows)
    assert CALLS == ["c", "d"]
    torch.testing.assert_close(found, seen.logits[rows], rtol=1e-5, atol=1e-6)
    CALLS.clear()
    model(x)
    assert list(names) == CALLS, "the model itself computes all of it"


def test_a_module_that_cannot_be_copied_is_run_as_it_is() -> None:
    class Alone(nn.Sequential):
        def __deepcopy__(self, memo: object) -> object:
            raise TypeError("there is only one of me")

    layers = nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)
    model = Alone(*layers).eval()
    x, worse = torch.rand(2, 3, 12, 12), torch.rand(2, 3, 12, 12)
    (tap,) = choose(model, x, ["1"])
    seen = outputs(model, worse, [tap])
    rest = Rest(model, tap, worse, seen, x[:1])
    assert rest.cut
    found = rest(seen.maps["1"].clone(), torch.arange(2))
    torch.testing.assert_close(found, seen.logits, rtol=1e-5, atol=1e-6)
