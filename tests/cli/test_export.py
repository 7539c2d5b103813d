"""``undertow export``: every format, and what it says where a package is missing."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from undertow.testing.runs import synthetic_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    attacks = ("benign", "jsma")
    path = tmp_path_factory.mktemp("export") / "run"
    return synthetic_run(path, samples=4, shard=2, models=("m",), attacks=attacks, size=8).path


@pytest.mark.parametrize("kind", ["csv", "parquet", "netcdf", "tensorboard"])
def test_every_format_is_written_where_it_says(undertow, run: Path, kind: str) -> None:
    said = undertow("export", run, "--format", kind)
    assert said.code == 0, said.err
    paths = [Path(line) for line in said.out.split()]
    assert paths
    assert all(p.exists() and run / "export" in p.parents for p in paths)
    if kind == "csv":
        rows = list(csv.DictReader((run / "export" / "attacks.csv").read_text().splitlines()))
        assert [row["attack"] for row in rows] == ["benign"] * 4 + ["jsma"] * 4


@pytest.mark.parametrize(
    ("kind", "extra"),
    [("parquet", "export"), ("netcdf", "export"), ("tensorboard", "tensorboard")],
)
def test_a_missing_package_is_named_with_its_extra(
    undertow, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, extra: str
) -> None:
    for package in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("undertow.loading.find_spec", lambda name: None)
    said = undertow("export", run, "--format", kind, "--out", tmp_path)
    assert said.code == 2
    assert f"pip install 'undertow[{extra}]'" in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_csv_needs_no_further_package(run: Path, tmp_path: Path) -> None:
    command = f"""if True:
        import sys
        sys.modules["pyarrow"] = None  # before pandas looks for it
        from undertow.cli import run
        sys.exit(run(["export", {str(run)!r}, "--format", "csv", "--out", {str(tmp_path)!r}]))"""
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "attacks.csv").read_text().startswith("model,")


def test_another_format_is_refused_with_those_there_are(undertow, run: Path) -> None:
    said = undertow("export", run, "--format", "xls")
    assert said.code == 2
    assert "allowed: csv, mlflow, netcdf, parquet, tensorboard, wandb" in said.err
