from __future__ import annotations

from collections import OrderedDict, namedtuple

import pytest
import torch
from torch import Tensor, nn

from undertow import taps
from undertow.errors import BadInput
from undertow.taps import head


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def slow_gradients(model: nn.Module, x: Tensor, name: str, call: int = 1) -> Tensor:
    """∂y_m/∂t by the definition: a whole forward pass with a graph, one class at a time."""
    held: list[Tensor] = []

    def hold(module: nn.Module, args: object, output: Tensor) -> Tensor:
        held.append(output)
        return output + 0

    handle = model.get_submodule(name).register_forward_hook(hold)
    try:
        logits = model(x.clone().requires_grad_())
    finally:
        handle.remove()
    rows = [torch.autograd.grad(y.sum(), held[call - 1], retain_graph=True)[0] for y in logits.T]
    return torch.stack(rows)


def test_maps_and_logits_are_the_models_own(any_net, images) -> None:
    chosen = taps.choose(any_net, images)
    reading = taps.read(any_net, images, chosen)
    with torch.no_grad():
        torch.testing.assert_close(reading.logits, any_net(images))
    assert list(reading.maps) == [tap.name for tap in chosen]
    for tap in chosen:
        assert reading.maps[tap.name].shape == (len(images), *tap.shape)
        assert not reading.maps[tap.name].requires_grad
    assert reading.gradients is None
    assert reading.inputs is images
    assert hooks(any_net) == 0


@pytest.mark.parametrize("keep", [True, False])
def test_gradients_are_those_of_the_whole_network(any_net, images, keep) -> None:
    chosen = taps.choose(any_net, images)
    name = [tap for tap in chosen if tap.spatial][-1].name
    reading = taps.read(
        any_net,
        images,
        chosen,
        gradients=keep,
        contract=lambda t, g: (t * g).sum(2).transpose(0, 1),
    )
    truth = slow_gradients(any_net, images, name)
    if truth.shape[-1] == 7:
        truth = truth.permute(0, 1, 4, 2, 3)
    assert reading.evidence_tap == name
    maps = reading.maps[name]
    product = maps * truth
    expected = product.sum(2).transpose(0, 1)
    torch.testing.assert_close(reading.contracted, expected, atol=1e-6, rtol=1e-4)
    if keep:
        torch.testing.assert_close(reading.gradients * maps, product, atol=1e-6, rtol=1e-4)
    else:
        assert reading.gradients is None
    assert all(p.grad is None and p.requires_grad for p in any_net.parameters())


def test_pooled_linear_heads_are_recognised_and_others_are_not(net, images, monkeypatch) -> None:
    for name, closed in [
        ("plain", True),
        ("resnet", True),
        ("vgg", False),
        ("channels_last", False),
    ]:
        model = net(name)
        reading = taps.read(model, images, taps.choose(model, images), gradients=True)
        assert (reading.gradients.stride(1) == 0) == closed
        monkeypatch.setattr(head, "pooled_linear", lambda *_: None)
        general = taps.read(model, images, taps.choose(model, images), gradients=True)
        monkeypatch.undo()
        maps = general.maps[general.evidence_tap]
        torch.testing.assert_close(
            general.gradients * maps, reading.gradients * maps, atol=1e-6, rtol=1e-4
        )


def test_classes_are_taken_one_at_a_time(net, images) -> None:
    model = net("vgg")
    chosen = taps.choose(model, images)
    whole = taps.read(model, images, chosen, gradients=True)
    sizes: list[int] = []

    def contract(maps: Tensor, slopes: Tensor) -> Tensor:
        sizes.append(len(slopes))
        return (slopes * maps).sum(2).transpose(0, 1)

    parts = taps.read(model, images, chosen, gradients=True, contract=contract)
    assert sizes == [1] * 5
    assert torch.equal(parts.gradients, whole.gradients)
    expected = (whole.gradients * whole.maps[whole.evidence_tap]).sum(2).transpose(0, 1)
    torch.testing.assert_close(parts.contracted, expected)


# In place -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["kind:Conv2d", "kind:BatchNorm2d", "kind:ReLU"])
@pytest.mark.parametrize("name", ["plain", "resnet", "densenet", "vgg"])
def test_in_place_modules_after_a_tap_do_not_corrupt_it(net, images, name, which) -> None:
    model = net(name)
    kept: dict[str, Tensor] = {}
    handles = []
    for tap in taps.choose(model, images, which):
        if "#" not in tap.name:

            def keep(module: nn.Module, args: object, output: Tensor, name: str = tap.name) -> None:
                kept.setdefault(name, output.detach().clone())

            handles.append(model.get_submodule(tap.name).register_forward_hook(keep))
    with torch.no_grad():
        logits = model(images)
    for handle in handles:
        handle.remove()
    for gradients in (True, False, True):
        reading = taps.read(model, images, taps.choose(model, images, which), gradients=gradients)
        torch.testing.assert_close(reading.logits, logits)
        for name_, truth in kept.items():
            torch.testing.assert_close(reading.maps[name_], truth)


