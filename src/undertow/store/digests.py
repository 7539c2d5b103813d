"""Checksums of what a run stores, noted when it is written, so that no loss goes unseen.

A chunk's own checksum tells that it is whole, not that it is there, nor that it is the one that
was written. The ledger therefore holds one over all files of a shard, and one over a cell's
metadata; the manifest one over itself and each small file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

from undertow.store.cell import Cell
from undertow.store.chunks import layout_of
from undertow.store.schema import GROUPS

__all__ = ["digest", "digest_bytes", "frame_files", "seal", "sealed", "shard_files"]

META = "zarr.json"


def digest(root: Path, files: Iterable[Path]) -> str:
    """Over names, below ``root``, and contents of files, in the order of their names."""
    total = 0
    for file in sorted(files):
        total = crc32(f"{file.relative_to(root).as_posix()}\n".encode(), total)
        total = crc32(file.read_bytes(), total)
    return f"{total:08x}"


def digest_bytes(data: bytes) -> str:
    """Over the content of one file."""
    return f"{crc32(data):08x}"


def _groups(results: Path, cell: Cell) -> list[Path]:
    places = (results / group / cell.slug for group in GROUPS if group != "exemplars")
    return [place for place in places if place.is_dir()]


def shard_files(
    results: Path, cell: Cell, shard: int | str, index: int | None = None
) -> list[Path]:
    """The files that a cell's shard filled.

    Args:
        results: the folder of the root group.
        cell: the cell.
        shard: its number; of a recorded input its name.
        index: the recorded input's index in the data set.
    """
    if isinstance(shard, str):
        place = results / "exemplars" / cell.slug / str(index)
        return [file for file in place.rglob("*") if file.is_file()]
    ends = (f"c.{shard}", f"c.{shard}.")
    return [
        file
        for place in _groups(results, cell)
        for array in place.iterdir()
        if array.is_dir() and _split(array)
        for file in array.iterdir()
        if file.name == ends[0] or file.name.startswith(ends[1])
    ]


def frame_files(results: Path, cell: Cell) -> list[Path]:
    """A cell's metadata, and its arrays that are not along ``sample``."""
    found = []
    for place in _groups(results, cell):
        found.append(place / META)
        for array in (a for a in place.iterdir() if a.is_dir()):
            found.append(array / META)
            if not _split(array):
                found += [f for f in array.iterdir() if f.name.startswith("c")]
    return [file for file in found if file.is_file()]


def _split(array: Path) -> bool:
    layout = layout_of(array / META)
    return layout is None or layout.split


def seal(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest with its own checksum."""
    plain = {key: value for key, value in manifest.items() if key != "crc"}
    return {**plain, "crc": _of(plain)}


def sealed(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest is as it was written; one of an older undertow has no checksum."""
    plain = {key: value for key, value in manifest.items() if key != "crc"}
    told: str = manifest.get("crc", _of(plain))
    return told == _of(plain)


def _of(plain: Mapping[str, Any]) -> str:
    return digest_bytes(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode())
