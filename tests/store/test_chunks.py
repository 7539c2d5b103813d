"""Files made here against those that zarr makes itself: two implementations, one test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import LocalStore

from undertow.store.chunks import FILL, Layout, array_json, chunk_key, encode, layout_of, put

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

    layout = Layout(shape, dtype, chunks, dims, said)
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
