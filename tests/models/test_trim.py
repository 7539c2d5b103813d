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
