"""Tidy tables of a run, for other programs: CSV, Parquet, NetCDF.

One row a number: which model, attack and input, which tap, which profile, in which unit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
import xarray as xr

from undertow.axes import PROFILES, UNITS
from undertow.errors import BadInput, Foreign, of_kind
from undertow.loading import home, needed
from undertow.store.cell import Cell
from undertow.store.files import PARTIAL, disk_errors
from undertow.store.reader import Run
from undertow.store.schema import GROUPS

__all__ = ["COLUMNS", "Format", "export", "table"]

Format: TypeAlias = Literal["csv", "parquet", "netcdf"]

COLUMNS: Final = {
    "model": "the model that infers",
    "attack": "attack, benign, or a control (noise:ATTACK, spectrum:ATTACK, transplant:ATTACK)",
    "source": "the model aimed at; none for benign inputs",
    "sample": "place in the cell",
    "index": "the input's index in the data set",
    "tap": "name of the tap",
    "depth": "its depth, 0 input to 1 output",
    "profile": "iip, oip, ioc or drift",
    "kind": "raw, chance (the null) or net",
    "estimator": "how mutual information was estimated",
    "value": "the number",
    "unit": "its unit",
    "class": "number of the class",
    "class_name": "its name; class NUMBER where it has none",
    "label_name": "name of the true class",
    "predicted_name": "name of the answer",
    "target_name": "name of the class aimed at; none where there is none",
    "bits": "class information, bit",
    "takeover": "number of the takeover tap; -1 where none",
    "ranking": "by what maps are ranked; random and matched are controls",
    "put_back": "how many maps are put back",
    "restored": "whether the true label returns; of controls the share of their random orders",
    "implanted": "whether the rival's label comes when they are put into the benign run",
    "smallest_size": "how many maps the smallest set has that was found to return the label",
    "smallest_random": "how many maps the same search leaves in a random order",
}
"""Columns of the tables beyond the stored variables, which keep their own names."""

_TABLES: Final = ("profiles", "flow", "attacks", "class_information", "carriers")


def _finished(data: xr.Dataset) -> xr.Dataset:
    rows = np.flatnonzero(data["finished"].values)
    return data.isel(sample=rows).assign_coords(sample=rows)


def _named(frame: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """The cell in front; no word is one that readers of tables take for a missing value."""
    source = cell.source or ("none" if cell.benign else cell.model)
    for place, (name, value) in enumerate(
        (("model", cell.model), ("attack", cell.attack), ("source", source))
    ):
        frame.insert(place, name, value)
    return frame


def _completed(run: Run, home: str, cell: Cell) -> xr.Dataset:
    """The finished inputs of a cell with indices, and names for all classes and estimators."""
    data = run._open(home, cell)
    if "index" not in data.variables and run.has("attacks", cell):
        data = data.assign(index=("sample", run.attacks(cell)["index"].values))
    known = data.attrs.get("classes") or run.manifest.get("classes") or ()
    n = int(data.sizes.get("class", len(known)))
    names = list(map(str, known)) if len(known) == n else [f"class {k}" for k in range(n)]
    own = run.spec.get("estimator") or run.manifest.get("estimator") or "own"
    return _finished(data).assign_attrs(classes=names, estimator=str(own))


def _index(data: xr.Dataset) -> np.ndarray:
    if "index" not in data.variables:
        return np.full(data.sizes["sample"], -1)  # a run without its attacks' ends
    found: np.ndarray = data["index"].values
    return found


def _profiles(data: xr.Dataset) -> Iterator[pd.DataFrame]:
    samples, taps = data.sizes["sample"], data.sizes["tap"]
    base = {
        "sample": np.repeat(data["sample"].values, taps),
        "index": np.repeat(_index(data), taps),
        "tap": np.tile(data["tap"].values, samples),
        "depth": np.tile(data["depth"].values, samples),
    }
    for name in data.data_vars:
        found = re.fullmatch(r"(\w+?)(?:_(raw|null))?(?:@(.+))?", str(name))
        if found is None or found[1] not in (*PROFILES, "drift"):
            continue
        kind = {"raw": "raw", "null": "chance"}.get(found[2] or "", "net")
        estimator = found[3] or data.attrs["estimator"]
        words = {"profile": found[1], "kind": kind, "estimator": estimator}
        unit = UNITS.get(found[1], "bit")
        yield pd.DataFrame({**base, **words, "value": data[name].values.ravel(), "unit": unit})


def _flow(data: xr.Dataset) -> Iterator[pd.DataFrame]:
    """Net of the null; raw and null are in the arrays (``netcdf``)."""
    for name in (n for n in map(str, data.data_vars) if n.partition("@")[0] == "flow"):
        estimator = name.partition("@")[2] or data.attrs["estimator"]
        said = {"estimator": estimator, "value": data[name].values.ravel()}
        yield pd.DataFrame({**_by_class(data), **said, "unit": "bit"})


def _by_class(data: xr.Dataset) -> dict[str, np.ndarray]:
    samples, taps, classes = (data.sizes[d] for d in ("sample", "tap", "class"))
    names = data.attrs["classes"]
    return {
        "sample": np.repeat(data["sample"].values, taps * classes),
        "index": np.repeat(_index(data), taps * classes),
        "tap": np.tile(np.repeat(data["tap"].values, classes), samples),
        "depth": np.tile(np.repeat(data["depth"].values, classes), samples),
        "class": np.tile(np.arange(classes), samples * taps),
        "class_name": np.tile(np.array([str(n) for n in names]), samples * taps),
    }


def _attacks(data: xr.Dataset) -> Iterator[pd.DataFrame]:
    columns = {"sample": data["sample"].values, "index": _index(data)}
    columns |= {str(n): data[n].values for n in data.data_vars if data[n].dims == ("sample",)}
    names = dict(enumerate(data.attrs["classes"]))
    columns |= {
        f"{n}_name": np.array([names.get(k, "none") for k in columns[n].tolist()], dtype=object)
        for n in ("label", "predicted", "target")
        if n in columns
    }
    logits = data["logits"].values
    columns |= {f"logit_{m}": logits[:, m] for m in range(logits.shape[1])}
    yield pd.DataFrame(columns)


def _class_information(data: xr.Dataset) -> Iterator[pd.DataFrame]:
    each = data.sizes["tap"] * data.sizes["class"]
    bits, taken = data["bits"].values.ravel(), np.repeat(data["takeover"].values, each)
    yield pd.DataFrame({**_by_class(data), "bits": bits, "takeover": taken})


def _carriers(data: xr.Dataset) -> Iterator[pd.DataFrame]:
    """Inputs that have something to restore, and places that a tap's curve has."""
    data = data.isel(sample=np.flatnonzero(data["rival"].values >= 0))
    shape = data["restored"].shape
    count = np.broadcast_to(data["count"].values[None, :, None], shape)
    named = np.broadcast_to(data["ranking"].values[None, None, :, None], shape)
    each = {
        "sample": data["sample"].values, "index": _index(data),
    }  # fmt: skip
    by_tap = {
        "smallest_size": data["smallest"].values.sum(axis=2),
        "smallest_random": data["smallest_random"].values,
    }
    there = count > 0
    columns = {n: np.broadcast_to(v[:, None, None, None], shape)[there] for n, v in each.items()}
    for name in ("tap", "depth"):
        columns[name] = np.broadcast_to(data[name].values[None, :, None, None], shape)[there]
    columns |= {"ranking": named[there], "put_back": count[there]}
    columns |= {n: data[n].values[there] for n in ("restored", "implanted")}
    columns |= {n: np.broadcast_to(v[:, :, None, None], shape)[there] for n, v in by_tap.items()}
    yield pd.DataFrame(columns)


