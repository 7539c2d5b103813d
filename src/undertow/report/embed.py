"""What the page carries with it: plotly, packed; figures as pictures and as data."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from undertow.figures import FigureData
from undertow.figures.plotly_ink import bars, layout, plotly_script, traces
from undertow.figures.print_ink import pixels

__all__ = ["Plot", "packed_plotly", "packed_plots", "plot", "script_json"]

_WIDTH: Final = 1400  # pixels of the picture that stands in for a plot; 200 dots an inch in print
_COLORS: Final = 64


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure as the page holds it.

    Args:
        data: the figure.
        picture: it, drawn for print, as an address that holds its content.
        size: width and height of the picture.
        json: traces, and layouts for wide and narrow screens.
    """

    data: FigureData
    picture: str
    size: tuple[int, int]
    json: str


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


@cache
def packed_plotly() -> str:
    """plotly.js, compressed, as text: a third of its size."""
    return _packed(plotly_script().read_bytes())


def packed_plots(plots: Iterable[Plot]) -> str:
    """A list of every figure's JSON, compressed, as text: a quarter of its size."""
    return _packed(json.dumps([p.json for p in plots], ensure_ascii=False).encode())


def script_json(value: object) -> str:
    """JSON that can stand inside a script element whatever words it holds."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _picture(data: FigureData) -> tuple[str, tuple[int, int]]:
    from PIL import Image

    image = Image.fromarray(pixels(data, _WIDTH))
    small = image.quantize(_COLORS, method=Image.Quantize.FASTOCTREE).convert("RGB")
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", lossless=True, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode(), image.size


def _laid(data: FigureData, drawn: list[dict[str, Any]], columns: int | None) -> Mapping[str, Any]:
    laid = layout(data, columns)
    return {"layout": laid, "bars": {str(i): bar for i, bar in bars(drawn, laid).items()}}


def plot(data: FigureData) -> Plot:
    """Draw a figure for the page, once for the screen and once for print."""
    drawn = traces(data)
    picture, size = _picture(data)
    pictures = all(p.picture is not None for p in data.panels)
    narrow = 2 if pictures and data.columns > 1 else 1
    both = {"wide": _laid(data, drawn, None), "narrow": _laid(data, drawn, narrow)}
    content = {"traces": drawn, "panels": [p.title for p in data.panels], **both}
    return Plot(data, picture, size, script_json(content))
