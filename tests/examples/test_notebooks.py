"""The notebooks run from top to bottom, without a network, and say what their text says."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
SVG = "image/svg+xml"

# The kernel is another process; what its libraries warn of is no fault of the examples.
pytestmark = pytest.mark.filterwarnings("default")


def _said(book: Any) -> str:
    return "\n".join(
        output.get("text") or (output.get("data") or {}).get("text/plain", "")
        for cell in book.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )


def _figures(book: Any) -> int:
    return sum(
        SVG in (output.get("data") or {}) for c in book.cells for output in c.get("outputs", ())
    )


def _own_model(said: str, folder: Path) -> None:
    accuracy = re.search(r"([\d.]+)% of the test images", said)
    assert accuracy
    assert float(accuracy[1]) > 85
    lost = re.findall(r"input \d: (taken over at layer \d|never taken over)", said)
    assert len(lost) == 4
    assert any("layer" in words for words in lost)
    assert re.search(r"^q1 (?:supported|inconclusive|contradicted): ", said, re.M)
    assert (folder / "streams.pdf").read_bytes().startswith(b"%PDF")
    assert (folder / "export" / "profiles.csv").is_file()


def _why_misclassified(said: str, folder: Path) -> None:
    assert re.search(r"'1 \d+\s%, but it is: 8 \d+\s%", said)
    assert re.search(r"'5 \d+\s% → 3 \d+\s% after \d steps of IGSM", said)
    assert "report.html" in said


def _real_defence(said: str, folder: Path) -> None:
    """Masked gradients fool nobody, what is made for the defence does; so does a detector fall."""
    assert "fooled: 0% {'gradients vanished'" in said
    assert float(re.findall(r"^fooled: (\d+)%", said, re.M)[-1]) > 90
    regular, adaptive, orthogonal = (
        int(re.search(rf"^{words}: fooled (\d+)%", said, re.M)[1])  # type: ignore[index]
        for words in ("attack that knows nothing of it", "through it", "orthogonal")
    )
    assert regular < 20
    assert min(adaptive, orthogonal) > 90


CHECKS = {
    "own_model": _own_model,
    "real_defence": _real_defence,
    "why_misclassified": _why_misclassified,
}


def test_each_is_checked_and_stored_with_what_it_puts_out(tmp_path: Path) -> None:
    assert set(NAMES) == set(CHECKS)
    for name in NAMES:
        book = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        nbformat.validate(book)
        said = _said(book)
        assert "Traceback" not in said
        assert (_figures(book) >= 4) == (name != "real_defence")
        assert all(c.execution_count for c in book.cells if c.cell_type == "code")
        assert (FOLDER / f"{name}.ipynb").stat().st_size < 600_000


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_says_so(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER.parent))
    sys.modules.pop("pages", None)
    from pages.notebooks import ran  # type: ignore[import-not-found]

    CHECKS[name](_said(ran(FOLDER / f"{name}.ipynb", tmp_path)), tmp_path)
