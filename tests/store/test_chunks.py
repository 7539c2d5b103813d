"""Files made here against those that zarr makes itself: two implementations, one test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from xarray.core import indexing
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import LocalStore

from undertow.store.chunks import (
    FILL,
    ArrayLayout,
    array_json,
    chunk_key,
    decode,
    encode,
    layout_of,
    put,
)  # fmt: skip
from undertow.store.lazy import ChunkedArray, by_zarr, read
from undertow.testing.runs import synthetic_run

SHAPES = [((10, 3), (4, 3)), ((7,), (7,)), ((5, 2, 3), (2, 2, 3)), ((), ()), ((4, 6), (4, 6))]


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<i8", "|u1", "|b1"])
@pytest.mark.parametrize(("shape", "chunks"), SHAPES)
def test_files_are_what_zarr_writes(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], chunks: tuple[int, ...]
) -> None:
    dims = tuple("abc"[: len(shape)])
    said = (("unit", "bit"),)
    values = np.asarray(np.random.default_rng(3).random(shape) * 200).astype(dtype)
    theirs = zarr.create_array(
        LocalStore(tmp_path / "zarr"), shape=shape, dtype=dtype, chunks=chunks,
        dimension_names=dims, fill_value=FILL[np.dtype(dtype).kind], attributes=dict(said),
        compressors=[ZstdCodec(level=3), Crc32cCodec()], config={"write_empty_chunks": True},
        chunk_key_encoding={"name": "default", "separator": "."},
    )  # fmt: skip
    theirs[...] = values

    layout = ArrayLayout(shape, dtype, chunks, dims, said)
    ours = tmp_path / "ours"
    ours.mkdir()
    put(ours / "zarr.json", array_json(layout))
    size = chunks[0] if chunks else 1
    for shard in range(-(-shape[0] // size) if shape else 1):
        part = values[shard * size :][:size] if shape else values
        put(ours / chunk_key(shard, len(shape)), encode(part, layout))

    names = sorted(p.name for p in (tmp_path / "zarr").iterdir())
    assert sorted(p.name for p in ours.iterdir()) == names
    for name in names:
        assert (ours / name).read_bytes() == (tmp_path / "zarr" / name).read_bytes(), name
    np.testing.assert_array_equal(zarr.open_array(LocalStore(ours), mode="r")[...], values)
    found = layout_of(ours / "zarr.json")
    assert found is not None
    assert found.fits(layout)
    assert found.dims == dims


def test_a_torn_metadata_file_has_no_layout(tmp_path: Path) -> None:
    file = tmp_path / "zarr.json"
    assert layout_of(file) is None
    for content in (b"", b"{", b"[]", b'{"shape": [2]}'):
        file.write_bytes(content)
        assert layout_of(file) is None


def _damaged(data: bytes, how: str) -> bytes:
    if how == "short":
        return data[:7]
    if how == "flipped":
        return bytes([data[0] ^ 1]) + data[1:]
    if how == "empty":
        return b""
    return encode(np.zeros(400, "<f4"), replace(LAYOUT, chunks=(400,)))


LAYOUT = ArrayLayout((40,), "<f4", (4,), ("sample",))


@pytest.mark.parametrize("how", ["short", "flipped", "empty", "too large"])
def test_a_damaged_chunk_is_refused(how: str) -> None:
    data = encode(np.arange(4, dtype="<f4"), LAYOUT)
    np.testing.assert_array_equal(decode(data, LAYOUT), np.arange(4))
    with pytest.raises(ValueError, match=r"checksum|hold a chunk"):
        decode(_damaged(data, how), LAYOUT)


KEYS = [3, -1, slice(None), slice(2, 9), slice(8, 1, -3), slice(5, 5), slice(None, None, -1)]


@pytest.mark.parametrize("rows", KEYS, ids=str)
def test_parts_are_read_as_zarr_reads_them(tmp_path: Path, rows: int | slice) -> None:
    """Whatever is asked for, from whole chunks, missing ones and the last, which is cut."""
    values = np.arange(30, dtype="<f8").reshape(10, 3)
    layout = ArrayLayout((10, 3), "<f8", (4, 3), ("sample", "tap"))
    put(tmp_path / "zarr.json", array_json(layout))
    for shard in (0, 2):
        put(tmp_path / chunk_key(shard, 2), encode(values[shard * 4 :][:4], layout))
    values[4:8] = np.nan
    theirs = zarr.open_array(LocalStore(tmp_path), mode="r")[...]
    np.testing.assert_array_equal(theirs, values)

    def content(file: Path) -> bytes | None:
        return file.read_bytes() if file.is_file() else None

    lazy = indexing.LazilyIndexedArray(ChunkedArray(tmp_path, layout, content))
    ours = xr.Variable(("sample", "tap"), lazy)
    np.testing.assert_array_equal(ours[rows].values, values[rows])
    np.testing.assert_array_equal(ours[rows, 1].values, values[rows, 1])
    np.testing.assert_array_equal(ours[rows][..., ::-1].values, values[rows][..., ::-1])
    np.testing.assert_array_equal(ours[:, [2, 0]].values, values[:, [2, 0]])


def test_groups_are_read_as_xarray_and_zarr_read_them(tmp_path: Path) -> None:
    run = synthetic_run(tmp_path / "run", samples=7, shard=3, models=("a",), finished=False)
    results = run.path / "results.zarr"
    for cell in run.cells:
        for group in ("profiles", "attacks", "class_information"):
            path = f"{group}/{cell.slug}"
            ours, theirs = read(results, path).load(), by_zarr(results, path).load()
            assert ours.attrs == theirs.attrs
            for name in theirs.variables:
                assert ours.variables[name].identical(theirs.variables[name]), f"{path}/{name}"
