"""The benchmark runs, and its table and JSON say what they should."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments):
    command = [sys.executable, "-m", "benchmarks.attacks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_contest_is_run_and_told(tmp_path):
    file = tmp_path / "attacks.json"
    done = run(
        "driver", "--model", "digits_cnn", "--inputs", "3", "--repeats", "2", "--json", str(file)
    )
    assert done.returncode == 0, done.stderr
    assert "bare loop" in done.stdout
    found = json.loads(file.read_text())
    assert found["about"]["threads"] == 1
    ours, bare = found["contests"]["driver"]["rows"]
    # 40 steps forwards and backwards and one last look; a row each, and what craft asks uncounted.
    assert bare["forwards"] == 3 * 41
    assert ours["backwards"] == bare["backwards"] == 3 * 40
    assert ours["slower_than_ours"] == 1


@pytest.mark.slow
def test_an_unknown_contest():
    done = run("chess")
    assert done.returncode == 2
    assert "unknown contest 'chess' (allowed: jsma," in done.stderr
