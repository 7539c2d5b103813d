"""How results show themselves in a notebook: tables in plain HTML, every word escaped."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from undertow.prose import prose

__all__ = ["Html", "picture", "sentence", "table"]


class Html(str):
    """A piece of HTML that is safe as it is; everything else is escaped."""

    __slots__ = ()


def _cell(value: object) -> str:
    if isinstance(value, Html):
        return value
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return sentence(f"{value:.4g}" if isinstance(value, float) else str(value))


def sentence(words: str) -> Html:
    """Words as people read them (:func:`undertow.prose.prose`), escaped."""
    return Html(escape(prose(words)))


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, note: str = ""
) -> Html:
    """A table with a title.

    Args:
        title: above it.
        columns: their heads.
        rows: words, numbers, or :class:`Html`.
        note: beneath it.
    """
    head = "".join(f"<th>{sentence(c)}</th>" for c in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>" for row in rows
    )
    below = f"<p><small>{sentence(note)}</small></p>" if note else ""
    return Html(
        f"<div><p><b>{sentence(title)}</b></p><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>{below}</div>"
    )


def picture(pixels: np.ndarray, side: int = 64) -> Html:
    """An image in place.

    Args:
        pixels: (channel, row, col) in [0, 1]; of more than three channels the first is shown.
        side: its height on the screen, in pixels.
    """
    from PIL import Image

    shown = pixels if pixels.shape[0] == 3 else np.repeat(pixels[:1], 3, axis=0)
    grid = (np.clip(np.moveaxis(shown, 0, 2), 0, 1) * 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grid).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return Html(
        f'<img alt="" height="{side}" style="image-rendering:pixelated" '
        f'src="data:image/png;base64,{data}">'
    )
