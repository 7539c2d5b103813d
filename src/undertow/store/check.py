"""Reading a whole run to find what is damaged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertow.errors import UndertowError
from undertow.store import arrays
from undertow.store.cell import Cell
from undertow.store.digests import digest, digest_bytes, frame_files, sealed, shard_files
from undertow.store.ledger import LedgerLine, Shard, read_ledger
from undertow.store.manifest import FORMAT
from undertow.store.schema import GROUPS, SCHEMA_VERSION

if TYPE_CHECKING:
    from undertow.store.reader import Run

__all__ = ["Fault", "check_run"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something damaged.

    Args:
        words: what, in one sentence.
        cell: the cell it belongs to.
        shard: the work to do again to mend it.
        file: the file to remove before.
        derived: whether it is of what is made from the results, such as the answers.
    """

    words: str
    cell: Cell | None = None
    shard: Shard | None = None
    file: Path | None = None
    derived: bool = False


def _chunks(root: Any, path: str, cell: Cell, shards: list[int]) -> Iterator[Fault]:
    """Chunks of shards that the ledger calls done: there, whole, and as their checksum says."""
    group = root[path]
    for name, array in sorted(group.arrays()):
        if (array.metadata.dimension_names or ("",))[0] != "sample":
            continue
        size = array.chunks[0]
        for shard in shards:
            if shard * size >= array.shape[0]:
                continue
            (file,) = arrays.chunk_files(root, f"{path}/{name}", range(shard, shard + 1)) or (None,)
            if file is None:
                continue
            words = f"{path}/{name}, shard {shard}"
            if not file.is_file():
                yield Fault(f"{words} is missing", cell, shard)
                continue
            try:
                array[shard * size : (shard + 1) * size]
            except Exception as error:  # whatever a damaged file makes the decoder raise
                yield Fault(f"{words} is damaged ({type(error).__name__})", cell, shard, file)


def _exemplars(run: Run, cell: Cell) -> Iterator[Fault]:
    have = run.exemplars(cell)
    for index in have:
        shard = run.exemplar_shard(index)
        place = f"exemplars/{cell.slug}/{index}"
        try:
            run.exemplar(cell, index).load()
        except Exception as error:  # as above
            file = run.path / "results.zarr" / place
            yield Fault(f"{place} is damaged ({type(error).__name__})", cell, shard, file)
    for (owner, told), record in run.records.items():
        if owner == cell and isinstance(told, str) and record.state == "done":
            index = run.exemplar_index(told)
            if index not in have:
                yield Fault(f"exemplars/{cell.slug}/{index} is missing", cell, told)


def _cells(run: Run) -> Iterator[Fault]:
    results = run.path / "results.zarr"
    root = arrays.open_group(results)
    done = {key for key, record in run.records.items() if record.state == "done"}
    for cell in run.cells:
        shards = sorted(s for c, s in done if c == cell and isinstance(s, int))
        for group in (g for g in GROUPS if g != "exemplars"):
            if not run.has(group, cell):
                continue
            path = f"{group}/{cell.slug}"
            try:
                arrays.array_names(results, path)
                yield from _chunks(root, path, cell, shards)
            except UndertowError as error:
                yield from (Fault(str(error), cell, shard) for shard in shards)
        yield from _exemplars(run, cell)


def _lost(run: Run) -> Iterator[Fault]:
    """What was written and is not there any more, or is not what was written."""
    results, told = run.path / "results.zarr", read_ledger(run.path / "ledger.jsonl")
    there = set(run.cells)
    for cell in told.planned:
        if cell not in there and any(c == cell and r.state == "done" for (c, _), r in _of(run)):
            yield Fault(f"{cell.name}: nothing of it is there any more", cell)
    for cell, crc in told.frames.items():
        if digest(results, frame_files(results, cell)) != crc:
            yield Fault(f"{cell.name}: its metadata are not those that were written", cell)
    for (cell, shard), record in _of(run):
        if record.state != "done" or "files" not in record.facts:
            continue
        index = run.exemplar_index(shard) if isinstance(shard, str) else None
        if digest(results, shard_files(results, cell, shard, index)) != record.facts["files"]:
            name = f"recorded input {index}" if isinstance(shard, str) else f"shard {shard}"
            yield Fault(f"{cell.name}, {name}: not what was written", cell, shard)


def _of(run: Run) -> list[tuple[tuple[Cell, Shard], LedgerLine]]:
    return list(run.records.items())


def _small(run: Run) -> Iterator[Fault]:
    """The manifest, the files that it vouches for, and the ledger's length."""
    if not sealed(run.manifest):
        yield Fault("manifest.json is not what was written")
    files = run.manifest.get("files")
    for name, crc in files.items() if isinstance(files, dict) else ():
        file = run.path / str(name)
        if Path(str(name)).name != name:
            yield Fault("manifest.json vouches for a file that is no part of a run")
        elif not file.is_file():
            yield Fault(f"{name} is missing", derived=name == "answers.json")
        elif digest_bytes(file.read_bytes()) != crc:
            yield Fault(f"{name} is not what was written", derived=name == "answers.json")
    lines = run.manifest.get("lines")
    have = read_ledger(run.path / "ledger.jsonl").lines
    if isinstance(lines, int) and have < lines:
        yield Fault(f"ledger.jsonl has lost {lines - have} of {lines} lines")
    results = run.path / "results.zarr"
    above = [results, *(results / g for g in GROUPS if (results / g).is_dir())]
    if (results / "exemplars").is_dir():  # each cell's folder has recorded inputs below it
        above += sorted(p for p in (results / "exemplars").iterdir() if p.is_dir())
    for place in above if run.records else ():
        meta = place / arrays.META
        name = meta.relative_to(run.path)
        try:
            told = json.loads(meta.read_bytes())
            whole = told["node_type"] == "group" and told["zarr_format"] == 3
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            whole = False
        expected = {"schema": SCHEMA_VERSION, "format": FORMAT} if place == results else {}
        if not whole or told["attributes"] != expected or len(told) != 3:
            yield Fault(f"{name} is missing or is not what was written")


def check_run(run: Run) -> tuple[Fault, ...]:
    """Every fault of a run.

    Lines of the ledger that cannot be trusted have no shard to mend: what they said is unsaid, so
    their shards are done again anyway.
    """
    damaged = read_ledger(run.path / "ledger.jsonl").damaged
    faults = [Fault(f"ledger.jsonl, line {number} is damaged") for number in damaged]
    try:
        _ = run.answers
    except UndertowError as error:
        faults.append(Fault(re.sub(r"\s+", " ", str(error)), file=run.path / "answers.json"))
    faults += _small(run)
    if (run.path / "results.zarr").is_dir():
        with suppress(Exception):  # a root that zarr cannot open is told of above
            arrays.open_group(run.path / "results.zarr")
            faults += _cells(run)
    faults += _lost(run)
    named = {(f.cell, f.shard) for f in faults if f.file is not None and f.shard is not None}
    # One that names the file says it better.
    return tuple(f for f in faults if f.file is not None or (f.cell, f.shard) not in named)
