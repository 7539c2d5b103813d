"""Exported tables say what the store says, and no word that pandas takes for a missing value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from undertow.store import Cell, Run
from undertow.store.export import export, table
from undertow.testing.runs import synthetic_run

GROUPS = ("profiles", "attacks", "class_information")


@pytest.fixture(scope="module")
def stored_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("tables") / "run"
    attacks = ("benign", "jsma", "noise:jsma")
    return synthetic_run(path, samples=4, shard=2, models=("m",), attacks=attacks, size=8)


@pytest.fixture(scope="module")
def files(stored_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tables")
    export(stored_run, "csv", out)
    export(stored_run, "netcdf", out)
    return out


def test_indices_and_classes_are_those_of_the_store(stored_run: Run, files: Path) -> None:
    names = list(stored_run.manifest["classes"])
    for group in GROUPS:
        frame = pd.read_csv(files / f"{group}.csv")
        for cell in stored_run.cells:
            rows = frame[(frame["model"] == cell.model) & (frame["attack"] == cell.attack)]
            stored = stored_run.attacks(cell)["index"].values
            found = rows.groupby("sample")["index"].unique()
            assert [list(i) for i in found] == [[i] for i in stored], (group, cell)
        if "class" in frame:
            assert (frame["class_name"].astype(str) == [names[k] for k in frame["class"]]).all()
    ends = pd.read_csv(files / "attacks.csv")
    assert (ends["label_name"].astype(str) == [names[k] for k in ends["label"]]).all()


def test_no_word_is_read_as_missing(files: Path) -> None:
    for group in GROUPS:
        frame = pd.read_csv(files / f"{group}.csv")
        words = frame.select_dtypes(include=["object", "string"])
        assert not words.isna().any().any(), words.columns[words.isna().any()].tolist()
    profiles = pd.read_csv(files / "profiles.csv")
    assert set(profiles["kind"]) == {"raw", "chance", "net"}
    assert set(profiles["estimator"]) == {"gaussian_copula"}
    assert set(profiles[profiles["attack"] == "benign"]["source"]) == {"none"}
    assert set(profiles[profiles["attack"] != "benign"]["source"]) == {"m"}


def test_values_are_those_of_the_store(small_run: Run) -> None:
    """Of a study with two estimators; its flow has the indices of the data, too."""
    flow = table(small_run, "flow")
    assert set(flow["estimator"]) == {"gaussian_copula", "binned"}
    assert set(flow["index"]) == set(small_run.manifest["inputs"])
    frame = table(small_run, "profiles")
    cell = Cell("digits_cnn", "fgsm")
    stored = small_run.profiles(cell)
    for (profile, kind, estimator), rows in frame[frame["attack"] == "fgsm"].groupby(
        ["profile", "kind", "estimator"]
    ):
        name = profile + {"raw": "_raw", "chance": "_null", "net": ""}[kind]
        name += "" if estimator == "gaussian_copula" else f"@{estimator}"
        np.testing.assert_array_equal(rows["value"].values, stored[name].values.ravel())


def test_netcdf_opens_plainly_and_names_its_groups(stored_run: Run, files: Path) -> None:
    with xr.open_dataset(files / "profiles.nc") as root:
        assert [str(g) for g in root["attack"].values] == [c.attack for c in stored_run.cells]
        group = str(root["group"].values[1])
        assert "group=GROUP" in root.attrs["cells"]
    with xr.open_dataset(files / "profiles.nc", group=group) as data:
        stored = stored_run.profiles(stored_run.cells[1])
        np.testing.assert_array_equal(data["iip"].values, stored["iip"].values)
        assert (
            data["index"].values.tolist()
            == stored_run.attacks(stored_run.cells[1])["index"].values.tolist()
        )
