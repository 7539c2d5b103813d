"""No public function raises anything raw, whatever it is given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from undertow.store import Run


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_nothing_raw(every: int, small_run: Run) -> None:
    script = Path(__file__).with_name("api.py")
    done = subprocess.run(
        [sys.executable, str(script), str(small_run.path), str(every)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["count"] >= 1000 // every
    assert told["raw"] == []
