"""A stranger's run is data: nothing outside it is read, written or waited for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from undertow.cli import run as run_command
from undertow.errors import BadInput, Foreign
from undertow.store import open_run
from undertow.store.files import Lock, only_plain
from undertow.store.ledger import Ledger
from undertow.store.plain_yaml import read_yaml
from undertow.studies.asked.spec import StudySpec

Call = Callable[..., tuple[int, str]]
SPEC = {
    "name": "small", "models": ["digits_cnn"], "data": {"name": "digits", "inputs": 4},
    "attacks": [{"name": "fgsm", "settings": {"epsilon": 0.2}}], "readers": 0, "exemplars": 1,
    "shard": 2, "questions": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from undertow.studies.run import study

    out = tmp_path_factory.mktemp("whole") / "run"
    study(StudySpec(**SPEC), out=out)  # type: ignore[arg-type]
    return out


def _entries(run: Path) -> list[str]:
    """One entry of each kind: files of the run, a group, an array, a chunk."""
    found = [".lock", "ledger.jsonl", "manifest.json", "spec.yaml", "answers.json", "results.zarr"]
    deep = sorted(p.relative_to(run) for p in (run / "results.zarr").rglob("*"))
    chunk = next(p for p in deep if p.name.startswith("c."))
    return [*found, str(chunk), str(chunk.parent), str(chunk.parents[1]), "results.zarr/zarr.json"]


COMMANDS = (
    ("runs", "check", "{run}"),
    ("runs", "check", "{run}", "--repair"),
    ("runs", "show", "{run}"),
    ("runs", "answer", "{run}"),
    ("report", "{run}"),
    ("export", "{run}"),
    ("study", "{spec}", "--out", "{run}"),
)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def called(command: tuple[str, ...], **places: Path) -> tuple[int, str]:
        code = run_command([word.format(**places) for word in command])
        return code, capsys.readouterr().err

    return called


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "outside folder"])
def test_no_command_follows_a_link_or_waits_for_a_pipe(
    kind: str, whole: Path, tmp_path: Path, call: Call
) -> None:
    """Each entry of a run in turn; what it leads to stays as it was, and is not read."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret\n")
    spec = tmp_path / "study.yaml"
    shutil.copy(whole / "spec.yaml", spec)
    for entry in _entries(whole):
        run = tmp_path / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(whole, run)
        place = run / entry
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        if kind == "pipe":
            os.mkfifo(place)
        else:
            goal = {"link": outside / "secret", "dangling": outside / "new"}.get(kind, outside)
            place.symlink_to(goal)
        few = COMMANDS if kind == "link" else COMMANDS[1::5]  # those that write
        for command in few:
            code, said = call(command, run=run, spec=spec)
            assert code == 2, (entry, command, said)
            assert "a run holds plain files and folders only" in said, (entry, command, said)
        assert (outside / "secret").read_text() == "secret\n"
        assert sorted(p.name for p in outside.iterdir()) == ["secret"]


def test_a_lock_or_ledger_that_has_another_name_elsewhere_is_left_alone(tmp_path: Path) -> None:
    """A hard link is a plain file; written in place, what it shares would change."""
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    for name in (".lock", "ledger.jsonl"):
        folder = tmp_path / name.strip(".")
        folder.mkdir()
        os.link(secret, folder / name)
        with pytest.raises(Foreign, match="nothing was changed"):
            Lock(folder / name) if name == ".lock" else Ledger(folder / name)
        assert secret.read_text() == "secret\n"


def test_a_run_that_is_reached_through_a_link_of_ones_own_is_read(
    whole: Path, tmp_path: Path
) -> None:
    """The link is the user's, outside the run."""
    (tmp_path / "latest").symlink_to(whole)
    assert open_run(tmp_path / "latest").missing == ()
    only_plain(whole)


BAD_YAML = {
    "bomb": "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 10)
    ),
    "depth": "name: " + "[" * 5000 + "]" * 5000,
    "recursive": "name: &a [*a]\n",
    "twice": "name: one\nattacks: []\nname: two\n",
    "NUL": "name: x\0y\n",
    "no mapping": "- 1\n- 2\n",
    "tags": "name: !!python/object/apply:os.system [id]\n",
    "large": "name: " + "x" * 2**20,
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_YAML)
def test_a_study_file_is_plain_data(kind: str, tmp_path: Path, call: Call) -> None:
    with pytest.raises(BadInput) as told:
        read_yaml(BAD_YAML[kind], "study.yaml")
    assert str(told.value).startswith("study.yaml")
    assert len(str(told.value)) < 300
    file = tmp_path / "study.yaml"
    file.write_text(BAD_YAML[kind])
    code, said = call(("study", "{file}", "--out", "{run}"), file=file, run=tmp_path / "run")
    assert code == 2
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_aliases_and_merges_that_stay_small_are_read() -> None:
    text = "base: &b {x: 1, y: 2}\none: {<<: *b, y: 3}\ntwo: *b\n"
    found, _ = read_yaml(text, "study.yaml")
    assert found == {"base": {"x": 1, "y": 2}, "one": {"x": 1, "y": 3}, "two": {"x": 1, "y": 2}}


@pytest.mark.parametrize("name", ["/abs", "../../x", "a/b", "a\\b", "", ".hidden", "x\n", "a\0b"])
def test_a_studys_name_is_one_folder(name: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        StudySpec(name=name, attacks=())


def test_hostile_commands_end_soon(whole: Path, tmp_path: Path) -> None:
    """In a process of its own, which a pipe would hang."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / "ledger.jsonl").unlink()
    os.mkfifo(run / "ledger.jsonl")
    done = subprocess.run(
        [sys.executable, "-m", "undertow", "runs", "check", str(run)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
