"""Datasets in zarr groups: made once, written region by region.

Chunks along ``sample`` are shards, so a shard touches only files of its own; each file is written
beside its place and then moved there, and carries a checksum.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
import zarr
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from undertow.errors import BadInput, Foreign
from undertow.store.chunks import (
    ArrayLayout,
    array_json,
    chunk_key,
    encode,
    group_json,
    layout_of,
    put,
)
from undertow.store.files import inside

__all__ = [
    "META",
    "array_names",
    "chunk_files",
    "create",
    "layouts",
    "metadata",
    "open_group",
    "read_attributes",
    "write",
]

_CODECS: Final = frozenset({"bytes", "zstd", "crc32c"})
"""What a run is written with. Nothing else is read: other codecs can run code or exhaust memory."""
_CONFIG: Final = {"write_empty_chunks": True}
"""A chunk that is there was written, even where it holds nothing but the fill value."""
META: Final = "zarr.json"
"""The file that holds the metadata of an array or a group."""


class Guarded(LocalStore):  # type: ignore[misc]
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
    store = Guarded(root, read_only=not writable)
    if writable:
        return zarr.open_group(store, mode="a", zarr_format=3)
    return zarr.open_group(store, mode="r", zarr_format=3)


def create(
    results: Path,
    path: str,
    dataset: xr.Dataset,
    *,
    chunk: int | None,
    attributes: dict[str, Any],
) -> dict[str, ArrayLayout]:
    """Make the arrays of a dataset, or make sure that they are there as they should be.

    Variables along ``sample`` are left unfilled, the others are written. Attributes come last, so a
    group that has them is complete.

    Args:
        results: the folder of the root group.
        path: where in it.
        dataset: shapes, kinds, coordinates. Names of taps become the attribute ``tap``.
        chunk: inputs in a shard; ``None`` for one chunk an array.
        attributes: what else the group is to say, as JSON can hold it.

    Returns:
        How each array lies on the disk.

    Raises:
        BadInput: if arrays of another shape are there already.
    """
    place = results / path
    place.mkdir(parents=True, exist_ok=True)
    for above in [p for p in place.parents if p.is_relative_to(results) and p != results]:
        if not (above / META).is_file():
            put(above / META, group_json({}))
    texts = {str(k): c.values for k, c in dataset.coords.items() if c.dtype.kind in "UO"}
    layouts = {
        str(name): _layout(array, chunk)
        for name, array in dataset.variables.items()
        if str(name) not in texts
    }
    for name, layout in layouts.items():
        _make(place / name, layout, f"{path}/{name}")
        if not layout.split or chunk is None:
            _fill(place / name, layout, dataset.variables[name].values)
    said = {name: [str(v) for v in values] for name, values in texts.items()}
    put(place / META, group_json({**attributes, **said, "shard": chunk}))
    return layouts


def _layout(array: xr.Variable, chunk: int | None) -> ArrayLayout:
    shape = tuple(int(n) for n in array.shape)
    chunks = tuple(
        max(1, min(chunk or size, size) if dim == "sample" else size)
        for dim, size in zip(array.dims, shape, strict=True)
    )
    said = tuple((k, v) for k, v in array.attrs.items() if isinstance(v, str))
    dtype = array.dtype.newbyteorder("<").str
    return ArrayLayout(shape, dtype, chunks, tuple(str(d) for d in array.dims), said)


def _make(folder: Path, layout: ArrayLayout, name: str) -> None:
    """The metadata of one array, unless they are there; torn ones are made anew."""
    folder.mkdir(exist_ok=True)
    found = layout_of(folder / META)
    if found is None:
        put(folder / META, array_json(layout))
    elif not found.fits(layout):
        raise BadInput(
            f"{name} is there with shape {found.shape}, {found.dtype}, chunks {found.chunks}; "
            f"now asked for {layout.shape}, {layout.dtype}, {layout.chunks}"
        )


def _fill(folder: Path, layout: ArrayLayout, values: np.ndarray) -> None:
    """Write an array that is one chunk."""
    if values.size:
        put(folder / chunk_key(0, values.ndim), encode(values, layout))


def layouts(results: Path, path: str) -> dict[str, ArrayLayout]:
    """How the arrays of a group lie on the disk."""
    found = {name: layout_of(results / path / name / META) for name in array_names(results, path)}
    return {name: layout for name, layout in found.items() if layout is not None}


def write(
    results: Path,
    path: str,
    rows: Mapping[str, np.ndarray],
    start: int,
    known: Mapping[str, ArrayLayout],
) -> list[Path]:
    """Write the rows ``start…`` of a group that :func:`create` made.

    Args:
        results: the folder of the root group.
        path: where in it.
        rows: arrays by name; every one along ``sample`` that was made must be there.
        start: the first row; the rows are whole shards, or lie inside one.
        known: how its arrays lie on the disk.

    Returns:
        The files that now hold them; the caller flushes them.

    Raises:
        BadInput: arrays missing or misshapen, or rows that would touch another shard's file.
    """
    files: list[Path] = []
    split = {name: layout for name, layout in known.items() if layout.split}
    first = next(iter(split.values()))
    if absent := sorted(set(split) - set(rows)):
        raise BadInput(f"{path}: {', '.join(absent)} missing")
    count = len(rows[next(iter(split))])
    whole = _whole(path, start, start + count, first)
    for name, layout in split.items():
        values = np.asarray(rows[name])
        dtype = np.dtype(layout.dtype)
        if values.shape != (count, *layout.shape[1:]) or values.dtype.kind != dtype.kind:
            raise BadInput(
                f"{path}/{name}: got {values.dtype} {values.shape}, prepared as {dtype} "
                f"{layout.shape}"
            )
        if not whole:
            _patch(results, f"{path}/{name}", start, values)
        size = layout.chunks[0]
        for shard in range(start // size, (start + count - 1) // size + 1) if values.size else ():
            file = results / path / name / chunk_key(shard, values.ndim)
            if whole:
                put(file, encode(values[shard * size - start :][:size], layout))
            files.append(file)
    return files


def _whole(path: str, start: int, stop: int, layout: ArrayLayout) -> bool:
    """Whether the rows are whole shards; else they must lie inside one."""
    total, shard = layout.shape[0], layout.chunks[0]
    whole = start % shard == 0 and (stop % shard == 0 or stop == total)
    inside_one = start // shard == (stop - 1) // shard
    if stop <= start or start < 0 or stop > total or not (whole or inside_one):
        raise BadInput(f"{path}: rows {start}…{stop - 1} of {total} cut across shards of {shard}")
    return whole


def _patch(results: Path, path: str, start: int, values: np.ndarray) -> None:
    """Rows inside a shard: the rest of its chunk stays, so zarr reads it and writes it back."""
    if values.size:
        array = open_group(results, writable=True)[path]
        with zarr.config.set({f"array.{key}": value for key, value in _CONFIG.items()}):
            array[start : start + len(values)] = values.astype(array.dtype, copy=False)


def chunk_files(parent: Any, path: str, shards: range) -> list[Path]:
    """The files that hold these shards of one array (chunks split along the first axis only)."""
    array = parent[path]
    if not math.prod(array.shape):
        return []
    folder = Path(parent.store.root) / path
    return [folder / chunk_key(s, array.ndim) for s in shards]


def read_attributes(root: Path, path: str = "") -> dict[str, Any]:
    """The attributes of a group, from its metadata alone; empty where there is no group.

    Raises:
        Foreign: if the metadata cannot be read, or lie outside.
    """
    file = inside(root, root / path / "zarr.json")
    if not file.is_file():
        return {}
    try:
        found = dict(json.loads(file.read_bytes())["attributes"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Foreign(f"'{file}' is damaged") from error
    return found


def array_names(root: Path, path: str) -> list[str]:
    """Names of the arrays of a group, each checked to be stored in a way that is safe to read.

    Raises:
        Foreign: for metadata that are damaged or name a codec that runs are not written with.
    """
    return list(metadata(root, path))


def metadata(root: Path, path: str) -> dict[str, Any]:
    """The metadata of every array of a group, checked."""
    found = {}
    for folder in sorted(inside(root, root / path).iterdir()):
        file = folder / META
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
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Foreign(f"'{file}' is damaged") from error
        if not safe or meta["data_type"] in ("variable_length_bytes", "string"):
            raise Foreign(
                f"'{folder}' is stored in a way that runs are not ({', '.join(sorted(codecs))})"
            )
        found[folder.name] = meta
    return found
