"""Kills, torn chunks, damaged ledgers, full disks."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from undertow.errors import Unavailable
from undertow.store import RunWriter, create_run, open_run

from .conftest import CELL, SPEC, fill, prepare, rows

Make = Callable[..., Path]
SAMPLES, SIZE = 96, 4
SCRIPT = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from pathlib import Path
from store.conftest import CELL, SPEC, fill, prepare
from undertow.store import create_run
from undertow.testing.runs import exemplar
with create_run(Path(sys.argv[1]), SPEC, {{"hashes": {{"weights": "ab"}}}}) as writer:
    print("open", flush=True)
    prepare(writer, CELL, {SAMPLES}, {SIZE})
    for shard in range({SAMPLES // SIZE}):
        if not writer.done(CELL, shard):
            writer.ledger.record(CELL, shard, "running")
            fill(writer, CELL, shard, {SAMPLES}, {SIZE})
    if not writer.done(CELL, "exemplar:1"):
        writer.exemplar(CELL, 1, exemplar(CELL, steps=2, size=4))
        writer.ledger.record(CELL, "exemplar:1", "done")
"""


def _kill_and_resume(path: Path, kills: int, seed: int) -> list[int]:
    """Kill the script at random moments, at last let it end; shards done at each kill."""
    draw, seen = random.Random(seed), []
    for _ in range(kills):
        with subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(path)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(draw.uniform(0, 0.6))
            os.kill(process.pid, signal.SIGKILL)
        run = open_run(path)
        seen.append(run.state(CELL).done if run.cells else 0)
        assert run.check() == ()
        if run.has("attacks", CELL):
            kept = run.attacks(CELL)
            done = kept["finished"].values
            np.testing.assert_array_equal(
                kept["l2"].values[done], rows("attacks", 0, SAMPLES)["l2"].values[done]
            )
    subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=120,
    )
    return seen


def _identical(one: Path, other: Path) -> None:
    a, b = open_run(one), open_run(other)
    assert a.cells == b.cells
    for read in ("profiles", "attacks", "class_information"):
        assert getattr(a, read)(CELL).drop_attrs().identical(getattr(b, read)(CELL).drop_attrs())
    assert a.exemplar(CELL, 1).identical(b.exemplar(CELL, 1))
    assert all(record.state == "done" for record in a.records.values())
    assert not list(one.rglob("*.partial"))


def _test_kills(tmp_path: Path, kills: int) -> None:
    seen = _kill_and_resume(tmp_path / "killed", kills, seed=kills)
    assert seen == sorted(seen), "a shard that was done is not undone"
    _kill_and_resume(tmp_path / "calm", 0, seed=0)
    _identical(tmp_path / "killed", tmp_path / "calm")


def test_a_run_killed_at_random_moments_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    _test_kills(tmp_path, kills=3)


@pytest.mark.slow
def test_a_run_killed_at_thirty_random_moments_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    _test_kills(tmp_path, kills=30)


def _damage(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(bytes(data))


@pytest.mark.parametrize("how", ["missing", "truncated", "empty", "flipped"])
def test_a_damaged_chunk_is_found_and_its_shard_done_again(make: Make, how: str) -> None:
    path = make()
    _damage(path / "results.zarr" / "class_information" / CELL.slug / "bits" / "c.1.0.0", how)
    (fault,) = open_run(path).check()
    assert (fault.cell, fault.shard) == (CELL, 1)
    assert "class_information" in fault.words
    with create_run(path, SPEC, {}) as writer:
        assert writer.repair() == [fault.words]
        assert [writer.done(CELL, s) for s in range(3)] == [True, False, True]
        fill(writer, CELL, 1, 10, 4)
    run = open_run(path)
    assert run.check() == ()
    np.testing.assert_array_equal(
        run.class_information(CELL)["bits"], rows("class_information", 0, 10)["bits"]
    )


def test_a_damaged_ledger_line_is_found_and_its_shard_done_again(make: Make) -> None:
    path = make()
    lines = (path / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"done"', b'"dome"')
    (path / "ledger.jsonl").write_bytes(b"".join(lines))
    run = open_run(path)
    (fault,) = run.check()
    assert fault.words == "ledger.jsonl, line 3 is damaged"
    assert run.state(CELL).done == 2
    with create_run(path, SPEC, {}) as writer:
        assert not writer.done(CELL, 1)


def test_damaged_answers_are_found(make: Make) -> None:
    path = make()
    (path / "answers.json").write_text('{"schema": 1, "questions": [{}]}')
    (fault,) = open_run(path).check()
    assert "answers.json cannot be read: questions.0.id" in fault.words


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or os.geteuid() != 0
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=1m", "undertow", place], check=False
        ).returncode
    ):
        pytest.skip("no leave to mount a small file system")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_said_and_nothing_done_is_lost(small_disk: Path) -> None:
    path, done = small_disk / "run", []

    def fill_up(writer: RunWriter) -> None:
        for shard in range(2000):
            fill(writer, CELL, shard, 4000, 2)
            done.append(shard)

    with create_run(path, SPEC, {}) as writer:
        prepare(writer, CELL, 4000, 2)
        with pytest.raises(Unavailable, match="is full"):
            fill_up(writer)
    run = open_run(path)
    assert run.state(CELL).done == len(done) > 0
    assert run.check() == ()
