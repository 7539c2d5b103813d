"""An uploaded picture, checked before anything is decoded."""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.errors import BadInput

__all__ = ["BYTES", "FORMATS", "PIXELS", "read_upload"]

BYTES: Final = 8 * 2**20
PIXELS: Final = 16_000_000
_ONE: Final = Lock()
"""One picture is decoded at a time: sixteen million pixels take some hundred megabytes."""
FORMATS: Final = ("PNG", "JPEG", "WEBP", "BMP")


def read_upload(contents: str, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """An image for a model: the middle square, averaged to the model's size, in [0, 1].

    Args:
        contents: a data address, as a browser sends it.
        shape: (channel, row, col) of the model's inputs; 1 or 3 channels.

    Raises:
        BadInput: for anything but an image of an allowed type, size and number of pixels.
    """
    head, comma, body = contents.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise BadInput("the upload is not a file that a browser sent")
    if len(body) > BYTES * 4 // 3 + 4:
        raise BadInput(f"the image has more than {BYTES // 2**20} MiB; choose a smaller one")
    with _ONE:
        return _fitted(_decoded(body), shape)


def _decoded(body: str) -> Any:
    """The picture in a data address.

    Raises:
        BadInput: as :func:`read_upload`.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        data = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput("the upload is damaged; choose the file again") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
            if picture.width * picture.height > PIXELS:
                raise BadInput(
                    f"the image has {picture.width} × {picture.height} pixels "
                    f"(allowed: {PIXELS // 10**6} million)"
                )
            picture.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadInput(
            f"the image has too many pixels (allowed: {PIXELS // 10**6} million)"
        ) from None
    except UnidentifiedImageError:
        raise BadInput(
            f"this is no image of a known type (allowed: {', '.join(FORMATS)})"
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput("the image is damaged; choose another") from None
    return picture


def _fitted(picture: object, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    from PIL import Image

    from undertow.data.pictures import upright

    assert isinstance(picture, Image.Image)
    channels, rows, cols = shape
    if channels not in (1, 3):
        raise BadInput(f"the model takes {channels} channels; a picture has 1 or 3")
    flat = upright(picture)[0].convert("RGB" if channels == 3 else "L")
    width, height = flat.size
    share = cols / rows
    wide, high = (width, width / share) if width / share <= height else (height * share, height)
    box = ((width - wide) / 2, (height - high) / 2, (width + wide) / 2, (height + high) / 2)
    kind = Image.Resampling.BOX if min(wide / cols, high / rows) >= 1 else Image.Resampling.BILINEAR
    small = np.asarray(flat.resize((cols, rows), kind, box=box), dtype=np.float32) / 255
    return np.ascontiguousarray(np.moveaxis(small, 2, 0) if channels == 3 else small[None])
