from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from undertow.errors import BadInput, Foreign
from undertow.store import GROUPS, Cell, open_run
from undertow.store.export import COLUMNS, export, table

from .conftest import CELL, rows

Make = Callable[..., Path]
OTHER = Cell("a/b", "noise:x", "c")


def test_csv_parquet_and_netcdf_hold_the_same_numbers(make: Make, tmp_path: Path) -> None:
    run = open_run(make(cells=(CELL, OTHER), done=2))
    for kind in ("csv", "parquet", "netcdf"):
        written = export(run, kind, tmp_path / "out")
        flow = set() if kind == "netcdf" else {"flow"}
        assert {p.stem for p in written} == {"profiles", "attacks", "class_information"} | flow
    csv = pd.read_csv(tmp_path / "out" / "profiles.csv", keep_default_na=False)
    parquet = pd.read_parquet(tmp_path / "out" / "profiles.parquet")
    pd.testing.assert_frame_equal(csv, parquet, check_dtype=False)
    assert len(csv) == 2 * 8 * 3 * 12, "2 cells, 8 finished inputs, 3 taps, 12 kinds of profile"
    place = "model == 'a/b' and sample == 5 and tap == 'stage1'"
    one = csv.query(f"{place} and profile == 'oip' and kind == 'chance'")
    assert one["value"].item() == rows("profiles", 0, 10, 1)["oip_null"].values[5, 1]
    assert one["unit"].item() == "bit"
    towards = pd.read_csv(tmp_path / "out" / "flow.csv", keep_default_na=False)
    stored = rows("profiles", 0, 10, 1)["flow"].values
    picked = towards.query(
        "model == 'a/b' and sample == 5 and tap == 'stage1' and estimator == 'own'"
    )
    np.testing.assert_allclose(picked.sort_values("class")["value"], stored[5, 1], rtol=1e-6)
    with xr.open_dataset(tmp_path / "out" / "class_information.nc", group=OTHER.slug) as data:
        np.testing.assert_array_equal(data["bits"], rows("class_information", 0, 8, 1)["bits"])
        assert data.attrs["source"] == "c"


def test_every_column_is_documented(make: Make) -> None:
    run = open_run(make())
    for group in ("profiles", "flow", "attacks", "class_information"):
        for column in table(run, group).columns:
            assert (
                column in COLUMNS
                or column in GROUPS.get(group, GROUPS["profiles"]).variables
                or column.startswith("logit_")
            ), column


def test_nothing_to_export_and_unknown_formats_are_said(make: Make, tmp_path: Path) -> None:
    run = open_run(make(done=0))
    with pytest.raises(Foreign, match="no finished inputs"):
        export(run, "csv", tmp_path / "out")
    with pytest.raises(BadInput, match="allowed: csv, parquet, netcdf"):
        export(run, "xls", tmp_path)
