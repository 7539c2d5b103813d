from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from undertow import taps
from undertow.errors import BadInput

AUTOMATIC = {
    "plain": ["2", "6", "10"],
    "vgg": ["features.2", "features.5", "features.9", "features.12", "classifier.2"],
    "resnet": ["relu", "layer1.0", "layer1.1", "layer2.0", "layer2.1"],
    "densenet": [
        "features.relu0",
        "features.denseblock1",
        "features.transition1",
        "features.denseblock2",
    ],
    "channels_last": ["stem", "mix"],
}


@pytest.mark.parametrize("name", sorted(AUTOMATIC))
def test_automatic_is_the_output_of_every_block(net, images, name) -> None:
    chosen = taps.choose(net(name), images)
    assert [tap.name for tap in chosen] == AUTOMATIC[name]
    assert all(a.depth < b.depth for a, b in pairwise(chosen))
    assert chosen[0].depth > 0
    assert chosen[-1].depth <= 1


def test_costs_and_depth_of_a_plain_net_by_hand(net, images) -> None:
    by_hand = [16 * 16 * 27 * 6]
    by_hand.append(by_hand[-1] + 8 * 8 * 6 * 9 * 8)
    by_hand.append(by_hand[-1] + 4 * 4 * 8 * 9 * 10)
    chosen = taps.choose(net("plain"), images)
    assert [tap.macs for tap in chosen] == by_hand
    assert [tap.shape for tap in chosen] == [(6, 16, 16), (8, 8, 8), (10, 4, 4)]
    assert chosen[1].depth == by_hand[1] / (by_hand[2] + 50)


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        t = self.patch(x).flatten(2).transpose(1, 2)[:, None]
        t = nn.functional.scaled_dot_product_attention(t, t, t)
        return self.head(t[:, 0].mean(1))


def test_matrix_products_that_no_module_owns_are_counted(images) -> None:
    (tap,) = taps.choose(Attends().eval(), images, "head")
    patch, attention, head = 16 * 48 * 8, 2 * 16 * 16 * 8, 40
    assert tap.macs == patch + attention + head
    assert tap.depth == 1


@pytest.mark.parametrize(
    ("which", "names"),
    [
        ("layer1.0", ["layer1.0"]),
        ("layer1.*", ["layer1.0", "layer1.1"]),
        (["layer2.*", "conv1"], ["conv1", "layer2.0", "layer2.1"]),
        ("layer?", ["layer1", "layer2"]),
        (["layer1", "layer1.*"], ["layer1.0", "layer1"]),
        ("**.downsample", ["layer2.0.downsample"]),
        ("kind:BasicBlock", ["layer1.0", "layer1.1", "layer2.0", "layer2.1"]),
        ("layer1.0.relu", ["layer1.0.relu"]),
        ("layer1.0.relu#2", ["layer1.0.relu#2"]),
        ("layer1.0.relu*", ["layer1.0.relu", "layer1.0.relu#2"]),
        ("layer1.[1]", ["layer1.1"]),
    ],
)
def test_patterns(net, images, which, names) -> None:
    assert [tap.name for tap in taps.choose(net("resnet"), images, which)] == names


def test_kinds_include_those_that_inherit(net, images) -> None:
    model = net("densenet")
    assert [t.name for t in taps.choose(model, images, "kind:Transition")] == [
        "features.transition1"
    ]
    names = [t.name for t in taps.choose(model, images, "kind:Sequential")]
    assert names == ["features.transition1", "features"]
    convs = [name for name, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    assert [t.name for t in taps.choose(model, images, "kind:*Conv*")] == convs


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("layer9", "no module matches 'layer9'; nearest: layer"),
        ("kind:Conv3d", "nearest: kind:Conv2d"),
        ("layer3.*", "no module matches 'layer3.\\*'"),
        ([], "no taps asked for"),
    ],
)
def test_what_matches_nothing_is_refused(net, images, which, message) -> None:
    with pytest.raises(BadInput, match=message):
        taps.choose(net("resnet"), images, which)


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.cube = nn.Unflatten(1, (2, 2))
        self.never = nn.Identity()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.cube(self.conv(x)).flatten(1, 2).mean((2, 3)))


