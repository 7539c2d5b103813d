"""No public function raises anything raw, whatever it is given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from undertow.store import Run


def test_nothing_raw(small_run: Run) -> None:
    script = Path(__file__).with_name("api.py")
    done = subprocess.run(
        [sys.executable, str(script), str(small_run.path)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["count"] >= 1000
    assert told["raw"] == []
