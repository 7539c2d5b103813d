"""Reading a whole run to find what is damaged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertow.errors import UndertowError
from undertow.store import arrays
from undertow.store.cell import Cell
from undertow.store.ledger import Shard, read_ledger
from undertow.store.schema import GROUPS

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
    """

    words: str
    cell: Cell | None = None
    shard: Shard | None = None
    file: Path | None = None


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
    if (run.path / "results.zarr").is_dir():
        faults += _cells(run)
    return tuple(faults)
