from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import undertow
from undertow.errors import BadInput, UnknownName
from undertow.figures import draw, from_flow, lift, save
from undertow.measuring.readers_cache import readers_for
from undertow.store import Run
from undertow.taps import choose


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    model, (x, y) = undertow.load_model("digits_cnn"), undertow.load_data("digits")[:8]
    made = undertow.craft(undertow.attacks.IGSM(epsilon=0.2, steps=4), model, x[:2], y[:2])
    cache = tmp_path_factory.mktemp("readers")
    train = undertow.load_data("digits", "fit")
    readers = readers_for(model, choose(model, x), train, 200, directory=cache)
    benign = undertow.measure(model, x, y, readers=readers)
    return undertow.measure(model, made, readers=readers, benign_std=benign.std("sample"))


def test_a_measured_trajectory_is_figure_one(flow: xr.Dataset) -> None:
    data = from_flow(flow, "trajectory", sample=1)
    rows = flow["sample"].values == 1
    benign = next(s for s in data.panels[0].series if s.label == "benign")
    np.testing.assert_allclose(benign.y, flow["iip"].values[rows][0])
    line = data.panels[-1].series[0]
    np.testing.assert_allclose(line.y, flow["difference"].values[rows])
    assert "input 1, IGSM" in data.title


def test_drift_of_a_measured_trajectory_is_the_map_of_its_turning(flow: xr.Dataset) -> None:
    data = from_flow(flow, sample=1)
    rows = flow["sample"].values == 1
    stored = flow["drift"].values[rows]
    heat = data.panels[0].heat
    assert heat is not None
    np.testing.assert_allclose(heat.z, stored[:, np.isfinite(stored).all(axis=0)])
    assert data.name == "turning"


def test_class_information_of_a_measured_trajectory_is_streams(flow: xr.Dataset) -> None:
    data = from_flow(flow, "streams")
    rows = np.flatnonzero(flow["sample"].values == 0)
    drawn = [s.y for s in data.panels[-1].series]
    last = flow["class_information"].values[rows[-1]]
    assert all(any(np.allclose(last[:, m], y) for y in drawn) for m in range(10))


@pytest.mark.parametrize(
    ("change", "arguments", "words"),
    [
        (lambda f: f.drop_vars("difference"), ("trajectory",), "benign_std"),
        (lambda f: f.drop_vars("class_information"), ("streams",), "readers="),
        (lambda f: f.rename(record="sample_"), (), "measure a trajectory"),
        (lambda f: f, ("nix",), "allowed: turning, trajectory, streams"),
    ],
)
def test_what_is_missing_is_said(flow: xr.Dataset, change, arguments, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        from_flow(change(flow), *arguments)
    with pytest.raises(BadInput, match=r"unknown sample 7 \(allowed: 0, 1\)"):
        from_flow(flow, sample=7)


def test_figures_are_lifted_by_name_and_drawn(run: Run, tmp_path) -> None:
    data = lift(run, "aggregate", model="deep_conv")
    assert data.title.endswith("in deep_conv")
    assert type(draw(data)).__name__ == "Figure"
    assert save(data, str(tmp_path / "a.pdf")).read_bytes().startswith(b"%PDF")
    with pytest.raises(UnknownName, match="unknown figure 'nix'"):
        lift(run, "nix")
    with pytest.raises(BadInput, match="no choice 'colour'"):
        lift(run, "aggregate", colour="red")
