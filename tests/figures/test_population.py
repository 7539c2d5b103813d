from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from undertow.errors import BadInput
from undertow.figures import FigureData, draw, population_plane
from undertow.figures.print_ink import to_print
from undertow.information.plane import CAVEATS
from undertow.measuring.population import information_plane
from undertow.testing.figures import CONTRACT

X = torch.rand(24, 1, 6, 6, generator=torch.Generator().manual_seed(1))
Y = torch.arange(24) % 3


@pytest.fixture(scope="module", params=["kernel", "binned"])
def found(request: pytest.FixtureRequest):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)).eval()
    return information_plane(model, {"igsm": X / 2, "benign": X}, Y, method=request.param)


@pytest.mark.parametrize("check", CONTRACT, ids=lambda c: c.__name__)
def test_it_keeps_the_contract_of_figures(found, check: Callable[[FigureData], None]) -> None:
    check(population_plane(found, model="a net"))


def test_points_are_the_layers_own_numbers_benign_first(found) -> None:
    data = population_plane(found)
    plane, about_x, about_y = data.panels
    assert [s.label for s in plane.series] == ["benign", "IGSM"]
    x, y = ("x_upper", "y") if found.attrs["method"] == "kernel" else ("x", "y")
    for line, cell in zip(plane.series, ("benign", "igsm"), strict=True):
        np.testing.assert_array_equal(line.x, found[x].sel(cell=cell))
        np.testing.assert_array_equal(line.y, found[y].sel(cell=cell))
    assert about_x.marks[0].at == pytest.approx(np.log2(24))
    if found.attrs["method"] == "kernel":
        np.testing.assert_array_equal(about_x.series[0].low, found["x_lower"].sel(cell="benign"))
        np.testing.assert_array_equal(about_y.series[0].high, found["y_upper"].sel(cell="benign"))


def test_the_published_caveats_are_drawn_on_the_figure(found) -> None:
    data = population_plane(found)
    assert data.notes == CAVEATS

    def plain(text: str) -> str:
        return " ".join(text.replace("<br>", " ").split())

    shown = plain(" ".join(str(a.text) for a in draw(data).layout.annotations))
    printed = plain(to_print(data).get_supxlabel())
    for caveat in CAVEATS:
        assert plain(caveat) in shown
        assert plain(caveat) in printed


def test_something_else_is_refused(found) -> None:
    with pytest.raises(BadInput, match="information_plane"):
        population_plane(found.drop_vars("y"))
