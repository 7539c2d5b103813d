"""Runs of one study whose finished shards complement each other, put together."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from undertow.errors import BadInput
from undertow.loading import home
from undertow.store import arrays
from undertow.store.cell import Cell
from undertow.store.chunks import chunk_key
from undertow.store.files import PARTIAL, disk_errors, flush
from undertow.store.ledger import LedgerLine, Shard
from undertow.store.manifest import differences
from undertow.store.reader import Run, open_run
from undertow.store.schema import GROUPS
from undertow.store.writer import RunWriter, create_run

__all__ = ["merge_runs"]

_SAME: Final = ("schema", "hashes", "inputs", "strengths", "classes")
"""Entries of the manifest without which shards of two runs do not belong together."""


def merge_runs(sources: Sequence[Path], out: Path) -> Run:
    """Put the finished shards of several runs of the same study into one directory.

    A shard that several runs have is taken from the first. The sources are only read.

    Args:
        sources: the runs' directories, two or more.
        out: the new run's directory; it may hold a part of the same run already.

    Raises:
        BadInput: the runs are not of the same study (the message says where they differ), one
            is damaged, or ``out`` is one of them.
        Foreign: ``out`` holds something else.
        Unavailable: ``out`` cannot be written.
    """
    if len(sources) < 2:
        raise BadInput("merging takes two runs or more")
    runs = [open_run(source) for source in sources]
    if any(run.path == home(out).resolve() for run in runs):
        raise BadInput(f"'{out}' is one of the runs to merge; choose another --out")
    first = runs[0]
    for run in runs[1:]:
        _check_same(first, run)
    for run in runs:
        faults = [fault for fault in run.check() if not fault.derived]
        if faults:
            raise BadInput(
                f"'{run.path}' is damaged ({faults[0].words}); repair it first: "
                f"undertow runs check --repair '{run.path}'"
            )
    own = ("spec", "sessions", "created", "files", "lines", "crc")
    taken = {k: v for k, v in first.manifest.items() if k not in own}
    with create_run(out, first.spec, taken) as writer:
        told = {k: first.manifest[k] for k in _SAME if k in first.manifest and k != "schema"}
        writer.update_manifest(**told, merged=[str(run.path) for run in runs])
        for run in runs:
            _take(writer, run)
        return open_run(writer.path)


def _check_same(one: Run, other: Run) -> None:
    lines = differences(one.spec, other.spec)
    for entry in _SAME:
        lines += differences(one.manifest.get(entry), other.manifest.get(entry), entry)
    if lines:
        more = f" and {len(lines) - 4} more" if len(lines) > 4 else ""
        raise BadInput(
            f"'{one.path}' and '{other.path}' are not of the same study: "
            f"{'; '.join(line[:160] for line in lines[:4])}{more}"
        )


def _take(writer: RunWriter, run: Run) -> None:
    """Copy what a run has finished and the writer has not."""
    planned = {cell: run.state(cell).planned for cell in run.cells}
    writer.ledger.plan_all({cell: count for cell, count in planned.items() if count})
    with disk_errors(writer.path):
        for (cell, shard), record in run.records.items():
            if record.state != "done" or writer.done(cell, shard):
                continue
            files = _shard(writer, run, cell, shard) if isinstance(shard, int) else []
            if isinstance(shard, str):
                files = _exemplar(writer, run, cell, shard)
            flush([*files, *{file.parent for file in files}])
            _say(writer, cell, shard, record, run)
    writer.framed(planned)


def _say(writer: RunWriter, cell: Cell, shard: Shard, record: LedgerLine, run: Run) -> None:
    facts: dict[str, Any] = {**record.facts, "merged_from": str(run.path)}
    writer.ledger.record_all(
        (cell,), shard, "done", seconds=record.seconds, worker=record.worker, **facts
    )


def _shard(writer: RunWriter, run: Run, cell: Cell, shard: int) -> list[Path]:
    """Copy the chunks of one shard; of a cell that is new here, everything else before."""
    copied = []
    for group in (g for g in GROUPS if g != "exemplars" and run.has(g, cell)):
        path = f"{group}/{cell.slug}"
        source, target = run.path / "results.zarr" / path, writer.path / "results.zarr" / path
        if "cell" not in arrays.read_attributes(writer.path / "results.zarr", path):
            _copy_frame(source, target)
        for name, layout in arrays.layouts(run.path / "results.zarr", path).items():
            file = Path(name) / chunk_key(shard, len(layout.shape))
            if layout.split and (source / file).is_file():
                copied.append(_copy(source / file, target / file))
    return copied


def _copy_frame(source: Path, target: Path) -> None:
    """A cell's group without its shards: metadata, and arrays that are not along ``sample``."""
    target.mkdir(parents=True, exist_ok=True)
    above = target.parent / arrays.META
    if not above.is_file():
        _copy(source.parent / arrays.META, above)
    for name, layout in arrays.layouts(
        source.parent.parent, f"{source.parent.name}/{source.name}"
    ).items():
        (target / name).mkdir(exist_ok=True)
        _copy(source / name / arrays.META, target / name / arrays.META)
        chunk = Path(name) / chunk_key(0, len(layout.shape))
        if not layout.split and (source / chunk).is_file():
            _copy(source / chunk, target / chunk)
    _copy(source / arrays.META, target / arrays.META)  # last: a group that has it is whole


def _copy(source: Path, target: Path) -> Path:
    partial = target.with_name(target.name + PARTIAL)
    try:
        shutil.copyfile(source, partial)
        return partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _exemplar(writer: RunWriter, run: Run, cell: Cell, shard: str) -> list[Path]:
    """Copy one recorded input."""
    index = run.exemplar_index(shard)
    place = Path("results.zarr") / "exemplars" / cell.slug
    target = writer.path / place / str(index)
    if not target.exists():
        partial = target.with_name(f"{index}{PARTIAL}")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            shutil.copytree(run.path / place / str(index), partial)
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    for folder in (target.parent, target.parent.parent):
        if not (folder / arrays.META).is_file():
            (folder / arrays.META).write_bytes((run.path / place / arrays.META).read_bytes())
    return [file for file in target.rglob("*") if file.is_file()]
