"""Datasets in zarr groups: made once, written region by region, read lazily.

Chunks along ``sample`` are shards, so a shard touches only files of its own; each file is written
beside its place and then moved there, and carries a checksum.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
import zarr
from zarr.abc.store import ByteRequest
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from undertow.errors import BadInput, Foreign
from undertow.store.files import flush, inside
from undertow.store.schema import order

__all__ = ["array_names", "chunk_files", "create", "open_group", "read", "read_attributes", "write"]

_CODECS: Final = frozenset({"bytes", "zstd", "crc32c"})
"""What a run is written with. Nothing else is read: other codecs can run code or exhaust memory."""
_CONFIG: Final = {"write_empty_chunks": True}
"""A chunk that is there was written, even where it holds nothing but the fill value."""
_FILL: Final = {"f": np.nan, "i": -1, "u": 0, "b": False}


class _Guarded(LocalStore):  # type: ignore[misc]
    """A folder from which links cannot lead out."""

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        inside(self.root, self.root / key)
        return await super().get(key, prototype, byte_range)


def open_group(root: Path, *, writable: bool = False) -> Any:
    """The root group of a zarr folder (a ``zarr.Group``)."""
    store = _Guarded(root, read_only=not writable)
    if writable:
        return zarr.open_group(store, mode="a", zarr_format=3)
    return zarr.open_group(store, mode="r", zarr_format=3)


def create(
    parent: Any, path: str, dataset: xr.Dataset, *, chunk: int | None, attributes: dict[str, Any]
) -> None:
    """Make the arrays of a dataset, or make sure that they are there as they should be.

    Variables along ``sample`` are left unfilled, the others are written. Attributes come last, so a
    group that has them is complete.

    Args:
        parent: the root group.
        path: where in it.
        dataset: shapes, kinds, coordinates. Names of taps become the attribute ``tap``.
        chunk: inputs in a shard; ``None`` for one chunk an array.
        attributes: what else the group is to say, as JSON can hold it.

    Raises:
        BadInput: if arrays of another shape are there already.
    """
    group = parent.require_group(path)
    texts = {
        str(k): [str(v) for v in c.values]
        for k, c in dataset.coords.items()
        if c.dtype.kind in "UO"
    }
    for name, array in dataset.variables.items():
        if str(name) in texts:
            continue
        shape = tuple(int(n) for n in array.shape)
        rows = "sample" in array.dims and chunk is not None
        chunks = tuple(
            max(1, min(chunk or size, size) if dim == "sample" else size)
            for dim, size in zip(array.dims, shape, strict=True)
        )
        if name in group:
            found = group[name]
            if found.shape != shape or found.dtype != array.dtype or found.chunks != chunks:
                raise BadInput(
                    f"{path}/{name} is there with shape {found.shape}, {found.dtype}, chunks "
                    f"{found.chunks}; "
                    f"now asked for {shape}, {array.dtype}, {chunks}"
                )
        else:
            found = group.create_array(
                name=name,
                shape=shape,
                dtype=array.dtype,
                chunks=chunks,
                dimension_names=array.dims,
                fill_value=_FILL[array.dtype.kind],
                chunk_key_encoding={"name": "default", "separator": "."},
                compressors=[ZstdCodec(level=3), Crc32cCodec()],
                attributes={k: v for k, v in array.attrs.items() if isinstance(v, str)},
                config=_CONFIG,
            )
        if not rows:
            _fill(found, slice(None), np.asarray(array.values))
    group.attrs.put({**attributes, **texts, "shard": chunk})


def _fill(array: Any, where: slice, values: np.ndarray) -> None:
    if values.size:
        array[where if array.ndim else ...] = values


def write(parent: Any, path: str, dataset: xr.Dataset, start: int) -> list[Path]:
    """Write the rows ``start…`` of a group that :func:`create` made.

    Args:
        parent: the root group.
        path: where in it.
        dataset: the rows; every array along ``sample`` that was made must be there.
        start: the first row; the rows are whole shards, or lie inside one.

    Returns:
        The files that now hold them, flushed to the disk.

    Raises:
        BadInput: arrays missing or misshapen, or rows that would touch another shard's file.
    """
    group, rows = parent[path], dataset.sizes["sample"]
    shard, files, stop = int(group.attrs["shard"]), [], start + rows
    with zarr.config.set({f"array.{key}": value for key, value in _CONFIG.items()}):
        arrays = {
            n: a for n, a in group.arrays() if (a.metadata.dimension_names or ("",))[0] == "sample"
        }
    total = next(iter(arrays.values())).shape[0]
    whole = start % shard == 0 and (stop % shard == 0 or stop == total)
    if (
        rows < 1
        or start < 0
        or stop > total
        or not (whole or start // shard == (stop - 1) // shard)
    ):
        raise BadInput(f"{path}: rows {start}…{stop - 1} of {total} cut across shards of {shard}")
    if absent := sorted(set(arrays) - {str(n) for n in dataset.variables}):
        raise BadInput(f"{path}: {', '.join(absent)} missing")
    for name, array in arrays.items():
        values = np.asarray(dataset[name].values)
        if values.shape != (rows, *array.shape[1:]) or values.dtype.kind != array.dtype.kind:
            raise BadInput(
                f"{path}/{name}: got {values.dtype} {values.shape}, prepared as {array.dtype} "
                f"{array.shape}"
            )
        _fill(array, slice(start, stop), values.astype(array.dtype, copy=False))
        files += chunk_files(
            parent, f"{path}/{name}", range(start // shard, (stop - 1) // shard + 1)
        )
    flush([*files, *{f.parent for f in files}])
    return files


def chunk_files(parent: Any, path: str, shards: range) -> list[Path]:
    """The files that hold these shards of one array (chunks split along the first axis only)."""
    array = parent[path]
    if not math.prod(array.shape):
        return []
    folder = Path(parent.store.root) / path
    return [folder / ".".join(["c", str(s), *["0"] * (array.ndim - 1)]) for s in shards]


def read_attributes(root: Path, path: str = "") -> dict[str, Any]:
    """The attributes of a group, from its metadata alone; empty where there is no group.

    Raises:
        Foreign: if the metadata cannot be read, or lie outside.
    """
    file = inside(root, root / path / "zarr.json")
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_bytes())["attributes"]
    except (ValueError, KeyError, TypeError) as error:
        raise Foreign(f"'{file}' is damaged") from error
    return dict(found)


def array_names(root: Path, path: str) -> list[str]:
    """Names of the arrays of a group, each checked to be stored in a way that is safe to read.

    Raises:
        Foreign: for metadata that are damaged or name a codec that runs are not written with.
    """
    names = []
    for folder in sorted(inside(root, root / path).iterdir()):
        file = folder / "zarr.json"
        if not folder.is_dir() or not file.is_file():
            continue
        try:
            meta = json.loads(inside(root, file).read_bytes())
            if meta["node_type"] != "array":
                continue
            codecs = {codec["name"] for codec in meta["codecs"]}
            safe = (
                codecs <= _CODECS
                and isinstance(meta["data_type"], str)
                and meta["zarr_format"] == 3
            )
        except (ValueError, KeyError, TypeError) as error:
            raise Foreign(f"'{file}' is damaged") from error
        if not safe or meta["data_type"] in ("variable_length_bytes", "string"):
            raise Foreign(
                f"'{folder}' is stored in a way that runs are not ({', '.join(sorted(codecs))})"
            )
        names.append(folder.name)
    return names


def read(root: Path, path: str) -> xr.Dataset:
    """A group as a dataset whose arrays are read when used.

    Raises:
        Foreign: if it is damaged, unsafe or leads out of the folder.
    """
    array_names(root, path)
    attributes = read_attributes(root, path)
    store = _Guarded(root, read_only=True)
    dataset = xr.open_dataset(
        store,
        engine="zarr",
        group=path,
        consolidated=False,
        zarr_format=3,
        chunks=None,
        decode_times=False,
        mask_and_scale=False,
    )
    if "tap" in attributes:
        dataset = dataset.assign_coords(tap=("tap", np.array(attributes["tap"], dtype=np.str_)))
    ordered = dataset[[*order(path.partition("/")[0], [str(n) for n in dataset.data_vars])]]
    return ordered.set_coords([n for n in ("depth", "index") if n in ordered.data_vars])
