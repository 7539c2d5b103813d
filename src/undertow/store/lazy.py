"""Groups as datasets whose arrays are read when they are used.

Arrays that lie as :mod:`undertow.store.chunks` lays them are read without zarr's event loop; all
others as xarray and zarr read them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from undertow.errors import Foreign, shown
from undertow.store.arrays import Guarded, metadata, read_attributes
from undertow.store.chunks import FILL, ArrayLayout, chunk_key, decode, own_layout
from undertow.store.files import inside
from undertow.store.schema import order

__all__ = ["ChunkedArray", "by_zarr", "read"]


def read(root: Path, path: str) -> xr.Dataset:
    """A group as a dataset whose arrays are read when used.

    Raises:
        Foreign: if it is damaged, unsafe or leads out of the folder.
    """
    found = metadata(root, path)
    attributes = read_attributes(root, path)
    layouts = {name: own_layout(meta) for name, meta in found.items()}
    ours = {name: layout for name, layout in layouts.items() if layout is not None}
    try:
        if len(ours) == len(layouts):
            dataset = _assembled(root, path, ours).assign_attrs(attributes)
        else:
            dataset = by_zarr(root, path)
        for axis in ("tap", "ranking"):
            if axis in attributes and axis in dataset.dims:
                names = np.array(attributes[axis], dtype=np.str_)
                dataset = dataset.assign_coords({axis: (axis, names)})
        if "tap" in attributes and "depth" not in dataset.variables:
            raise KeyError("the depths of the taps are missing")
    except (ValueError, TypeError, KeyError) as error:  # axes or names that do not fit together
        why = shown(str(error.args[0] if error.args else error).partition("\n")[0], 120)
        raise Foreign(f"'{root / path}' is damaged: {why}") from error
    ordered = dataset[[*order(path.partition("/")[0], [str(n) for n in dataset.data_vars])]]
    return ordered.set_coords([n for n in ("depth", "index") if n in ordered.data_vars])


def _assembled(root: Path, path: str, layouts: Mapping[str, ArrayLayout]) -> xr.Dataset:
    """A group whose arrays lie as :func:`create` lays them, read without zarr."""
    variables = {}
    for name, layout in layouts.items():
        stored = ChunkedArray(root / path / name, layout, partial(_content, root))
        lazy = indexing.LazilyIndexedArray(stored)
        variables[name] = xr.Variable(layout.dims, lazy, dict(layout.said))
    return xr.Dataset(variables)


def _content(root: Path, file: Path) -> bytes | None:
    try:
        return inside(root, file).read_bytes()
    except FileNotFoundError:
        return None


def by_zarr(root: Path, path: str) -> xr.Dataset:
    """A group as xarray and zarr open it: slower, whatever the layout."""
    return xr.open_dataset(
        Guarded(root, read_only=True),
        engine="zarr",
        group=path,
        consolidated=False,
        zarr_format=3,
        chunks=None,
        decode_times=False,
        mask_and_scale=False,
    )


class ChunkedArray(BackendArray):
    """An array on the disk, read chunk by chunk when it is used; xarray asks it for parts.

    Args:
        folder: its folder.
        layout: how it lies there.
        open_file: reads a file of it; ``None`` where there is none.
    """

    def __init__(
        self, folder: Path, layout: ArrayLayout, open_file: Callable[[Path], bytes | None]
    ) -> None:
        self.folder, self.layout, self.open_file = folder, layout, open_file
        self.shape, self.dtype = layout.shape, np.dtype(layout.dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._part
        )

    def _part(self, key: tuple[int | slice, ...]) -> NDArray[Any]:
        """The rows that are asked for, and of them the rest of what is asked for."""
        if not self.shape or not math.prod(self.shape):
            whole: NDArray[Any] = (
                self._chunk(0) if not self.shape else np.empty(self.shape, self.dtype)
            )
            return whole[key]
        rows, size = range(self.shape[0])[key[0]], self.layout.chunks[0]
        wanted = (rows,) if isinstance(rows, int) else rows
        if not len(wanted) or not math.prod(self.shape):
            return np.asarray(np.empty(self.shape, self.dtype)[key])
        first, last = min(wanted[0], wanted[-1]) // size, max(wanted[0], wanted[-1]) // size
        found = np.concatenate([self._chunk(number) for number in range(first, last + 1)])
        places = [row - first * size for row in wanted]
        chosen = found[places[0]] if isinstance(rows, int) else found[places]
        return np.asarray(chosen[key[1:] if isinstance(rows, int) else (slice(None), *key[1:])])

    def _chunk(self, number: int) -> NDArray[Any]:
        file = self.folder / chunk_key(number, len(self.shape))
        data = self.open_file(file)
        if data is None:
            return np.full(self.layout.chunks, FILL[self.dtype.kind], self.dtype)
        try:
            return decode(data, self.layout)
        except ValueError as error:
            raise Foreign(f"'{file}' is damaged: {error}{_mended(file)}") from error


def _mended(file: Path) -> str:
    """How to mend the run that a file of its results belongs to."""
    run = next((place.parent for place in file.parents if place.name == "results.zarr"), None)
    if run is None:
        return ""
    return f"; mend it: undertow runs check --repair '{run}', then the study's own command"
