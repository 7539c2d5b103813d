"""The recipes of CONTRIBUTING.md as files of a stranger's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every code block of the page, each under the name in its first line."""
    folder = tmp_path_factory.mktemp("mine")
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, flags=re.DOTALL)
    for name, code in blocks:
        (folder / name).write_text(code, encoding="utf-8")
    assert len(blocks) == 8
    return folder
