"""Exported tables say what the store says, and no word that pandas takes for a missing value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from undertow.store import Cell, Run
from undertow.store.export import export, table


@pytest.fixture(scope="module")
def files(small_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tables")
    export(small_run, "csv", out)
    export(small_run, "netcdf", out)
    return out


def test_indices_and_classes_are_those_of_the_store(small_run: Run, files: Path) -> None:
    names = list(small_run.manifest["classes"])
    for group in ("profiles", "flow", "attacks", "class_information"):
        frame = pd.read_csv(files / f"{group}.csv")
        for cell in small_run.cells:
            rows = frame[(frame["model"] == cell.model) & (frame["attack"] == cell.attack)]
            stored = small_run.attacks(cell)["index"].values
            found = rows.groupby("sample")["index"].unique()
            assert [list(i) for i in found] == [[i] for i in stored], (group, cell)
        if "class" in frame:
            assert (frame["class_name"].astype(str) == [names[k] for k in frame["class"]]).all()
    ends = pd.read_csv(files / "attacks.csv")
    assert (ends["label_name"].astype(str) == [names[k] for k in ends["label"]]).all()


def test_no_word_is_read_as_missing(small_run: Run, files: Path) -> None:
    for group in ("profiles", "flow", "attacks", "class_information"):
        frame = pd.read_csv(files / f"{group}.csv")
        words = frame.select_dtypes(include=["object", "string"])
        assert not words.isna().any().any(), words.columns[words.isna().any()].tolist()
    profiles = pd.read_csv(files / "profiles.csv")
    assert set(profiles["kind"]) == {"raw", "chance", "net"}
    assert set(profiles["estimator"]) == {"gaussian_copula", "binned"}
    assert set(profiles[profiles["attack"] == "benign"]["source"]) == {"none"}
    assert set(profiles[profiles["attack"] != "benign"]["source"]) == {"digits_cnn"}


def test_values_are_those_of_the_store(small_run: Run) -> None:
    frame = table(small_run, "profiles")
    cell = Cell("digits_cnn", "fgsm")
    stored = small_run.profiles(cell)
    for (profile, kind, estimator), rows in frame[frame["attack"] == "fgsm"].groupby(
        ["profile", "kind", "estimator"]
    ):
        name = profile + {"raw": "_raw", "chance": "_null", "net": ""}[kind]
        name += "" if estimator == "gaussian_copula" else f"@{estimator}"
        np.testing.assert_array_equal(rows["value"].values, stored[name].values.ravel())


def test_netcdf_opens_plainly_and_names_its_groups(small_run: Run, files: Path) -> None:
    with xr.open_dataset(files / "profiles.nc") as root:
        assert [str(g) for g in root["attack"].values] == [c.attack for c in small_run.cells]
        group = str(root["group"].values[1])
        assert "group=GROUP" in root.attrs["cells"]
    with xr.open_dataset(files / "profiles.nc", group=group) as data:
        stored = small_run.profiles(small_run.cells[1])
        np.testing.assert_array_equal(data["iip"].values, stored["iip"].values)
        assert (
            data["index"].values.tolist()
            == small_run.attacks(small_run.cells[1])["index"].values.tolist()
        )
