"""``doctor``, ``-v``, ``--log``, and completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from undertow import __version__
from undertow.cli import health


def test_it_says_what_is_here_and_how_to_get_the_rest(
    undertow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UNDERTOW_CACHE", str(tmp_path / "cache"))
    real = health.find_spec
    monkeypatch.setattr(health, "find_spec", lambda name: None if name == "dash" else real(name))
    said = undertow("doctor", "--json")
    assert said.code == 0
    found = {one["what"]: one for one in json.loads(said.out)}
    assert found["undertow"]["found"] == __version__
    assert found["torch"]["found"] == torch.__version__
    assert found["weights"]["found"] == "11 of 11 models"
    assert found["extra viewer"] == {
        "what": "extra viewer", "state": "absent", "found": "without dash",
        "get": "pip install 'undertow[viewer]'",
    }  # fmt: skip
    assert found["data cifar10"]["get"] == "undertow data fetch cifar10"
    assert "undertow data fetch cifar10" in undertow("doctor").out


def test_what_is_needed_and_missing_is_exit_code_1(
    undertow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "NEEDED", (*health.NEEDED, "nothing-of-that-name"))
    said = undertow("doctor")
    assert said.code == 1
    assert "pip install nothing-of-that-name" in said.out


def test_the_log_has_what_happened_and_the_traceback(undertow, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    said = undertow("--log", log, "explain", tmp_path / "nowhere.png")
    assert said.code == 2
    assert said.err.count("\n") == 1
    told = log.read_text()
    assert f"undertow {__version__}" in told
    assert "BadInput: there is no picture" in told
    assert "exit code 2" in told
    few = ("--data", "digits", "--inputs", "2", "--readers", "0", "--out", tmp_path / "run")
    assert undertow("--log", log, "measure", "--model", "digits_cnn", *few).code == 0
    assert "Measuring" in log.read_text()


def test_verbose_shows_the_traceback_and_the_line_all_the_same(undertow, tmp_path: Path) -> None:
    said = undertow("-v", "explain", tmp_path / "nowhere.png")
    assert said.code == 2
    assert "Traceback" in said.err
    assert "\nundertow: there is no picture" in said.err
    quiet = undertow("explain", tmp_path / "nowhere.png")
    assert "Traceback" not in quiet.err


def test_a_log_that_cannot_be_written_is_told(undertow, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "no" / "log.txt"):
        said = undertow("--log", place, "taps", "digits_cnn")
        assert said.code == 2
        assert f"--log {place}: " in said.err
        assert said.err.count("\n") == 1


def test_tab_completes_commands() -> None:
    asked = {"_UNDERTOW_COMPLETE": "complete_bash", "COMP_WORDS": "undertow mod", "COMP_CWORD": "1"}
    line = "import sys; sys.argv = ['undertow']; from undertow.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", line],
        env={**os.environ, **asked}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.split() == ["models"]
    assert done.stderr == ""
