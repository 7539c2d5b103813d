from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from undertow import taps
from undertow.errors import BadInput
from undertow.information import plane
from undertow.measuring.population import information_plane


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5)
    ).eval()


X = torch.rand(30, 3, 8, 8, generator=torch.Generator().manual_seed(1))
Y = torch.arange(30) % 5


@pytest.mark.parametrize("method", ["binned", "kernel"])
def test_reading_in_batches_gives_the_layers_own_place(model, method) -> None:
    found = information_plane(model, X, Y, method=method, batch_size=7, bins=2)
    chosen = taps.choose(model, X)
    maps = taps.read(model, X, chosen).maps
    for k, tap in enumerate(chosen):
        units = maps[tap.name].flatten(1)
        truth = plane.binned(units, Y, bins=2) if method == "binned" else plane.kernel(units, Y)
        for name in found.data_vars:
            assert float(found[name][0, k]) == pytest.approx(getattr(truth, str(name)), abs=1e-5)
    assert found["cell"].values.tolist() == ["benign"]
    assert "Goldfeld" in found.attrs["caveats"]
    assert all(found[name].attrs["units"] == "bit" for name in found.data_vars)


def test_adversarial_counterparts_share_bins_and_taps(model) -> None:
    same = information_plane(model, {"benign": X, "copy": X.clone()}, Y, "1", method="binned")
    assert same["tap"].values.tolist() == ["1"]
    assert same.isel(cell=0).drop_vars("cell").equals(same.isel(cell=1).drop_vars("cell"))
    dark = information_plane(model, {"benign": X, "dark": X * 0}, Y, "1", method="binned")
    np.testing.assert_allclose(dark["x"], [[np.log2(30)], [0]], atol=1e-9)


def test_bad_input(model) -> None:
    with pytest.raises(BadInput, match="29 labels with inputs"):
        information_plane(model, X, Y[1:])
    with pytest.raises(BadInput, match="no module matches"):
        information_plane(model, X, Y, "conv9")
