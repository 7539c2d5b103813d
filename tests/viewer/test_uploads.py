from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from undertow.errors import BadInput
from undertow.viewer.uploads import BYTES, read_upload


def address(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def encoded(picture: Image.Image, kind: str = "PNG") -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return address(buffer.getvalue())


def test_one_colour_stays_that_colour() -> None:
    found = read_upload(encoded(Image.new("RGB", (100, 60), (255, 51, 0))), (3, 32, 32))
    assert found.shape == (3, 32, 32)
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found.reshape(3, -1).T, np.tile([1.0, 0.2, 0.0], (1024, 1)), atol=1e-6
    )


def test_the_middle_is_taken_and_averaged() -> None:
    pixels = np.zeros((8, 24), np.uint8)
    pixels[:, 8:12] = 200  # the left half of the middle square
    found = read_upload(encoded(Image.fromarray(pixels)), (1, 4, 4))
    np.testing.assert_allclose(found[0, :, :2], 200 / 255, atol=1e-6)
    np.testing.assert_allclose(found[0, :, 2:], 0, atol=1e-6)


def test_transparent_parts_become_white() -> None:
    found = read_upload(encoded(Image.new("RGBA", (16, 16), (0, 0, 0, 0))), (3, 8, 8))
    np.testing.assert_allclose(found, 1.0)


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    found = read_upload(encoded(Image.fromarray(pixels)), (3, 32, 32))
    np.testing.assert_array_equal(np.rint(255 * np.moveaxis(found, 0, 2)).astype(np.uint8), pixels)


def bomb(side: int) -> bytes:
    """A small file that claims side × side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(side + 1) * 64)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [4100, 20_000, 60_000])
def test_decompression_bombs_are_not_opened(side: int) -> None:
    data = bomb(side)
    assert len(data) < 100_000
    with pytest.raises(BadInput, match="pixels"):
        read_upload(address(data), (3, 32, 32))


def test_large_files_are_not_decoded() -> None:
    with pytest.raises(BadInput, match="8 MiB"):
        read_upload(address(bytes(BYTES + 10)), (3, 32, 32))


@pytest.mark.parametrize(
    "contents",
    [
        "",
        "x",
        "data:image/png;base64,!!!",
        "data:image/png;base64,",
        address(b"GIF89a not really"),
        address(b"<svg xmlns='x'><script>alert(1)</script></svg>", "image/svg+xml"),
        address(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"),
        "file:///etc/passwd",
    ],
)
def test_what_is_no_picture_is_refused(contents: str) -> None:
    with pytest.raises(BadInput):
        read_upload(contents, (3, 32, 32))


def test_other_types_that_pillow_knows_are_refused() -> None:
    for kind in ("GIF", "TIFF", "PPM", "ICO"):
        with pytest.raises(BadInput, match="allowed: PNG, JPEG, WEBP, BMP"):
            read_upload(encoded(Image.new("RGB", (16, 16)), kind), (3, 32, 32))


def test_a_torn_file_is_refused() -> None:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    with pytest.raises(BadInput, match="damaged"):
        read_upload(address(buffer.getvalue()[:-2000]), (3, 32, 32))
