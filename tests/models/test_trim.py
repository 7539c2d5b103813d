from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from undertow.data import ImageSet, load_data
from undertow.errors import BadInput
from undertow.models import evaluate, load_model, multiply_adds, parameters
from undertow.models.channels import plain_layers, remove_channels
from undertow.models.fitting import fit
from undertow.models.load import untrained
from undertow.models.recipe import Recipe, Trimming
from undertow.models.trim import apoz, maps_to_keep, trim
from undertow.models.vgg_like import VggLike

QUICK = Recipe(epochs=2, batch=64, rate=0.03, shift=1, flip=False, average=0.95)


def _random(network, seed=0):
    """Random weights and statistics, so that no channel is like another."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point() and "normalise" not in name:
                value.copy_(torch.randn(value.shape, generator=generator) * 0.3)
            if name.endswith("running_var"):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return network.eval()


class Mixed(nn.Module):
    """One plain convolution, one whose maps are added to others, one read twice, one grouped."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(1, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.c = nn.Conv2d(8, 8, 3, padding=1)
        self.d = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = torch.relu(self.a(x))
        x = torch.relu(self.b(x))
        x = x + torch.relu(self.c(x))
        return self.head(torch.relu(self.d(x)).mean((2, 3)))


def test_only_plain_layers_can_go():
    assert list(plain_layers(Mixed())) == ["a"]
    assert plain_layers(Mixed())["a"].reader == "b"


def test_a_network_without_plain_layers():
    with pytest.raises(BadInput, match="single reader"):
        plain_layers(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sigmoid(), nn.Conv2d(4, 4, 3)))

    class Branches(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(BadInput, match="traced"):
        plain_layers(Branches())


@given(seed=st.integers(0, 1000))
def test_removing_a_map_is_setting_it_to_zero(seed):
    """The slow twin: the reader's weights for the removed maps are zero, nothing is removed."""
    generator = torch.Generator().manual_seed(seed)
    network = _random(
        nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 5, 3, padding=1, bias=False), nn.ReLU(), nn.AvgPool2d(2),
            nn.Flatten(), nn.Linear(5 * 4, 7), nn.ReLU(), nn.Linear(7, 3),
        ),
        seed,
    )  # fmt: skip
    keep = {
        name: torch.randperm(count, generator=generator)[: count - 2].sort().values
        for name, count in (("0", 6), ("4", 5))
    }
    zeroed = copy.deepcopy(network)
    with torch.no_grad():
        gone = [i for i in range(6) if i not in keep["0"].tolist()]
        zeroed[4].weight[:, gone] = 0
        for i in range(5):
            if i not in keep["4"].tolist():
                zeroed[8].weight[:, i * 4 : i * 4 + 4] = 0
    x = torch.rand((2, 1, 8, 8), generator=generator)
    small = remove_channels(copy.deepcopy(network), keep)
    assert small[0].weight.shape == (4, 1, 3, 3)
    assert small[4].weight.shape == (3, 4, 3, 3)
    assert small[8].weight.shape == (7, 12)
    assert small[1].running_mean.shape == (4,)
    assert torch.allclose(small(x), zeroed(x), atol=1e-5)


def _conv(one=1, two=4):
    return nn.Conv2d(one, two, 3, padding=1)


def _shared(kind):
    """Two convolutions with one normalisation, one activation's reader, or one weight."""
    norm, reader = nn.BatchNorm2d(4), _conv(4, 4)
    if kind == "norm":
        return nn.Sequential(_conv(), norm, nn.ReLU(), _conv(4), norm, nn.ReLU(), *_end(4))
    if kind == "reader":
        return nn.Sequential(_conv(), nn.ReLU(), reader, nn.ReLU(), reader, nn.ReLU(), *_end(4))
    other = _conv(4, 4)
    other.weight = reader.weight
    return nn.Sequential(_conv(), nn.ReLU(), reader, nn.ReLU(), other, nn.ReLU(), *_end(4))


def _end(maps):
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(maps, 3)


