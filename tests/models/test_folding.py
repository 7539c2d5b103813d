from __future__ import annotations

import pytest
import torch
from torch import nn

import undertow as ut
from undertow.data import load_data
from undertow.models import load_model
from undertow.models.folding import EXACT, folded


def _norms(model):
    return sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())


def _settled(model, seed=0):
    """Statistics and affine weights that are not those of a fresh layer."""
    generator = torch.Generator().manual_seed(seed)
    for m in model.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is not None:
            m.running_mean.copy_(torch.randn(m.num_features, generator=generator) / 3)
            m.running_var.copy_(torch.rand(m.num_features, generator=generator) + 0.5)
            if m.affine:
                m.weight.data.copy_(torch.rand(m.num_features, generator=generator) + 0.5)
                m.bias.data.copy_(torch.randn(m.num_features, generator=generator) / 3)
    return model.eval().requires_grad_(False)


def _plain(*layers):
    return _settled(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)))


X = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class SamePadding(nn.Conv2d):
    """Pads what it is given, as ports of EfficientNet do."""

    def forward(self, x):
        return super().forward(nn.functional.pad(x, (0, 1, 0, 1)))


class Standardised(nn.Conv2d):
    """Its weights are standardised in the pass (Qiao et al. 2019): the norm cannot go there."""

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = weight / weight.std((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, weight, self.bias)


@pytest.mark.parametrize(
    "layers",
    [
        (SamePadding(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU6()),
        (nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU()),
        (nn.Conv2d(3, 6, 3, bias=False, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU6()),
        (nn.Conv2d(3, 6, 3, groups=3, padding_mode="reflect", padding=1), nn.BatchNorm2d(6)),
        (nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6, affine=False), nn.ReLU(inplace=True)),
    ],
    ids=["padding of its own", "plain", "strided", "grouped", "without affine weights"],
)
def test_it_computes_the_same(layers):
    model = _plain(*layers)
    twin = folded(model, X[:2])
    assert (_norms(model), _norms(twin)) == (1, 0)
    assert torch.allclose(twin(X), model(X), atol=1e-5)


@pytest.mark.parametrize("name", ["good_init", "deep_conv", "vgg_like", "good_init/distilled"])
def test_every_normalisation_of_the_zoo_is_folded_exactly(name):
    model, x = load_model(name), load_data("cifar10")[:16][0]
    twin = folded(model, x[:2])
    a, b = model(x), twin(x)
    assert _norms(twin) == 0
    assert float((a - b).abs().max() / a.abs().max()) <= EXACT


def test_the_model_is_left_as_it_is_and_shares_its_other_weights():
    model = load_model("good_init")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    twin = folded(model, load_data("cifar10")[:2][0])
    assert twin is not model
    assert twin.head.weight is model.head.weight
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert _norms(model) == 8


def test_gradients_are_the_same():
    model, (x, y) = load_model("good_init"), load_data("cifar10")[:8]
    slopes = []
    for m in (model, folded(model, x[:2])):
        leaf = x.clone().requires_grad_()
        slopes.append(torch.autograd.grad(nn.functional.cross_entropy(m(leaf), y), leaf)[0])
    assert float((slopes[0] - slopes[1]).abs().max()) <= 1e-4 * float(slopes[0].abs().max())


class Branched(nn.Module):
    """The convolution's output is used beside its normalisation."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        z = self.conv(x)
        return self.head((self.norm(z).relu() + z).mean((2, 3)))


class Twice(nn.Module):
    """One normalisation after two convolutions."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.norm = nn.Conv2d(3, 6, 3), nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.head((self.norm(self.a(x)) + self.norm(self.b(x))).relu().mean((2, 3)))


class Between(nn.Module):
    """Something stands between convolution and normalisation."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.norm(self.conv(x).relu()).mean((2, 3)))


class Reader(nn.Module):
    """It reads the statistics of its normalisation itself."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3))) + self.norm.running_mean[:4]


class Dropping(Between):
    """Its answer is drawn."""

    def forward(self, x):
        z = nn.functional.dropout(self.norm(self.conv(x)), 0.5, training=True)
        return self.head(z.mean((2, 3)))


def _hooked():
    model = _plain(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
    model[0].register_forward_hook(lambda module, args, output: output)
    return model


def _training():
    model = _plain(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
    model[1].train()
    model[1].momentum = 0.0
    return model


def _normed():
    return _plain(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 6, 3)), nn.BatchNorm2d(6))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "make",
    [
        *(lambda kind=k: _settled(kind()) for k in (Branched, Twice, Between, Reader, Dropping)),
        _hooked,
        _training,
        lambda: _plain(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6, track_running_stats=False)),
        lambda: _plain(Standardised(3, 6, 3), nn.BatchNorm2d(6)),
        lambda: _plain(nn.Conv2d(3, 6, 3), nn.GroupNorm(2, 6)),
        lambda: _plain(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)).bfloat16(),
        lambda: torch.jit.trace(_plain(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)), X),
    ],
    ids=[
        "branched", "twice", "between", "reader", "dropping", "hooked", "training", "untracked",
        "standardised", "group", "bfloat16", "traced",
    ],
)  # fmt: skip
def test_what_cannot_be_folded_is_used_as_it_is(make):
    model = make()
    assert folded(model, X[:2]) is model


def test_a_layer_whose_weights_are_computed_is_folded_or_left_but_never_wrong():
    model = _normed()
    assert torch.allclose(folded(model, X[:2])(X), model(X), atol=1e-5)


@pytest.mark.parametrize("attack", [ut.attacks.IGSM(epsilon=2 / 255), ut.attacks.DeepFool()])
def test_attacks_end_in_what_the_model_itself_confirms(attack):
    model, (x, y) = load_model("good_init"), load_data("cifar10")[:24]
    t = ut.craft(attack, model, x, y)
    assert torch.equal(model(t.end).argmax(1) != y, t.success)