def test_only_what_is_overwritten_is_copied(net, images) -> None:
    model = net("plain")
    chosen = taps.choose(model, images, ["0", "1", "2"])
    seen: list[int] = []
    model[2].register_forward_hook(lambda m, a, output: seen.append(output.data_ptr()))
    first, second = (taps.read(model, images, chosen) for _ in range(2))
    assert len(seen) == 3  # the pass was run again once
    assert second.maps["2"].data_ptr() == seen[-1]
    assert second.maps["1"].data_ptr() != seen[-1]
    assert first.maps["1"].min() < 0 <= first.maps["2"].min()


# Hooks come off -----------------------------------------------------------------------------------


class Breaks(nn.Module):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
        self.error: BaseException | None = None
        self.later = error

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x)
        if self.error is not None:
            raise self.error
        return self.fc(maps.mean((2, 3)))


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_hooks_come_off_after_errors_and_interruptions(images, error) -> None:
    model = Breaks(error).eval()
    chosen = taps.choose(model, images)
    model.error = error
    for go in (
        lambda: taps.read(model, images, chosen, gradients=True),
        lambda: taps.choose(model, images),
    ):
        with pytest.raises(type(error)):
            go()
        assert hooks(model) == 0
        assert torch.is_grad_enabled()


def test_grad_mode_is_restored(net, images) -> None:
    model = net("plain")
    chosen = taps.choose(model, images)
    for mode in (True, False):
        with torch.set_grad_enabled(mode):
            taps.read(model, images, chosen, gradients=True)
            assert torch.is_grad_enabled() == mode


# Kinds of models ----------------------------------------------------------------------------------


Pair = namedtuple("Pair", ["maps", "rest"])


class Wraps(nn.Module):
    """Puts out, at its tap and at its end, what ``wrap`` makes of a tensor."""

    def __init__(self, wrap: str) -> None:
        super().__init__()
        self.wrap = wrap
        self.block = Block(wrap)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> object:
        maps = self.block(x)
        while not isinstance(maps, Tensor):
            maps = next(iter(maps.values())) if isinstance(maps, dict) else maps[0]
        return wrapped(self.fc(maps.amax((2, 3))), self.wrap)


class Block(nn.Module):
    def __init__(self, wrap: str) -> None:
        super().__init__()
        self.wrap = wrap
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> object:
        return wrapped(self.conv(x), self.wrap)


def wrapped(tensor: Tensor, wrap: str) -> object:
    return {
        "tuple": lambda: (tensor, torch.zeros(3)),
        "list": lambda: [tensor],
        "named": lambda: Pair(tensor, None),
        "dict": lambda: {"logits" if tensor.ndim == 2 else "maps": tensor},
        "ordered": lambda: OrderedDict(out=tensor),
        "nested": lambda: ({"a": tensor}, 3),
    }[wrap]()


@pytest.mark.parametrize("wrap", ["tuple", "list", "named", "dict", "ordered", "nested"])
def test_tuples_dicts_and_named_tuples(images, wrap) -> None:
    torch.manual_seed(0)
    model = Wraps(wrap).eval()
    chosen = taps.choose(model, images)
    assert [tap.name for tap in chosen] == ["block"]
    reading = taps.read(model, images, chosen, gradients=True)
    maps = reading.maps["block"]
    torch.testing.assert_close(reading.logits, model.fc(maps.amax((2, 3))))
    at = reading.gradients.sum((3, 4))
    torch.testing.assert_close(at, model.fc.weight[:, None].expand(-1, len(images), -1))
    assert ((reading.gradients != 0) == (maps == maps.amax((2, 3), keepdim=True))).all()