class OwnWeight(nn.Module):
    """Reads its own convolution's weight beside calling it."""

    def __init__(self):
        super().__init__()
        self.conv, self.end = _conv(), nn.Sequential(nn.ReLU(), *_end(4))

    def forward(self, x):
        return self.end(self.conv(x)) * self.conv.weight.mean()


class Functional(nn.Module):
    def __init__(self, start):
        super().__init__()
        self.conv, self.start = _conv(), start
        self.linear = nn.Linear(256 if start == 1 else 64, 3)

    def forward(self, x):
        found = self.linear(torch.flatten(torch.relu(self.conv(x)), self.start))
        return found if self.start == 1 else found.mean(1)


ODD = {
    "norms without affine parts": (
        nn.Sequential(_conv(), nn.BatchNorm2d(4, affine=False), nn.ReLU(), *_end(4)), ["0"]),
    "norms without statistics": (
        nn.Sequential(_conv(), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU(), *_end(4)),
        ["0"]),
    "a norm after flattening": (
        nn.Sequential(_conv(), nn.ReLU(), nn.Flatten(), nn.BatchNorm1d(256, affine=False),
                      nn.Linear(256, 3)), ["0"]),
    "shared norm": (_shared("norm"), []),
    "shared reader": (_shared("reader"), []),
    "shared weight": (_shared("weight"), []),
    "weight norm": (
        nn.Sequential(nn.utils.parametrizations.weight_norm(_conv()), nn.ReLU(), _conv(4, 4),
                      nn.ReLU(), *_end(4)), ["2"]),
    "spectral norm of a reader": (
        nn.Sequential(_conv(), nn.ReLU(), nn.utils.parametrizations.spectral_norm(_conv(4, 4)),
                      nn.ReLU(), *_end(4)), []),
    "weight norm by hooks": (
        nn.Sequential(nn.utils.spectral_norm(_conv()), nn.ReLU(), *_end(4)), []),
    "a linear layer over the width": (
        nn.Sequential(_conv(), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), *_end(4)), []),
    "a linear layer over as many columns as there are maps": (
        nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(),
                      *_end(8)), []),
    "flattened within maps": (
        nn.Sequential(_conv(), nn.ReLU(), nn.Flatten(2), nn.Linear(64, 3), nn.Flatten(),
                      nn.Linear(12, 3)), []),
    "a weight that is read elsewhere": (OwnWeight(), []),
    "flattened by a function": (Functional(1), ["conv"]),
    "flattened within maps by a function": (Functional(2), []),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
def test_odd_networks_lose_what_can_go_and_nothing_else(kind):
    """Slow twin: the activation of a map that goes is set to zero."""
    given, wanted = ODD[kind]
    network = _random(copy.deepcopy(given))
    try:
        layers = plain_layers(network)
    except BadInput:
        layers = {}
    assert list(layers) == wanted
    x = torch.rand((2, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    for name, layer in layers.items():
        maps = network.get_submodule(name).out_channels
        kept = torch.tensor([k for k in range(maps) if k != 1])
        zeroed, reader = copy.deepcopy(network), layer.reader
        weight = zeroed.get_submodule(reader).weight
        with torch.no_grad():
            weight.view(len(weight), maps, -1)[:, 1] = 0
        small = remove_channels(copy.deepcopy(network), {name: kept})
        torch.testing.assert_close(small(x), zeroed(x))


def test_keeping_all_changes_nothing():
    network = _random(VggLike())
    x = torch.rand((1, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    before = network(x)
    widths = {n: network.get_submodule(n).out_channels for n in plain_layers(network)}
    remove_channels(network, {n: torch.arange(w) for n, w in widths.items()})
    assert torch.equal(network(x), before)


def test_apoz_counts_zeros():
    """One map always off, one always on, one on where the pixel is bright."""
    conv = nn.Conv2d(1, 3, 1)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1, 1))
        conv.bias.copy_(torch.tensor([-1.0, 1.0, -0.5]))
    network = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 2))
    pixels = torch.zeros(5, 1, 4, 4)
    pixels[:, :, 0] = 1  # a quarter is bright
    data = ImageSet.from_arrays(pixels.numpy(), [0, 1, 0, 1, 0])
    assert apoz(network, data, batch=2)["0"].tolist() == pytest.approx([1.0, 0.0, 0.75])


