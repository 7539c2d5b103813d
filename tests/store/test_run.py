from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from undertow.errors import BadInput, Foreign, Unavailable, UnknownName
from undertow.store import Answers, Cell, create_run, open_run
from undertow.store.manifest import differences
from undertow.testing.runs import arrays_of, exemplar

from .conftest import CELL, SPEC, TAPS, fill, prepare, rows

Make = Callable[..., Path]
MANIFEST = {"seed": 3, "hashes": {"weights": "ab"}}


def test_what_is_written_is_read_back(make: Make) -> None:
    other = Cell("good_init/trimmed", "noise:jsma", "deep conv")
    run = open_run(make(cells=(CELL, other)))
    assert run.cells == (CELL, other)
    for salt, cell in enumerate(run.cells):
        for group, read in (
            ("profiles", run.profiles),
            ("attacks", run.attacks),
            ("class_information", run.class_information),
        ):
            found, wanted = read(cell), rows(group, 0, 10, salt)
            for name in (n for n in wanted.variables if "sample" in wanted[n].dims):
                np.testing.assert_array_equal(found[name], wanted[name], err_msg=f"{group}/{name}")
            assert found["finished"].values.all()
    assert tuple(run.profiles(CELL)["tap"].values) == TAPS
    assert run.profiles(CELL)["iip"].attrs["unit"] == "bit"
    assert run.spec == SPEC
    assert run.manifest["seed"] == 3
    assert run.state(CELL).finished
    assert run.missing == ("no answers yet",)
    assert run.check() == ()


def test_a_half_finished_run_shows_what_is_there_and_names_the_rest(make: Make) -> None:
    run = open_run(make(done=1))
    assert run.profiles(CELL)["finished"].values.tolist() == [True] * 4 + [False] * 6
    assert np.isnan(run.profiles(CELL)["iip"].values[4:]).all()
    assert f"{CELL.name}: 1 of 3 shards done" in run.missing
    assert run.answers is None
    assert "half-finished" in repr(run)


def test_a_shard_touches_only_its_own_files(make: Make, tmp_path: Path) -> None:
    path = make(done=1)
    before = {p: p.stat().st_mtime_ns for p in path.rglob("c.*")}
    with create_run(path, SPEC, MANIFEST) as writer:
        assert writer.resumed
        assert writer.done(CELL, 0)
        prepare(writer, CELL, 10, 4)
        fill(writer, CELL, 2, 10, 4)
    after = {p: p.stat().st_mtime_ns for p in path.rglob("c.*")}
    shards = {p for p in after if int(p.name.split(".")[1]) == 0 and before.get(p)}
    assert shards
    assert all(after[p] == before[p] for p in shards if "depth" not in str(p))
    np.testing.assert_array_equal(
        open_run(path).attacks(CELL)["l0"][8:], rows("attacks", 8, 10)["l0"]
    )


@pytest.mark.parametrize(("start", "stop"), [(2, 6), (0, 5), (4, 11), (8, 12)])
def test_rows_that_would_cut_across_shards_are_refused(make: Make, start: int, stop: int) -> None:
    with create_run(make(), SPEC, MANIFEST) as writer, pytest.raises(BadInput, match="cut across"):
        writer.write({("attacks", CELL): arrays_of(rows("attacks", start, stop))}, start)


def test_halves_of_a_shard_can_be_written_one_after_the_other(make: Make) -> None:
    path = make(done=0)
    with create_run(path, SPEC, MANIFEST) as writer:
        for a, b in ((0, 2), (2, 4)):
            writer.write({("attacks", CELL): arrays_of(rows("attacks", a, b))}, a)
        writer.write({("attacks", CELL): arrays_of(rows("attacks", 4, 10))}, 4)
    np.testing.assert_array_equal(open_run(path).attacks(CELL)["l2"], rows("attacks", 0, 10)["l2"])


def test_other_shapes_and_forgotten_variables_are_refused(make: Make) -> None:
    with create_run(make(), SPEC, MANIFEST) as writer:
        with pytest.raises(BadInput, match="is there with shape"):
            writer.prepare("attacks", CELL, rows("attacks", 0, 12), 4)
        with pytest.raises(BadInput, match="l2 missing"):
            writer.write({("attacks", CELL): arrays_of(rows("attacks", 0, 4).drop_vars("l2"))}, 0)
        with pytest.raises(BadInput, match="not prepared"):
            writer.write({("attacks", Cell("a", "b")): arrays_of(rows("attacks", 0, 4))}, 0)


def test_another_spec_is_refused_with_the_differences(make: Make) -> None:
    path = make()
    other = {**SPEC, "data": {"name": "cifar10", "inputs": 10}, "taps": ["stem"]}
    with pytest.raises(BadInput) as caught:
        create_run(path, other, MANIFEST)
    assert 'data.name: "digits" → "cifar10"' in str(caught.value)
    assert 'taps: null → ["stem"]' in str(caught.value)
    with pytest.raises(BadInput, match=r"hashes\.weights"):
        create_run(path, SPEC, {"hashes": {"weights": "cd"}})
    create_run(path, SPEC, MANIFEST).close()


def test_differences_are_found_at_any_depth() -> None:
    assert differences({"a": {"b": [1, 2]}, "c": 1}, {"a": {"b": [1, 3]}, "d": None, "c": 1}) == [
        "a.b: [1, 2] → [1, 3]"
    ]


