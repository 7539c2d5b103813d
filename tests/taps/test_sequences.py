"""Networks over steps: recurrent ones over the rows of an image, convolutions along time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

import undertow as ut
from undertow import taps


class OverRows(nn.Module):
    """A GRU that reads an image row by row."""

    def __init__(self, side: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = (nn.GRU(i, 6, batch_first=True) for i in (3 * side, 6))
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.first(x.permute(0, 2, 1, 3).flatten(2))
        y, _ = self.second(y)
        return self.head(y.mean(1))


class Audio(nn.Module):
    """Convolutions along time."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv1d(2, 5, 5, 2, 2), nn.ReLU(inplace=True), nn.Conv1d(5, 8, 5, 2, 2), nn.ReLU()
        )
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x[:, :, 0]).mean(2))


def test_every_row_of_a_recurrent_network_is_a_position() -> None:
    for side in (16, 32):
        model, x = OverRows(side).eval(), torch.rand(5, 3, side, side)
        chosen = taps.choose(model, x)
        assert [(tap.name, tap.shape) for tap in chosen] == [
            ("first", (6, side, 1)), ("second", (6, side, 1))
        ]  # fmt: skip
        reading = taps.read(model, x, chosen)
        with torch.no_grad():
            steps, _ = model.first(x.permute(0, 2, 1, 3).flatten(2))
        torch.testing.assert_close(reading.maps["first"][..., 0], steps.mT)


def test_recurrent_and_one_dimensional_networks_are_measured() -> None:
    """On the input averaged to the same grid: over the columns of each row, or as it is."""
    for model, x in (
        (OverRows(16).eval(), torch.rand(6, 3, 16, 16)), (Audio().eval(), torch.rand(6, 2, 1, 64)),
    ):  # fmt: skip
        flow = ut.measure(model, x, null="shift", keep_matrices=[0])
        assert np.isfinite(flow["iip"].values).all()
        assert np.isfinite(flow["flow"].values).all()
        lines = ut.measure(model, x, taps=[str(flow["tap"].values[0])], null="shift")
        np.testing.assert_allclose(lines["iip"].values[:, 0], flow["iip"].values[:, 0], atol=1e-6)


def test_taps_along_time_are_behind_their_activation() -> None:
    model, x = Audio().eval(), torch.rand(3, 2, 1, 64)
    chosen = taps.choose(model, x)
    assert [(t.name, t.shape) for t in chosen] == [("body.1", (5, 1, 32)), ("body.3", (8, 1, 16))]
    reading = taps.read(model, x, chosen, gradients=True)
    with torch.no_grad():
        torch.testing.assert_close(reading.maps["body.3"][:, :, 0], model.body(x[:, :, 0]))
    assert reading.gradients.shape == (3, 3, 8, 1, 16)


def test_source_information_of_steps_is_that_of_row_means() -> None:
    """What a network that only hands on row means holds is told by them, and by nothing else."""

    class Hands(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows, self.head = nn.Conv1d(1, 4, 1), nn.Linear(4, 2)
            nn.init.constant_(self.rows.weight, 2.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.rows(x.mean(3)).mean(2))

    generator = torch.Generator().manual_seed(3)
    x = torch.rand(4, 1, 48, 24, generator=generator)
    flow = ut.measure(Hands().eval(), x, null="shift")
    assert flow["tap"].values.tolist() == ["rows"]
    assert float(flow["iip_raw"].values.min()) > 3  # the map is a copy of the averaged input