def test_apoz_agrees_with_hooks():
    """The slow twin: outputs of the blocks, read by hooks."""
    model = load_model("digits_cnn")
    data = load_data("digits", "held_out").subset(slice(0, 30))
    outputs = {}
    hooks = [
        block.register_forward_hook(lambda _m, _i, out, i=i: outputs.update({i: out}))
        for i, block in enumerate(model.blocks)
    ]
    model(data[:][0])
    for hook in hooks:
        hook.remove()
    for i, (name, zeros) in enumerate(apoz(model, data).items()):
        assert name == f"blocks.{i}.conv"
        expected = (outputs[i] == 0).double().mean((0, 2, 3))
        # The same additions in batches of another size may differ in the last bit at zero.
        assert torch.allclose(zeros, expected, atol=2e-3)


def test_the_bar_is_one_standard_deviation():
    zeros = {"a": torch.tensor([0.1, 0.2, 0.3, 0.9], dtype=torch.float64)}
    mean, std = 0.375, 0.3112
    assert mean + std < 0.9
    assert maps_to_keep(zeros, 1.0, {"a": 1})["a"].tolist() == [0, 1, 2]
    assert maps_to_keep(zeros, -5.0, {"a": 2})["a"].tolist() == [0, 1]
    assert maps_to_keep(zeros, 5.0, {"a": 1})["a"].tolist() == [0, 1, 2, 3]


def test_a_network_is_trimmed_and_still_classifies(tmp_path):
    model = load_model("digits_cnn")
    before = copy.deepcopy(model.state_dict())
    some, held, test = (load_data("digits", s) for s in ("fit", "held_out", "test"))
    settings = Trimming(between=QUICK, last=QUICK)
    small, log, details = trim(model, some, held, settings, seed=0, out=tmp_path)
    x = test[:1][0]
    assert parameters(small) <= 0.48 * parameters(model)
    assert multiply_adds(small, x) <= 0.58 * multiply_adds(model, x)
    assert evaluate(small, test).accuracy > evaluate(model, test).accuracy - 0.04
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert details["rounds"][0]["bar"] == 1.0
    assert [r["parameters"] for r in details["rounds"]] == sorted(
        (r["parameters"] for r in details["rounds"]), reverse=True
    )
    assert len(log) == 2 * len(details["rounds"])
    for layer, block in zip(details["layers"], small.blocks, strict=True):
        assert layer["maps"] == block.conv.out_channels <= layer["maps_before"]
    again, _, _ = trim(model, some, held, settings, seed=0, out=tmp_path)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in small.state_dict().items())


def test_your_own_network_is_trimmed_saved_and_loaded(tmp_path):
    from undertow.models.own import trim_own

    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(\n"
        "        nn.BatchNorm2d(1), nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4),\n"
        "        nn.Conv2d(12, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10))\n"
    )
    spec = f"{tmp_path / 'net.py'}:make"
    settings = Trimming(between=QUICK, last=QUICK)
    network = untrained(spec, seed=0)
    fit(network, load_data("digits", "fit"), dataclasses.replace(QUICK, epochs=3), seed=0)
    weights = tmp_path / "trained.safetensors"
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, weights)
    told = {"data": "digits", "out": tmp_path / "out", "weights": weights}
    made = trim_own(spec, **told, settings=settings)
    loaded = load_model(spec, weights=made.weights, classes=10)
    assert parameters(loaded) == made.parameters < 0.5 * parameters(load_model(spec))
    assert evaluate(loaded, load_data("digits")).accuracy == made.accuracy
    assert (tmp_path / "out" / "trimmed.json").is_file()
