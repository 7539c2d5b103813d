"""Every file of a run, and every chunk: removed, cut short or with one bit turned, it is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from undertow.cli import run as run_command
from undertow.errors import UndertowError
from undertow.store import open_run
from undertow.store.digests import seal, sealed
from undertow.studies.asked.spec import StudySpec, load_spec
from undertow.studies.run import study
from undertow.testing.runs import same_results

SPEC = {
    "name": "small", "models": ["digits_cnn"], "data": {"name": "digits", "inputs": 4},
    "attacks": [{"name": "fgsm", "settings": {"epsilon": 0.2}, "control": ["noise"]}],
    "readers": 100, "exemplars": 1, "shard": 2, "questions": [], "taps": ["blocks.1"],
}  # fmt: skip
DERIVED = (".lock", "report.html")
"""Files that are no part of what a run holds."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    run = study(StudySpec(**SPEC), out=out)  # type: ignore[arg-type]
    assert run.check() == ()
    return out


def _files(run: Path) -> list[Path]:
    found = sorted(p.relative_to(run) for p in run.rglob("*") if p.is_file())
    return [p for p in found if p.name not in DERIVED]


def _damages(file: Path) -> Iterator[tuple[str, bytes | None]]:
    data = file.read_bytes()
    yield "removed", None
    yield "cut short", data[: len(data) // 2]
    middle = len(data) // 2
    yield "one bit turned", data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _told(run: Path) -> str:
    """What the check says; of a run that cannot be opened why."""
    try:
        return "; ".join(fault.words for fault in open_run(run).check())
    except UndertowError as problem:
        return str(problem)


def _unseen(whole: Path, run: Path, chosen: list[tuple[Path, str]]) -> list[tuple[str, str]]:
    """Damages that the check does not see; each is taken back after it."""
    shutil.copytree(whole, run)
    found = []
    for file, kind in chosen:
        place = run / file
        before, data = place.read_bytes(), dict(_damages(place))[kind]
        if data is None:
            place.unlink()
        else:
            place.write_bytes(data)
        if not _told(run):
            found.append((str(file), kind))
        place.write_bytes(before)
    assert _told(run) == ""
    return found


KINDS = ("removed", "cut short", "one bit turned")


def test_damage_to_any_file_is_found(whole: Path, tmp_path: Path) -> None:
    """The run's own files and those above inputs in every way; of others few, in one of them."""
    files = _files(whole)
    assert len(files) > 100
    own = [(f, kind) for f in files if len(f.parts) < 2 for kind in KINDS]
    own += [(f, kind) for f in files if f.match("exemplars/*/zarr.json") for kind in KINDS]
    some = [(f, KINDS[k % 3]) for k, f in enumerate(f for f in files if len(f.parts) > 1)][::100]
    assert _unseen(whole, tmp_path / "run", own + some) == []


@pytest.mark.slow
def test_damage_to_every_file_is_found_in_every_way(whole: Path, tmp_path: Path) -> None:
    chosen = [(file, kind) for file in _files(whole) for kind in KINDS]
    assert _unseen(whole, tmp_path / "run", chosen) == []


def _next(chunk: Path) -> Path:
    """The chunk of the shard after."""
    return chunk.parent / chunk.name.replace("c.0", "c.1", 1)


def test_lost_folders_and_swapped_files_are_found(whole: Path, tmp_path: Path) -> None:
    """Whole arrays, groups, cells; and a chunk that is whole, but another's."""
    run, aside = tmp_path / "run", tmp_path / "aside"
    shutil.copytree(whole, run)
    groups = [p for p in sorted((run / "results.zarr").iterdir()) if p.is_dir()]
    cells = [p for group in groups for p in sorted(group.iterdir()) if p.is_dir()]
    arrays = [p for cell in cells[::9] for p in sorted(cell.iterdir())[:2] if p.is_dir()]
    for folder in [run / "results.zarr", *groups[::2], *cells[::7], *arrays]:
        folder.rename(aside)
        assert _told(run), folder
        aside.rename(folder)
    assert _told(run) == ""
    chunks = [p for p in run.rglob("c.0*") if _next(p).is_file()]
    swapped = 0
    for chunk in chunks[:40:8]:
        other = _next(chunk)
        one, two = chunk.read_bytes(), other.read_bytes()
        if one == two:
            continue
        chunk.write_bytes(two)
        other.write_bytes(one)
        assert _told(run), chunk
        chunk.write_bytes(one)
        other.write_bytes(two)
        swapped += 1
    assert swapped > 2


def test_damage_is_mended_by_the_same_study(whole: Path, tmp_path: Path) -> None:
    """After ``check --repair`` the same call ends in the same results."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    results = run / "results.zarr"
    cell = next(
        p for p in sorted((results / "profiles").iterdir()) if p.is_dir() and "benign" in p.name
    )
    shutil.rmtree(cell / "iip")
    other = next(
        p for p in sorted((results / "attacks").iterdir()) if p.is_dir() and "noise" in p.name
    )
    chunk = next(p for p in sorted((other / "l2").iterdir()) if p.name.startswith("c."))
    chunk.write_bytes(b"x" * chunk.stat().st_size)
    shutil.rmtree(results / "class_information" / other.name)
    shutil.rmtree(results / "exemplars")
    (run / "answers.json").unlink()
    assert run_command(["runs", "check", str(run), "--repair"]) == 0
    spec = tmp_path / "study.yaml"
    shutil.copy(run / "spec.yaml", spec)
    study(load_spec(spec), out=run)
    assert open_run(run).check() == ()
    same_results(open_run(run), open_run(whole))
    assert open_run(run).answers == open_run(whole).answers


def test_a_manifest_knows_itself() -> None:
    told = {"a": 1, "b": [1, 2, {"c": 0.1}]}
    assert sealed(seal(told))
    assert sealed(told)  # of an older undertow, without a checksum
    assert seal(seal(told)) == seal(told)
    assert not sealed({**seal(told), "a": 2})
    assert not sealed(json.loads(json.dumps(seal(told)).replace("0.1", "0.2")))


def test_a_ledger_that_lost_whole_lines_is_found(whole: Path, tmp_path: Path) -> None:
    """Each line has its checksum; that some are gone, only their number tells."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    lines = (run / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (run / "ledger.jsonl").write_bytes(b"".join(lines[:-1]))
    assert "has lost 1 of" in _told(run)
    (run / "ledger.jsonl").write_bytes(b"".join([*lines[:3], *lines[4:]]))
    assert "has lost 1 of" in _told(run)


@pytest.mark.parametrize(
    "command",
    [("report", "{run}"), ("export", "{run}"), ("runs", "answer", "{run}"),
     ("study", "{spec}", "--out", "{run}")],
)  # fmt: skip
def test_who_meets_a_damaged_chunk_says_which_and_what_mends_it(
    command: tuple[str, ...], whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, spec = tmp_path / "run", tmp_path / "study.yaml"
    shutil.copytree(whole, run)
    shutil.copy(run / "spec.yaml", spec)
    chunk = next(p for p in sorted(run.rglob("oip/c.*")) if "benign" in str(p))
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(bytes(data))
    assert run_command([word.format(run=run, spec=spec) for word in command]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in said if line.startswith("undertow:")]) == 1
    assert str(chunk) in said[-1]
    assert f"undertow runs check --repair '{run}'" in said[-1]
