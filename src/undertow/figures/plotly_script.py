"""The script that draws figures in a browser, as a file that needs no network."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

__all__ = ["plotly_script"]

_PART: Final = Path(__file__).parent / "vendor" / "plotly-cartesian.min.js"


def plotly_script() -> Path:
    """The part of plotly.js that the figures need, else the whole of it."""
    whole = Path(str(files("plotly"))) / "package_data" / "plotly.min.js"
    return _PART if _PART.is_file() else whole