def test_foreign_directories_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(Foreign, match=r"thesis\.txt"):
        create_run(tmp_path, SPEC, MANIFEST)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(Foreign, match="not an undertow run"):
        open_run(tmp_path)
    with pytest.raises(BadInput, match="no run at"):
        open_run(tmp_path / "nothing")
    with pytest.raises(Unavailable, match="cannot be a run's directory"):
        create_run(tmp_path / "thesis.txt", SPEC, MANIFEST)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable to root")
def test_an_unwritable_place_is_named(tmp_path: Path) -> None:  # pragma: no cover - as a user only
    tmp_path.chmod(0o500)
    with pytest.raises(Unavailable, match="cannot be written"):
        create_run(tmp_path / "run", SPEC, MANIFEST)


def test_a_newer_schema_is_refused_by_reader_and_writer(make: Make) -> None:
    path = make()
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))
    with pytest.raises(Foreign, match=r"newer undertow \(schema 99"):
        open_run(path)
    with pytest.raises(Foreign, match="schema 99"):
        create_run(path, SPEC, MANIFEST)
    (path / "manifest.json").write_text("{ torn")
    with pytest.raises(Foreign, match="damaged"):
        open_run(path)


def test_a_second_writer_is_refused_and_told_who_holds_the_run(tmp_path: Path) -> None:
    with create_run(tmp_path / "run", SPEC, MANIFEST):
        asked = f"create_run({str(tmp_path / 'run')!r}, {SPEC!r}, {{}})"
        code = f"from undertow.store import create_run; {asked}"
        other = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
        )
    assert other.returncode == 1
    assert f"being written by process {os.getpid()}" in other.stderr
    create_run(tmp_path / "run", SPEC, MANIFEST).close()


def test_every_start_is_noted_and_the_first_manifest_kept(make: Make) -> None:
    path = make()
    with create_run(path, SPEC, {**MANIFEST, "seed": 3, "late": True}) as writer:
        writer.update_manifest(seconds=12.5)
    manifest = open_run(path).manifest
    assert len(manifest["sessions"]) == 2
    assert manifest["seconds"] == 12.5
    assert "late" not in manifest


def test_an_exemplar_is_written_whole_and_replaced_whole(make: Make) -> None:
    path = make()
    data = exemplar(CELL, steps=3, size=8)
    with create_run(path, SPEC, MANIFEST) as writer:
        writer.exemplar(CELL, 17, exemplar(CELL, steps=5, size=8))
        writer.exemplar(CELL, 17, data)
        with pytest.raises(BadInput, match="images missing"):
            writer.exemplar(CELL, 18, data.drop_vars("images"))
    run = open_run(path)
    assert run.exemplars(CELL) == (17,)
    found = run.exemplar(CELL, 17).load()
    for name in data.variables:
        if data[name].dtype.kind not in "UO":
            np.testing.assert_array_equal(found[name], data[name], err_msg=str(name))
    assert found.attrs["classes"] == data.attrs["classes"]
    with pytest.raises(UnknownName, match="allowed: 17"):
        run.exemplar(CELL, 18)
    assert not list(path.rglob("*.partial"))


def test_an_unknown_cell_is_refused_with_the_ones_there_are(make: Make) -> None:
    with pytest.raises(UnknownName, match=CELL.name):
        open_run(make()).profiles(Cell("good_init", "jsmaa"))


def test_the_run_shows_itself_and_escapes_names(make: Make) -> None:
    html = open_run(make(cells=(Cell("<script>alert(1)</script>", "<b>"),)))._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_answers_are_kept(make: Make) -> None:
    path = make()
    with create_run(path, SPEC, MANIFEST) as writer:
        writer.answers(Answers())
    assert open_run(path).answers == Answers()
    (path / "answers.json").write_text('{"schema": 7}')
    with pytest.raises(Foreign, match="schema 7"):
        _ = open_run(path).answers


def test_links_that_lead_out_are_refused(make: Make, tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.write_bytes(b"x" * 64)
    path = make()
    array = path / "results.zarr" / "attacks" / CELL.slug / "l2"
    (array / "c.0").unlink()
    (array / "c.0").symlink_to(outside)
    with pytest.raises(Foreign, match="symbolic link"):
        open_run(path).attacks(CELL)["l2"].load()


@pytest.mark.parametrize("name", ["answers.json", "spec.yaml", "ledger.jsonl", "manifest.json"])
def test_files_that_are_links_out_are_refused(make: Make, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("{}")
    path = make()
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(tmp_path / "secret")
    with pytest.raises(Foreign, match="symbolic link"):
        _read_all(path)


def _read_all(path: Path) -> None:
    run = open_run(path)
    _ = run.spec, run.cells, run.answers


@pytest.mark.parametrize(
    "codec",
    [
        {"name": "numcodecs.pickle", "configuration": {}},
        {"name": "gzip", "configuration": {"level": 1}},
    ],
)
def test_arrays_stored_in_other_ways_are_not_read(make: Make, codec: dict[str, object]) -> None:
    path = make()
    file = path / "results.zarr" / "attacks" / CELL.slug / "l2" / "zarr.json"
    meta = json.loads(file.read_text())
    meta["codecs"] = [*meta["codecs"], codec]
    file.write_text(json.dumps(meta))
    with pytest.raises(Foreign, match="stored in a way"):
        open_run(path).attacks(CELL)


def test_datasets_are_read_lazily(make: Make) -> None:
    data = open_run(make()).profiles(CELL)
    assert not data["iip"].variable._in_memory
    assert isinstance(data.isel(sample=slice(0, 2))["iip"].load(), xr.DataArray)
