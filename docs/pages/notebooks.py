"""Run the notebooks and store what they put out, so that the site and others can show it.

Usage: python docs/pages/notebooks.py [NAME ...]

Interactive figures are kept as the pictures that come with them: they show everywhere, and a
notebook stays small.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parents[1] / "notebooks"
INTERACTIVE = "application/vnd.plotly.v1+json"


def ran(path: Path, folder: Path) -> Any:
    """A notebook, run from top to bottom in a folder of its own; a cell that fails raises."""
    book = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(folder)}}
    client = NotebookClient(book, timeout=300, kernel_name="python3", resources=place)
    client.execute(env={**os.environ, "PYTHONWARNINGS": "error::UserWarning:undertow"})
    return book


def stored(book: Any) -> Any:
    """The same without what only a running notebook can show, and without times."""
    for cell in book.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
        for output in cell.outputs:
            output.get("data", {}).pop(INTERACTIVE, None)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    book.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return book


def main(names: list[str]) -> None:
    """Run and store some, or all."""
    for path in sorted(HERE.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        with TemporaryDirectory() as folder:
            book = stored(ran(path, Path(folder)))
        nbformat.validate(book)
        path.write_text(nbformat.writes(book) + "\n", encoding="utf-8")
        print(f"ran docs/notebooks/{path.name}")


if __name__ == "__main__":
    main(sys.argv[1:])
