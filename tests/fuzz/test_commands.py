"""Every option of every command with values of every wrong kind.

A call ends with exit code 0, or with 2, one clear message and nothing left behind. Commands that
would work for long get only what must be refused.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from undertow.cli import run as call
from undertow.cli.app import app
from undertow.store import Run

NUMBERS = ("abc", "", "1.5", "-1", "nan", "inf", "1e400", "9" * 30, "0x10", "１２", "--", "8/0")
NAMES = (
    "", " ", "nope", "nope.py:x", "os:nothing", "x" * 400, "../../etc/passwd", "/dev/null", "☃",
    "[1]", "a=b", "good_init:x", "zoo:", "cifar10:x", "digits:999999", "-",
)  # fmt: skip
PATHS = ("", "/dev/null/x", "x" * 300, "/proc/1/mem", "~stranger/x", "nowhere/at/all", ".", "a\tb")
SETTINGS = (
    "epsilon",
    "=1",
    "epsilon=",
    "epsilon=abc",
    "epsilon=nan",
    "nope=1",
    "steps=0",
    "steps=1.5",
)
WORDS = {
    "set_": SETTINGS,
    "mean": ("abc", "", "nan", "1,2", "0.5,", "inf,0,0", "1;2;3"),
    "std": ("abc", "0", "-1", "nan", "1,2", "0,0,0"),
    "epsilon": ("abc", "-1", "nan", "8/0", "2"),
}

LATE = 20
"""Seconds after which a call hangs."""
FEW = ("--inputs", "99999", "--quiet")  # more than there are: refused at the end of all checks
BASE: dict[str, tuple[str, ...]] = {
    "undertow attacks list": (),
    "undertow calibrate": ("--part", "zeros", "--estimator", "binned", "--quiet"),
    "undertow carriers": ("--model", "digits_cnn", "--data", "digits", "--attack", "fgsm", *FEW),
    "undertow data list": (),
    "undertow data fetch": ("digits", "--quiet"),
    "undertow doctor": (),
    "undertow explain": ("nowhere.png", "--model", "digits_cnn", "--quiet"),
    "undertow export": ("{run}", "--format", "csv", "--out", "export"),
    "undertow measure": ("--model", "digits_cnn", "--data", "digits", "--readers", "0", *FEW),
    "undertow models check": ("nowhere", "--quiet"),
    "undertow models list": (),
    "undertow plane": ("--data", "digits", "--quiet"),
    "undertow report": ("{run}",),
    "undertow runs answer": ("{run}",),
    "undertow runs check": ("{run}",),
    "undertow runs list": ("{run}",),
    "undertow runs merge": ("{run}", "--out", "merged"),
    "undertow runs show": ("{run}",),
    "undertow study": ("{study}", "--inputs", "2", "--quiet"),
    "undertow taps": ("digits_cnn",),
    "undertow trace": (
        "--model",
        "digits_cnn",
        "--data",
        "digits",
        "--attack",
        "fgsm",
        "--index",
        "99999",
        "--quiet",
    ),
    "undertow view": ("{run}/nowhere",),
    "undertow models train": ("nowhere",),
    "undertow models trim": ("nowhere",),
    "undertow models distill": ("nowhere",),
    "undertow models harden": ("nowhere",),
    "undertow models shield": ("nowhere",),
}
"""What a call begins with that would work, or be refused for one thing alone."""
STUDY = """
name: fuzz
models: [digits_cnn]
data: {name: digits, inputs: 2}
attacks: [{name: fgsm, control: false}]
readers: 0
exemplars: 0
cross_check: null
questions: []
"""


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            yield from _leaves(child, (*path, name))
    else:
        yield " ".join(path), command


COMMANDS = dict(_leaves(get_command(app), ("undertow",)))


def _values(parameter: Any) -> tuple[str, ...]:
    if parameter.name in WORDS:
        return WORDS[parameter.name]
    kind = str(parameter.type_descriptor.annotation)
    if "int" in kind or "float'" in kind:
        return NUMBERS
    if "Path" in kind or parameter.name in ("run", "out", "data_dir"):
        return PATHS
    return () if "bool" in kind else NAMES


def _calls(name: str) -> Iterator[list[str]]:
    """A call for each value of each option and argument, and some that are no calls at all."""
    path = name.split()[1:]
    base = list(BASE[name])
    yield [*path, *base, "--nope"]
    yield [*path, *base, "--nope=1"]
    yield [*path, *base, "one", "too", "many", "words"]
    places = 0
    for parameter in COMMANDS[name].params:
        for value in _values(parameter):
            if parameter.param_type_name == "argument":
                yield [*path, *base[:places], value, *base[places + 1 :]]
            else:
                yield [*path, *base, parameter.opts[0], value]
        places += parameter.param_type_name == "argument"


def _late(*_: object) -> None:
    raise TimeoutError(f"not done after {LATE} s")


def _there(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


def _fault(arguments: list[str], capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    before = _there(folder)
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(LATE)
    try:
        code = call(arguments)
    except BaseException as error:
        if type(error).__name__ == "TypeCheckError":  # users have no such checks: see api.py
            return ""
        return f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.alarm(0)
    said = capsys.readouterr()
    new = sorted(_there(folder) - before)
    if code == 2:
        lines = said.err.splitlines()
        if not 0 < len(lines) <= 2 or "Traceback" in said.err or len(said.err) > 2000:
            return f"{len(lines)} lines: {said.err[:300]}"
        return f"left behind: {new[:3]}" if new else ""
    for name in new:  # what worked, worked; the next call begins as this one did
        place = folder / name
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    return "" if code == 0 else f"exit code {code}: {said.err[:300]}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", sorted(BASE))
def test_a_command_with_any_value(
    name: str,
    every: int,
    small_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(small_run.path, tmp_path / "given")
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    named = {"{run}": str(tmp_path / "given"), "{study}": str(tmp_path / "study.yaml")}
    faults = []
    for arguments in list(_calls(name))[::every]:
        for word, path in named.items():
            arguments = [a.replace(word, path) for a in arguments]  # noqa: PLW2901
        if said := _fault(arguments, capsys, tmp_path / "here"):
            faults.append(([a[:60] for a in arguments], said))
    assert not faults, "\n".join(f"{' '.join(a)}\n    {said}" for a, said in faults)


def test_no_command_is_left_out() -> None:
    assert set(BASE) == set(COMMANDS)
    assert sum(len(list(_calls(name))) for name in BASE) >= 1500
