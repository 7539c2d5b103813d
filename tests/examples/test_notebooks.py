"""The worked examples run from top to bottom, without a network, and say what their text says."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
FOLDER = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))

# The kernel is another process; what its libraries warn of is no fault of the examples.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Each notebook, executed once in a folder of its own."""
    kept: dict[str, tuple[Any, Path]] = {}

    def run(name: str) -> tuple[Any, Path]:
        if name not in kept:
            folder = tmp_path_factory.mktemp(name)
            book = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
            place = {"metadata": {"path": str(folder)}}
            client = nbclient.NotebookClient(
                book, timeout=300, kernel_name="python3", resources=place
            )
            client.execute(env={**os.environ, "PYTHONWARNINGS": "error::UserWarning:undertow"})
            kept[name] = book, folder
        return kept[name]

    return run


def _said(book: Any) -> str:
    return "\n".join(
        output.get("text") or (output.get("data") or {}).get("text/plain", "")
        for cell in book.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )


def _figures(book: Any) -> int:
    kind = "application/vnd.plotly.v1+json"
    return sum(
        kind in (output.get("data") or {}) for c in book.cells for output in c.get("outputs", ())
    )


def test_both_examples_are_there_and_carry_no_outputs() -> None:
    assert NAMES == ["own_model", "why_fooled"]
    for name in NAMES:
        book = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        nbformat.validate(book)
        code = [cell for cell in book.cells if cell.cell_type == "code"]
        assert code
        assert not any(cell.outputs or cell.execution_count for cell in code)


def test_your_own_network_is_measured_and_drawn(ran: Any) -> None:
    book, folder = ran("own_model")
    said = _said(book)
    accuracy = re.search(r"([\d.]+)% of the test images", said)
    assert accuracy
    assert float(accuracy[1]) > 85
    lost = re.findall(r"input \d: (taken over at layer \d|never taken over)", said)
    assert len(lost) == 4
    assert any("layer" in words for words in lost)
    assert _figures(book) == 3
    assert (folder / "streams.pdf").read_bytes().startswith(b"%PDF")


def test_a_run_is_made_read_drawn_and_exported(ran: Any) -> None:
    book, folder = ran("why_fooled")
    said = _said(book)
    assert len(re.findall(r"^q[12] (?:supported|inconclusive|contradicted): ", said, re.M)) >= 6
    assert _figures(book) == 5
    assert (folder / "profiles.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in (folder / "change.svg").read_text()
    assert (folder / "export" / "profiles.csv").is_file()
    assert (folder / "runs" / "why-fooled" / "report.html").stat().st_size < 5_000_000