def test_frozen_models(net, images) -> None:
    model = net("vgg")
    truth = taps.read(model, images, taps.choose(model, images), gradients=True).gradients
    model.requires_grad_(False)
    assert torch.equal(
        taps.read(model, images, taps.choose(model, images), gradients=True).gradients, truth
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(net, images, dtype) -> None:
    truth = net("vgg")
    want = taps.read(truth, images, taps.choose(truth, images), gradients=True)
    model = net("vgg").to(dtype)
    got = taps.read(model, images, taps.choose(model, images), gradients=True)
    assert got.logits.dtype == got.gradients.dtype == torch.float32
    close = 1e-5 if dtype == torch.float64 else 0.1
    torch.testing.assert_close(got.logits, want.logits, atol=close, rtol=close)
    assert all(m.dtype == torch.float32 for m in got.maps.values())


def test_a_module_called_twice_has_two_taps(net, images) -> None:
    model = net("resnet")
    chosen = taps.choose(model, images, "layer2.1.relu*")
    reading = taps.read(model, images, chosen, gradients=True)
    block = taps.read(model, images, taps.choose(model, images, "layer2.1"))
    assert torch.equal(reading.maps["layer2.1.relu#2"], block.maps["layer2.1"])
    assert not torch.equal(reading.maps["layer2.1.relu"], block.maps["layer2.1"])
    assert reading.evidence_tap == "layer2.1.relu#2"


def test_skipping_past_the_last_tap_leaves_its_own_slope(net, images) -> None:
    model = net("resnet")
    chosen = taps.choose(model, images, "layer2.1.conv1")
    got = taps.read(model, images, chosen, gradients=True).gradients
    torch.testing.assert_close(got, slow_gradients(model, images, "layer2.1.conv1"))


# Bad input ----------------------------------------------------------------------------------------


def test_bad_input(net, images) -> None:
    model = net("vgg")
    chosen = taps.choose(model, images)
    with pytest.raises(BadInput, match="no taps"):
        taps.read(model, images, [])
    with pytest.raises(BadInput, match="dense layers"):
        taps.read(model, images, chosen[-1:], gradients=True)
    with pytest.raises(BadInput, match=r"has no module 'layer1\.0'"):
        taps.read(model, images, taps.choose(net("resnet"), images, "layer1.0"))
    with pytest.raises(
        BadInput, match="chosen with maps \\(6, 16, 16\\) and now gives \\(6, 8, 8\\)"
    ):
        taps.read(net("plain"), images[..., ::2, ::2], taps.choose(net("plain"), images))
    with pytest.raises(BadInput, match="training mode"):
        taps.read(model.train(), images, chosen)
    with pytest.raises(BadInput, match="needed are logits"):
        taps.choose(nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), images)


class Cuts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).detach().amax((2, 3))).detach()


def test_a_head_without_gradient_is_refused(images) -> None:
    model = Cuts().eval()
    with pytest.raises(BadInput, match="no gradient at tap 'conv'"):
        taps.read(model, images, taps.choose(model, images, "conv"), gradients=True)
    assert hooks(model) == 0


class Headed(nn.Module):
    """A convolution, then a head of one's own; with 100 classes."""

    def __init__(self, *head: nn.Module) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 12, 3, padding=1), nn.Sequential(*head)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x))


def _norm(kind: type[nn.Module], width: int) -> nn.Module:
    norm = kind(width)
    for name in ("running_mean", "running_var", "weight", "bias"):
        getattr(norm, name).data.uniform_(0.5, 1.5)
    return norm


POOL = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
HEADS = {
    "norm and activation": lambda: (
        _norm(nn.BatchNorm2d, 12), nn.SiLU(), *POOL, nn.Dropout(), nn.Linear(12, 100)
    ),
    "1 x 1 convolution": lambda: (nn.Tanh(), nn.Conv2d(12, 100, 1), *POOL),
    "norm behind the pooling": lambda: (*POOL, _norm(nn.BatchNorm1d, 12), nn.Linear(12, 100)),
    "weights of each position": lambda: (nn.Sigmoid(), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
                                         nn.Linear(12, 100)),
}  # fmt: skip
OTHERS = {
    "hidden layer": lambda: (*POOL, nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 100)),
    "norm over channels": lambda: (*POOL, nn.LayerNorm(12), nn.Linear(12, 100)),
    "activation behind the classes": lambda: (nn.Conv2d(12, 100, 1), nn.ReLU(), *POOL),
}


@pytest.mark.parametrize("kind", [*HEADS, *OTHERS])
def test_heads_that_treat_channels_one_by_one_give_all_classes_at_once(kind: str) -> None:
    torch.manual_seed(1)
    model = Headed(*{**HEADS, **OTHERS}[kind]()).eval()
    x = torch.rand(3, 3, 8, 8)
    (tap,) = taps.choose(model, x, ["conv"])
    asked: list[int] = []

    def pick(logits: Tensor) -> Tensor:
        asked.append(len(logits))
        return torch.arange(5).expand(len(logits), 5)

    found = taps.read(
        model, x, [tap], contract=lambda t, g: (t * g).sum(2).transpose(0, 1), pick=pick
    )
    held = slow_gradients(model, x, "conv")
    with torch.no_grad():
        truth = (model.conv(x) * held).sum(2).transpose(0, 1)
    assert (found.picked is None) is (kind in HEADS)
    truth = truth if found.picked is None else truth[:, :5]
    scale = float(truth.abs().max())
    torch.testing.assert_close(found.contracted, truth, rtol=1e-3, atol=1e-4 * scale)