_MAKERS: Final[dict[str, Callable[[xr.Dataset], Iterator[pd.DataFrame]]]] = {
    "profiles": _profiles,
    "flow": _flow,
    "attacks": _attacks,
    "class_information": _class_information,
    "carriers": _carriers,
}


def table(run: Run, group: str) -> pd.DataFrame:
    """All finished inputs of all cells as one tidy table; columns as :data:`COLUMNS` says.

    Args:
        run: the run.
        group: ``profiles``, ``flow``, ``attacks``, ``class_information`` or ``carriers``.
    """
    of_kind(run, Run, "the run", "what undertow.open_run gives")
    of_kind(group, str, "the table", "a name")
    if group not in _MAKERS:
        raise BadInput(f"unknown table '{group}' (allowed: {', '.join(_MAKERS)})")
    parts = [part for _, part in _parts(run, group)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _parts(run: Run, group: str) -> Iterator[tuple[Cell, pd.DataFrame]]:
    home = _HOMES.get(group, group)
    for cell in run.cells:
        if run.has(home, cell):
            for part in _MAKERS[group](_completed(run, home, cell)):
                yield cell, _named(part, cell)


_HOMES: Final = {"flow": "profiles"}
"""Where the numbers of a table are stored, if not in the group of its name."""


def _csv(run: Run, group: str, path: Path) -> None:
    for number, (_, part) in enumerate(_parts(run, group)):
        part.to_csv(path, mode="a", header=number == 0, index=False)


def _parquet(run: Run, group: str, path: Path) -> None:
    needed("parquet", "export", "pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    try:
        for _, part in _parts(run, group):
            rows = pa.Table.from_pandas(part, preserve_index=False)
            writer = writer or pq.ParquetWriter(path, rows.schema)
            writer.write_table(rows.cast(writer.schema))
    finally:
        if writer is not None:
            writer.close()


def _netcdf(run: Run, group: str, path: Path) -> None:
    """One group a cell, with the stored arrays as they are; the root says which there are."""
    needed("netcdf", "export", "h5netcdf", "h5py")
    cells = [cell for cell in run.cells if run.has(group, cell)]
    index = {
        "group": [c.slug for c in cells],
        "model": [c.model for c in cells],
        "attack": [c.attack for c in cells],
        "source": [c.source or ("none" if c.benign else c.model) for c in cells],
    }
    how = f"xr.open_dataset('{path.name.removesuffix(PARTIAL)}', group=GROUP)"
    xr.Dataset({k: ("cell", v) for k, v in index.items()}, attrs={"cells": how}).to_netcdf(
        path, mode="w", engine="h5netcdf"
    )
    for cell in cells:
        if run.has(group, cell):
            data = _completed(run, group, cell).drop_vars("finished").load()
            attrs = {"model": cell.model, "attack": cell.attack, "source": cell.source or "none"}
            attrs |= (
                {"classes": ", ".join(map(str, data.attrs["classes"]))}
                if data.attrs.get("classes")
                else {}
            )
            for name, array in data.variables.items():
                array.attrs = {k: str(v) for k, v in array.attrs.items()}
                if array.dtype.kind == "b":
                    data[name] = data[name].astype(np.int8)
            plain = (
                data.assign_attrs(dict.fromkeys(data.attrs))
                .drop_attrs(deep=False)
                .assign_attrs(attrs)
            )
            plain.to_netcdf(path, mode="a", group=cell.slug, engine="h5netcdf")


_WRITERS: Final[dict[str, tuple[str, Callable[[Run, str, Path], None]]]] = {
    "csv": (".csv", _csv),
    "parquet": (".parquet", _parquet),
    "netcdf": (".nc", _netcdf),
}


@contextmanager
def _numbered() -> Iterator[None]:
    """HDF5 tells of what the disk refuses in words alone: give the error its number."""
    try:
        yield
    except RuntimeError as problem:
        told = re.search(r"errno = (\d+)", str(problem))
        if told is None:
            raise
        raise OSError(int(told[1]), os.strerror(int(told[1]))) from problem


def export(run: Run, format: Format | str, out: Path) -> tuple[Path, ...]:  # noqa: A002 - the word of the command line
    """Write ``profiles``, ``flow``, ``attacks``, ``class_information``, ``carriers``: a file each.

    Unfinished inputs are left out. Files that are there are replaced; memory holds one cell.

    Args:
        run: the run.
        format: ``csv``, ``parquet`` or ``netcdf``.
        out: the folder; made if absent.

    Returns:
        The files.

    Raises:
        BadInput: for another format.
        Foreign: the run has nothing to export.
        Unavailable: the format needs a package that is not here, or the disk refuses.
    """
    of_kind(run, Run, "the run", "what undertow.open_run gives")
    of_kind(format, str, "the format", "a name")
    if format not in _WRITERS:
        raise BadInput(f"unknown format '{format}' (allowed: {', '.join(get_args(Format))})")
    ending, write = _WRITERS[format]
    assert {_HOMES.get(t, t) for t in _TABLES} == set(GROUPS) - {"exemplars"}
    written = []
    out = home(out).absolute()  # pandas has its own mind about "~"
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        for group in (t for t in _TABLES if format != "netcdf" or t not in _HOMES):
            stored = _HOMES.get(group, group)
            if any(run.has(stored, cell) and run.state(cell).done for cell in run.cells):
                partial = out / f"{group}{ending}{PARTIAL}"
                partial.unlink(missing_ok=True)
                try:
                    with _numbered():
                        write(run, group, partial)
                    if partial.exists():  # older runs hold no flow
                        partial.replace(out / f"{group}{ending}")
                        written.append(out / f"{group}{ending}")
                finally:
                    partial.unlink(missing_ok=True)
    if not written:
        with suppress(OSError):  # only if nothing lies in it
            out.rmdir()
        raise Foreign(f"'{run.path}' has no finished inputs to export")
    return tuple(written)
