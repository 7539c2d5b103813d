"""Runs of one study whose finished shards complement each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from undertow.errors import BadInput, Foreign
from undertow.store import Cell, create_run, merge_runs, open_run
from undertow.testing.runs import exemplar

from .conftest import CELL, SPEC, fill, prepare, rows

Make = Callable[..., Path]
OTHER = Cell("good_init", "noise:jsma")
MANIFEST = {"seed": 3, "hashes": {"weights": "ab"}, "inputs": list(range(100, 110))}


def _part(path: Path, cells: dict[Cell, tuple[int, ...]], followed: int | None = None) -> Path:
    with create_run(path, SPEC, MANIFEST) as writer:
        for cell, shards in cells.items():
            prepare(writer, cell, 10, 4)
            for shard in shards:
                fill(writer, cell, shard, 10, 4)
        if followed is not None:
            writer.exemplar(CELL, 100 + followed, exemplar(CELL, steps=2, size=4))
            writer.ledger.record(CELL, f"exemplar:{followed}", "done")
    return path


def test_finished_shards_complement_each_other(tmp_path: Path) -> None:
    one = _part(tmp_path / "one", {CELL: (0, 2)}, followed=1)
    two = _part(tmp_path / "two", {CELL: (1, 2), OTHER: (0, 1, 2)}, followed=2)
    run = merge_runs([one, two], tmp_path / "merged")
    assert set(run.cells) == {CELL, OTHER}
    for cell in run.cells:
        assert run.state(cell).finished
        for group in ("profiles", "attacks", "class_information"):
            found, wanted = getattr(run, group)(cell), rows(group, 0, 10)
            for name in (n for n in wanted.variables if "sample" in wanted[n].dims):
                np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)
    assert run.exemplars(CELL) == (101, 102)
    assert run.exemplar(CELL, 102).identical(open_run(two).exemplar(CELL, 102))
    assert run.check() == ()
    assert run.records[CELL, 1].facts["merged_from"] == str(two.resolve())
    assert run.manifest["inputs"] == MANIFEST["inputs"]


def test_merging_into_a_part_adds_what_it_lacks(tmp_path: Path) -> None:
    one, two = (_part(tmp_path / str(s), {CELL: (s,)}) for s in (0, 1))
    out = merge_runs([one, two], tmp_path / "merged").path
    three = _part(tmp_path / "2", {CELL: (2,)})
    assert merge_runs([one, three], out).state(CELL).finished


def test_runs_of_other_studies_are_refused_with_the_difference(tmp_path: Path, make: Make) -> None:
    one = _part(tmp_path / "one", {CELL: (0,)})
    for entries, said in (
        ({"hashes": {"weights": "cd"}}, r'hashes\.weights: "ab" → "cd"'),
        ({"inputs": [1, 2]}, "inputs: "),
    ):
        with create_run(tmp_path / said[:6], SPEC, {**MANIFEST, **entries}) as writer:
            other = writer.path
        with pytest.raises(BadInput, match=said):
            merge_runs([one, other], tmp_path / "out")
    with create_run(tmp_path / "seed", {**SPEC, "seed": 4}, MANIFEST):
        pass
    with pytest.raises(BadInput, match="seed: 3 → 4"):
        merge_runs([one, tmp_path / "seed"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_sources_and_bad_places_are_refused(tmp_path: Path) -> None:
    one, two = (_part(tmp_path / str(s), {CELL: (s,)}) for s in (0, 1))
    with pytest.raises(BadInput, match="two runs or more"):
        merge_runs([one], tmp_path / "out")
    with pytest.raises(BadInput, match="one of the runs to merge"):
        merge_runs([one, two], two)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    with pytest.raises(Foreign, match=r"thesis\.txt"):
        merge_runs([one, two], tmp_path / "full")
    chunk = two / "results.zarr" / "profiles" / CELL.slug / "iip" / "c.1.0"
    chunk.write_bytes(chunk.read_bytes()[:9])
    with pytest.raises(BadInput, match=r"is damaged .*runs check --repair"):
        merge_runs([one, two], tmp_path / "out")


def test_a_ledger_that_names_inputs_that_are_not_there_is_a_fault(tmp_path: Path) -> None:
    path = _part(tmp_path / "run", {CELL: (0,)})
    with create_run(path, SPEC, MANIFEST) as writer:
        for name in ("exemplar:7", "exemplar:77", "exemplar:x"):
            writer.ledger.record(CELL, name, "done")
    words = [fault.words for fault in open_run(path).check()]
    assert [w.rpartition("/")[2] for w in words] == [
        "107 is missing",
        "77 is missing",
        "-1 is missing",
    ]
    with create_run(path, SPEC, MANIFEST) as writer:
        assert len(writer.repair()) == 3
        assert not writer.done(CELL, "exemplar:7")
    assert json.loads((path / "manifest.json").read_text())["inputs"] == MANIFEST["inputs"]
