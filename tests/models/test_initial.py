from __future__ import annotations

import pytest
import torch
from torch import nn

from undertow.data import load_data
from undertow.errors import BadInput
from undertow.models.good_init import good_init
from undertow.models.lsuv import layer_variances, lsuv_
from undertow.models.registry import fresh


def _net():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 64, 12), nn.ReLU(), nn.Linear(12, 10),
    )  # fmt: skip


def _batch(count=64):
    return load_data("digits", "fit")[:count][0]


def test_every_layer_starts_with_unit_variance():
    network = lsuv_(_net(), _batch(), generator=torch.Generator().manual_seed(0))
    found = layer_variances(network, _batch())
    assert list(found) == ["0", "2", "7", "9"]
    assert all(abs(v - 1) < 0.01 for v in found.values()), found


def test_good_init_starts_with_unit_variance():
    x = torch.rand((16, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    network = lsuv_(good_init(), x, generator=torch.Generator().manual_seed(0))
    found = layer_variances(network, x)
    assert len(found) == 9
    assert all(abs(v - 1) < 0.01 for v in found.values()), found


def test_the_orthonormal_start_alone_does_not():
    generator = torch.Generator().manual_seed(0)
    network = lsuv_(_net(), _batch(), generator=generator, scale=False)
    for layer in (network[2], network[7], network[9]):
        rows = layer.weight.detach().flatten(1)
        gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
        assert torch.allclose(gram, torch.eye(len(gram)), atol=1e-5)
    assert not torch.stack([layer.weight.norm() for layer in (network[2],)]).isnan().any()
    assert max(abs(v - 1) for v in layer_variances(network, _batch()).values()) > 0.5


def test_scaling_keeps_directions():
    """LSUV changes the length of a layer's weights, nothing else."""
    start = lsuv_(_net(), _batch(), generator=torch.Generator().manual_seed(3), scale=False)
    scaled = lsuv_(_net(), _batch(), generator=torch.Generator().manual_seed(3))
    for a, b in ((start[2], scaled[2]), (start[9], scaled[9])):
        ratio = b.weight / a.weight
        assert torch.allclose(ratio, ratio.flatten()[0].expand_as(ratio), rtol=1e-4)


def test_a_constant_cannot_be_scaled():
    with pytest.raises(BadInput, match="constant"):
        lsuv_(_net(), torch.zeros(4, 1, 16, 16), generator=torch.Generator().manual_seed(0))


def test_training_mode_is_left_as_it_was():
    network = _net().train()
    lsuv_(network, _batch(), generator=torch.Generator().manual_seed(0))
    assert network.training
    assert float(network[3].running_mean.abs().max()) == 0


def test_first_weights_follow_from_the_seed_alone():
    data = load_data("digits", "fit")
    first = fresh("digits_cnn", data, 1).state_dict()
    torch.manual_seed(99)
    before = torch.get_rng_state()
    again = fresh("digits_cnn", data, 1).state_dict()
    other = fresh("digits_cnn", data, 2).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])
