"""Files of zarr arrays, made without zarr's event loop: some twenty times faster for small arrays.

A shard of a cell is about forty small files. Their metadata come from zarr itself, once for each
kind of array; their chunks are what zarr would have written, byte for byte (tested).
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import google_crc32c
import numpy as np
import zarr
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from undertow.store.files import PARTIAL

__all__ = [
    "FILL", "ArrayLayout", "array_json", "chunk_key", "decode", "encode", "group_json", "layout_of",
    "own_layout", "put",
]  # fmt: skip

FILL: Final[Mapping[str, Any]] = {"f": np.nan, "i": -1, "u": 0, "b": False}
"""What an array of each kind holds where nothing was written."""
_LEVEL: Final = 3
_ZSTD: Final = Zstd(level=_LEVEL)
_NUMBERS: Final = itertools.count()
"""Of files being written; one process at a time writes a run."""


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """How an array lies on the disk.

    Args:
        shape: its sizes.
        dtype: the kind of number, as numpy writes it (``<f4``).
        chunks: sizes of a chunk; only the first axis is split.
        dims: names of the axes.
        said: attributes, in words.
    """

    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...]
    dims: tuple[str, ...]
    said: tuple[tuple[str, str], ...] = ()

    @property
    def split(self) -> bool:
        """Whether its rows are inputs, written shard by shard."""
        return self.dims[:1] == ("sample",)

    def fits(self, other: ArrayLayout) -> bool:
        """Whether values of the other could lie where this one does."""
        mine, its = (self.shape, self.dtype, self.chunks), (other.shape, other.dtype, other.chunks)
        return mine == its


@lru_cache(maxsize=4096)
def array_json(layout: ArrayLayout) -> bytes:
    """The metadata of an array, as zarr makes them."""
    array = zarr.create_array(
        MemoryStore(),
        shape=layout.shape,
        dtype=np.dtype(layout.dtype),
        chunks=layout.chunks,
        dimension_names=layout.dims,
        fill_value=FILL[np.dtype(layout.dtype).kind],
        chunk_key_encoding={"name": "default", "separator": "."},
        compressors=[ZstdCodec(level=_LEVEL), Crc32cCodec()],
        attributes=dict(layout.said),
    )
    files = array.metadata.to_buffer_dict(default_buffer_prototype())
    content: bytes = files["zarr.json"].to_bytes()
    return content


def group_json(attributes: Mapping[str, Any]) -> bytes:
    """The metadata of a group."""
    meta = {"attributes": dict(attributes), "zarr_format": 3, "node_type": "group"}
    return json.dumps(meta, indent=2, allow_nan=False).encode()


def layout_of(file: Path) -> ArrayLayout | None:
    """The layout that an array's ``zarr.json`` tells; ``None`` where it is absent or torn."""
    try:
        meta = json.loads(file.read_bytes())
        return ArrayLayout(
            shape=tuple(meta["shape"]),
            dtype=np.dtype(meta["data_type"]).newbyteorder("<").str,
            chunks=tuple(meta["chunk_grid"]["configuration"]["chunk_shape"]),
            dims=tuple(meta.get("dimension_names") or ()),  # a number alone has none
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def own_layout(meta: Mapping[str, Any]) -> ArrayLayout | None:
    """The layout of an array that lies exactly as this module writes it; ``None`` for others."""
    try:
        dims, shape = tuple(meta.get("dimension_names") or ()), tuple(meta["shape"])
        said = tuple((meta.get("attributes") or {}).items())
        chunks = tuple(meta["chunk_grid"]["configuration"]["chunk_shape"])
        dtype = np.dtype(meta["data_type"]).newbyteorder("<").str
        layout = ArrayLayout(shape, dtype, chunks, dims, said)
        wanted = json.loads(array_json(layout))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return layout if wanted == meta and len(dims) == len(shape) else None


def encode(values: NDArray[Any], layout: ArrayLayout) -> bytes:
    """One chunk: the values, filled up to a whole chunk, compressed, with their checksum."""
    dtype = np.dtype(layout.dtype)
    if values.shape != layout.chunks:
        whole = np.full(layout.chunks, FILL[dtype.kind], dtype)
        whole[: len(values)] = values
        values = whole
    packed: bytes = _ZSTD.encode(np.ascontiguousarray(values, dtype=dtype))
    checksum: int = google_crc32c.value(packed)
    return packed + checksum.to_bytes(4, "little")


def decode(data: bytes, layout: ArrayLayout) -> NDArray[Any]:
    """The values of one whole chunk.

    Raises:
        ValueError: if it is torn, was changed, or holds more or less than a chunk.
    """
    packed, checksum = data[:-4], data[-4:]
    if google_crc32c.value(packed).to_bytes(4, "little") != checksum:
        raise ValueError("its checksum is another")
    values: NDArray[Any] = np.empty(layout.chunks, np.dtype(layout.dtype))
    try:  # into room of the right size: what would unpack to more is refused
        _ZSTD.decode(packed, out=values.reshape(-1).view(np.uint8))
    except (RuntimeError, ValueError) as error:
        raise ValueError("it does not hold a chunk") from error
    return values


_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def chunk_key(shard: int, ndim: int) -> str:
    """The name of a chunk's file: shard 3 of an array with two axes is ``c.3.0``."""
    return ".".join(["c", *([str(shard)] if ndim else []), *["0"] * (ndim - 1)])


def put(path: Path, data: bytes) -> None:
    """Write a file beside its place and move it there; whoever calls sees to the disk's cache."""
    partial = f"{path}.{os.getpid()}-{next(_NUMBERS)}{PARTIAL}"
    try:
        handle = os.open(partial, _NEW, 0o644)
        try:
            if os.write(handle, data) != len(data):
                raise OSError(28, "No space left on device", str(path))
        finally:
            os.close(handle)
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