def test_outputs_without_maps_are_refused_by_name_and_passed_over_by_glob(images) -> None:
    model = Odd().eval()
    with pytest.raises(BadInput, match="'cube' has no maps"):
        taps.choose(model, images, "cube")
    with pytest.raises(BadInput, match="'never' puts out no tensor in a forward pass"):
        taps.choose(model, images, "never")
    assert [tap.name for tap in taps.choose(model, images, "*")] == ["conv", "fc"]


def test_training_mode_and_other_inputs_are_refused(net, images) -> None:
    model = net("plain")
    model[1].train()
    with pytest.raises(BadInput, match="training mode"):
        taps.choose(model, images)
    with pytest.raises(BadInput, match="sample, channel, height, width"):
        taps.choose(model.eval(), images[:0])


def test_a_convolutional_answer_is_tapped_before_its_pooling(images) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    assert [(t.name, t.shape) for t in taps.choose(model, images)] == [
        ("1", (4, 14, 14)),
        ("2", (5, 14, 14)),
    ]


def test_the_input_need_not_be_differentiable(images) -> None:
    class Rounds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.conv(x.detach().round()).mean((2, 3)))

    assert [tap.name for tap in taps.choose(Rounds().eval(), images)] == ["conv"]


def test_table(net, images) -> None:
    rows = taps.table(net("vgg"), images)
    assert rows[0] == {
        "name": "features.2",
        "kind": "ReLU",
        "shape": "6 × 16 × 16",
        "depth": pytest.approx(rows[0]["macs"] / (rows[-1]["macs"] + 12 * 5)),
        "macs": 16 * 16 * 27 * 6,
        "why": "ReLU behind features.0",
    }
    assert rows[-1]["shape"] == "12"


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 32), (24, 16)])
def test_oblong_inputs(net, height, width) -> None:
    x = torch.rand(1, 3, height, width)
    first, last = taps.choose(net("channels_last"), x)
    assert first.shape == (6, height // 4, width // 4)
    assert last.shape == (7, height // 4, width // 4)
    assert math.prod(last.shape) * 6 + 35 == last.macs - first.macs + 35


def test_compiled_models_are_read_by_the_model_inside(net, images) -> None:
    class Compiled(nn.Module):  # what torch.compile returns, without its compiler
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self._orig_mod = model

        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError("hooks are not called in here")

    model = net("plain")
    compiled = Compiled(model).eval()
    assert taps.choose(compiled, images) == taps.choose(model, images)
    assert taps.table(compiled, images) == taps.table(model, images)
    chosen = taps.choose(compiled, images)
    got, want = (taps.read(m, images, chosen, gradients=True) for m in (compiled, model))
    assert torch.equal(got.gradients, want.gradients)


# Where a person would put them ---------------------------------------------------------------


class SamePadded(nn.Conv2d):
    """A convolution with a padding child, as in EfficientNet's ports: not a leaf module."""

    def __init__(self, i: int, o: int, stride: int = 1) -> None:
        super().__init__(i, o, 3, stride, bias=False)
        self.pad = nn.ZeroPad2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(self.pad(x), self.weight, None, self.stride)


class Bottleneck(nn.Module):
    """Three convolutions; something flows past them where the widths are equal."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.one, self.n1 = SamePadded(i, 2 * i), nn.BatchNorm2d(2 * i)
        self.two, self.n2 = SamePadded(2 * i, o), nn.BatchNorm2d(o)
        self.act, self.skip = nn.ReLU6(), i == o

    def forward(self, x: Tensor) -> Tensor:
        y = self.n2(self.two(self.act(self.n1(self.one(x)))))
        return y + x if self.skip else y


class Efficient(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.act = SamePadded(3, 4, 2), nn.BatchNorm2d(4), nn.ReLU6()
        self.blocks = nn.ModuleList([Bottleneck(4, 4), Bottleneck(4, 6), Bottleneck(6, 6)])
        self.last, self.norm2 = SamePadded(6, 9), nn.BatchNorm2d(9)
        self.fc = nn.Linear(9, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm(self.stem(x)))
        for block in self.blocks:
            y = block(y)
        return self.fc(self.act(self.norm2(self.last(y))).mean((2, 3)))


def test_convolutions_that_are_no_leaves_do_not_end_a_block(images) -> None:
    """Stem and last convolution are tapped behind their activation, each block once."""
    chosen = taps.choose(Efficient().eval(), images)
    assert [t.name for t in chosen] == ["act", "blocks.0", "blocks.1", "blocks.2", "act#2"]


@pytest.mark.parametrize("wrap", ["weight_norm", "spectral_norm"])
def test_reparametrised_weights_move_no_tap(net, images, wrap) -> None:
    model = net("plain")
    wanted = [tap.name for tap in taps.choose(model, images)]
    for module in list(model.modules()):
        if isinstance(module, nn.Conv2d):
            getattr(nn.utils.parametrizations, wrap)(module)
    assert [tap.name for tap in taps.choose(model.eval(), images)] == wanted


class Functional(nn.Module):
    """Activations as functions, as CIFAR's ResNets are often written."""

    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3, 1, 1), nn.BatchNorm2d(6)
        self.block, self.fc = nn.Sequential(Bottleneck(6, 6)), nn.Linear(6, 5)
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.relu(self.norm(self.conv(x)), inplace=self.inplace)
        return self.fc(self.block(y).mean((2, 3)))


@pytest.mark.parametrize("inplace", [False, True])
def test_an_activation_that_is_a_function_is_tapped_where_it_goes_in(images, inplace) -> None:
    torch.manual_seed(0)
    model = Functional(inplace=inplace).eval()
    rows = taps.table(model, images)
    assert [row["name"] for row in rows] == ["block:in", "block.0"]
    assert rows[0]["why"] == "Relu, a function, behind norm"
    chosen = taps.choose(model, images)
    assert taps.choose(model, images, ["block:in", "block.0"]) == chosen
    reading = taps.read(model, images, chosen, gradients=True)
    with torch.no_grad():
        wanted = model.norm(model.conv(images)).relu()
    torch.testing.assert_close(reading.maps["block:in"], wanted)
    at_first = taps.read(model, images, chosen[:1], gradients=True)
    maps = wanted.clone().requires_grad_()
    model.fc(model.block(maps).mean((2, 3)))[:, 1].sum().backward()
    torch.testing.assert_close(at_first.gradients[1], maps.grad)


def test_entries_are_no_part_of_globs_and_kinds(images) -> None:
    model = Functional().eval()
    assert all(":in" not in t.name for t in taps.choose(model, images, "**"))
    assert all(":in" not in t.name for t in taps.choose(model, images, "kind:Sequential"))


def test_a_wrapper_that_normalises_renames_nothing(net, images) -> None:
    from undertow.models import Normalised

    model = net("resnet")
    wrapped = Normalised(model, (0.5,) * 3, (0.2,) * 3).eval()
    plain, own = (taps.choose(m, images) for m in (model, wrapped))
    assert [tap.name for tap in own] == [tap.name for tap in plain]
    read = taps.read(wrapped, images, own)
    wanted = taps.read(model, (images - 0.5) / 0.2, plain)
    for tap in plain:
        torch.testing.assert_close(read.maps[tap.name], wanted.maps[tap.name])


def test_a_compiled_submodule_moves_no_tap(net, images) -> None:
    class Compiled(nn.Module):  # as above: inside, hooks are not called
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self._orig_mod = model

        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError("hooks are not called in here")

    model = net("resnet")
    wanted = taps.choose(model, images)
    logits = taps.read(model, images, wanted).logits
    model.layer1 = Compiled(model.layer1).eval()
    assert taps.choose(model, images) == wanted
    assert torch.equal(taps.read(model, images, wanted).logits, logits)
    assert isinstance(model.layer1, Compiled)  # it is put back
