"""Picture files: one after the other, each read whole or left out with the reason."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from undertow.errors import BadInput

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ENDINGS", "Pictures", "read_picture", "read_pictures", "upright"]

ENDINGS: Final = (".png", ".jpg", ".jpeg")
PIXELS: Final = 4096 * 4096
"""The largest picture that is opened."""
BYTES: Final = 8 * 2**30
"""The largest set that is held in memory."""
_FULL: Final = {"I;16": 65535.0, "I;16B": 65535.0, "I;16L": 65535.0, "I": 65535.0}
"""Kinds of grey with more than eight bits, and their white."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """What was read of some files.

    Args:
        pixels: (row, col, 3) bytes each.
        kept: which of the files they are.
        left_out: the others, with the reason.
        see_through: those of them that were laid on white, by name.
    """

    pixels: list[np.ndarray] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    see_through: list[str] = field(default_factory=list)


def upright(picture: Image.Image) -> tuple[Image.Image, bool]:
    """A picture as a page shows it: turned as its camera says, and laid on white.

    More than eight bits of grey are rounded.

    Returns:
        The picture in RGB, and whether it was transparent anywhere.
    """
    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(picture)
    if picture.mode in _FULL:
        grey = np.asarray(picture, dtype=np.float64) / _FULL[picture.mode]
        byte = np.rint(grey.clip(0, 1) * 255).astype(np.uint8)
        return Image.fromarray(byte).convert("RGB"), False
    if not picture.has_transparency_data:
        return picture.convert("RGB"), False
    layer = picture.convert("RGBA")
    if layer.getchannel("A").getextrema()[0] == 255:
        return layer.convert("RGB"), False
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB"), True


def read_picture(path: Path) -> tuple[np.ndarray, bool]:
    """The picture of a file, (row, col, 3) bytes.

    Returns:
        The picture, :func:`upright`, and whether it was transparent anywhere.

    Raises:
        BadInput: if the file is empty, no PNG or JPEG that can be read, or too large.
    """
    from PIL import Image, PngImagePlugin

    if path.stat().st_size == 0:
        raise BadInput(f"{path} is empty")
    # Text and profiles in a PNG are read past, however long they are.
    PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, 64 * 2**20)
    try:
        with Image.open(io.BytesIO(path.read_bytes()), formats=["PNG", "JPEG"]) as picture:
            if picture.width * picture.height > PIXELS:
                raise BadInput(
                    f"{path} is {picture.width} x {picture.height} (allowed: {PIXELS:,} pixels)"
                )
            flat, see_through = upright(picture)
            return np.asarray(flat), see_through
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{path} is not a picture that can be read: {error}") from None


def read_pictures(
    files: Sequence[Path], size: tuple[int, int] | None, advance: Callable[..., object]
) -> Pictures:
    """All of some files that can be read, of one size.

    Args:
        files: in the order wanted.
        size: (row, col) to which pictures of another size are brought; ``None``: all must agree.
        advance: called after each.

    Raises:
        BadInput: if sizes differ and none was asked for, or the set is too large.
    """
    found, total = Pictures(), 0
    for number, path in enumerate(files):
        try:
            pixels, see_through = read_picture(path)
        except BadInput as problem:
            found.left_out.append(str(problem))
            advance()
            continue
        if size is not None and pixels.shape[:2] != size:
            pixels = _brought_to(pixels, size)
        if found.pixels and pixels.shape != found.pixels[0].shape:
            first, this = found.pixels[0].shape[:2], pixels.shape[:2]
            raise BadInput(
                f"{path} is {this[0]} x {this[1]}, {files[found.kept[0]]} is "
                f"{first[0]} x {first[1]} (allowed: pictures of one size; --size 224, say, brings "
                "the middle of each to that)"
            )
        total += pixels.nbytes
        if total > BYTES:
            raise BadInput(f"the pictures need more than {BYTES // 2**30} GiB")
        found.pixels.append(pixels)
        found.kept.append(number)
        if see_through:
            found.see_through.append(path.name)
        advance()
    return found


def _brought_to(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The middle of a picture in the asked shape, at the asked size."""
    from PIL import Image

    rows, cols = pixels.shape[:2]
    scale = min(rows / size[0], cols / size[1])
    high, wide = size[0] * scale, size[1] * scale
    top, left = (rows - high) / 2, (cols - wide) / 2
    picture = Image.fromarray(pixels).resize(
        (size[1], size[0]), Image.Resampling.BICUBIC, box=(left, top, left + wide, top + high)
    )
    return np.asarray(picture)
