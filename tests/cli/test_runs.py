"""``undertow runs``: list, show, check, merge."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from undertow.store import Run, create_run, open_run
from undertow.studies.asked.spec import StudySpec
from undertow.testing.runs import same_results, synthetic_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, one below the other's folder, beside something else."""
    place = tmp_path_factory.mktemp("runs")
    synthetic_run(
        place / "whole", samples=6, shard=3, models=("a", "b"), attacks=("benign", "jsma")
    )
    synthetic_run(
        place / "deep" / "half", samples=6, shard=3, models=("a", "b"),
        attacks=("benign", "jsma"), finished=False,
    )  # fmt: skip
    (place / "other").mkdir()
    (place / "other" / "thesis.txt").write_text("years of work")
    return place


def test_list_finds_runs_and_their_state(undertow, folder: Path) -> None:
    rows = json.loads(undertow("runs", "list", folder, "--json").out)
    assert [(r["run"], r["state"]) for r in rows] == [
        ("deep/half", "failed"),
        ("whole", "finished"),
    ]
    assert [r["done"] == r["cells"] for r in rows] == [False, True]
    assert [r["failed shards"] for r in rows] == [1, 0]
    said = undertow("runs", "list", folder)
    assert said.code == 0
    assert "deep/half" in said.out
    assert undertow("runs", "list", folder / "other").out == "(none)\n"
    assert undertow("runs", "list", folder / "nowhere").code == 2


def test_list_passes_over_what_cannot_be_read(undertow, tmp_path: Path) -> None:
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "manifest.json").write_text("{}")
    said = undertow("runs", "list", tmp_path)
    assert said.code == 0
    assert "is not an undertow run" in said.err


def test_show_names_cells_failures_and_verdicts(undertow, folder: Path) -> None:
    whole = json.loads(undertow("runs", "show", folder / "whole", "--json").out)
    assert all(row["done"] == row["shards"] == 2 for row in whole["by cell"])
    assert {row["verdict"] for row in whole["verdicts"]} >= {"supported", "contradicted"}
    assert whole["missing"] == []
    half = undertow("runs", "show", folder / "deep" / "half")
    assert half.code == 0
    assert "MemoryError: no room" in half.out
    assert "missing: no answers yet" in half.out
    assert undertow("runs", "show", folder / "other").code == 2


def test_check_and_repair(undertow, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(folder / "whole", path)
    assert undertow("runs", "check", path).out == "no fault found\n"
    chunk = next((path / "results.zarr" / "profiles").glob("*/iip/c.1.0"))
    chunk.write_bytes(b"")
    said = undertow("runs", "check", path)
    assert said.code == 1
    assert "iip, shard 1 is damaged" in said.out
    found = json.loads(undertow("runs", "check", path, "--json").out)
    assert (len(found["faults"]), found["repaired"]) == (1, False)
    assert undertow("runs", "check", path, "--repair").code == 0
    assert undertow("runs", "check", path).code == 0
    assert json.loads(undertow("runs", "list", path, "--json").out)[0]["state"] == "half-finished"


def test_repair_waits_for_whoever_writes(undertow, folder: Path) -> None:
    run = open_run(folder / "whole")
    with create_run(run.path, run.spec, {}):
        said = undertow("runs", "check", run.path, "--repair")
    assert said.code == 2
    assert "is being written by process" in said.err


def test_merge_answers_the_study_once_it_is_whole(
    undertow, small_run: Run, small_spec: StudySpec, tmp_path: Path
) -> None:
    """Two copies of a run, each having lost what the other kept."""
    parts = [tmp_path / name for name in ("one", "two")]
    for number, path in enumerate(parts):
        shutil.copytree(small_run.path, path)
        (path / "answers.json").unlink()
        with create_run(path, small_spec.plain(), {}) as writer:
            for place, (cell, shard) in enumerate(sorted(writer.ledger.records, key=str)):
                if place % 2 == number:
                    writer.ledger.record(cell, shard, "pending")
    said = undertow("runs", "merge", *parts, "--out", tmp_path / "whole")
    assert said.code == 0, said.err
    assert said.out.strip() == str(tmp_path / "whole")
    same_results(small_run, open_run(tmp_path / "whole"))
    assert undertow("runs", "check", tmp_path / "whole").code == 0


def test_merge_of_parts_says_what_is_missing(undertow, folder: Path, tmp_path: Path) -> None:
    half = folder / "deep" / "half"
    shutil.copytree(half, tmp_path / "copy")
    said = undertow("runs", "merge", half, tmp_path / "copy", "--out", tmp_path / "m", "--json")
    assert said.code == 0, said.err
    assert any("1 of 2 shards done" in line for line in json.loads(said.out)["missing"])
    invented = undertow("runs", "merge", half, folder / "whole", "--out", tmp_path / "other")
    assert invented.code == 2
    assert "its spec is not one that this undertow can answer" in invented.err
    assert undertow("runs", "merge", half, "--out", tmp_path / "x").code == 2
