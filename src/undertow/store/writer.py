"""A run directory open for writing, by one process at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias
from uuid import uuid4

import xarray as xr
import yaml
from numpy.typing import NDArray

from undertow.errors import BadInput, Foreign, Unavailable
from undertow.loading import home
from undertow.store import arrays
from undertow.store.answers import Answers
from undertow.store.cell import Cell
from undertow.store.chunks import ArrayLayout, group_json
from undertow.store.digests import digest, digest_bytes, frame_files, shard_files
from undertow.store.files import PARTIAL, Lock, disk_errors, flush, only_plain, replace_bytes, sweep
from undertow.store.ledger import Ledger, Shard
from undertow.store.manifest import FORMAT, LOCK, as_json, check_same, held_by, plain
from undertow.store.schema import GROUPS, SCHEMA_VERSION, validate

__all__ = ["RunWriter", "create_run"]

Rows: TypeAlias = Mapping[str, NDArray[Any]]
"""Arrays by name, one row an input each."""


class RunWriter:
    """Writes a run; made by :func:`create_run`. A context manager, which lets go of the lock.

    Args:
        path: the run's directory.
        lock: held until :meth:`close`.
        manifest: what the directory's manifest says.
        resumed: whether the directory held this run already.
        above: folders that were made for it, the nearest first.
    """

    def __init__(
        self,
        path: Path,
        lock: Lock,
        manifest: dict[str, Any],
        *,
        resumed: bool,
        above: Sequence[Path] = (),
    ) -> None:
        self.path = path
        self._above = above
        self.resumed = resumed
        self._lock = lock
        self._manifest = manifest
        self._results = path / "results.zarr"
        with disk_errors(path):
            sweep(path)
            for left in self._results.glob(f"exemplars/*/*{PARTIAL}"):
                shutil.rmtree(left)
            if arrays.read_attributes(self._results).get("schema") != SCHEMA_VERSION:
                self._results.mkdir(exist_ok=True)
                root = group_json({"schema": SCHEMA_VERSION, "format": FORMAT})
                replace_bytes(self._results / "zarr.json", root)
        self._layouts: dict[str, dict[str, ArrayLayout]] = {}
        self.ledger = Ledger(path / "ledger.jsonl")

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let another process write; harmless when done twice."""
        if self.ledger.open and self._manifest.get("lines") != self.ledger.lines:
            with suppress(Unavailable, OSError):  # a full disk: fewer are told than there are
                self.update_manifest(lines=self.ledger.lines)
        self.ledger.close()
        self._lock.release()

    def take_back(self) -> None:
        """Remove a run that this writer made, so that a corrected one may take its place.

        A run that was here before stays.
        """
        self.close()
        if not self.resumed:
            with disk_errors(self.path):
                shutil.rmtree(self.path)
            with suppress(OSError):  # others may have come
                for folder in self._above:
                    folder.rmdir()

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The manifest as it is on the disk."""
        return self._manifest

    def update_manifest(self, **entries: Any) -> None:
        """Add to the manifest, or replace entries of it."""
        self._manifest = {**self._manifest, **plain(entries)}
        with disk_errors(self.path):
            replace_bytes(self.path / "manifest.json", as_json(self._manifest))

    def prepare(self, group: str, cell: Cell, template: xr.Dataset, shard: int) -> None:
        """Make room for a cell; when it is there already, make sure that it is the same.

        Args:
            group: ``profiles``, ``attacks`` or ``class_information``.
            cell: the cell.
            template: a dataset with the whole sample axis (:func:`undertow.store.template`);
                its values along ``sample`` are not read. Attributes are kept.
            shard: inputs in a shard; ``write`` starts at multiples of it.

        Raises:
            BadInput: the template is not what the schema says, or differs from what is there.
        """
        validate(group, template)
        if shard < 1:
            raise BadInput(f"a shard holds at least 1 input, got {shard}")
        units = {n: {"unit": v.unit, "doc": v.doc} for n, v in GROUPS[group].variables.items()}
        for name in template.variables:
            template[name].attrs = units.get(str(name).partition("@")[0], {})
        said = {**plain(dict(template.attrs)), "cell": [cell.model, cell.attack, cell.source]}
        path = f"{group}/{cell.slug}"
        with disk_errors(self.path):
            self._layouts[path] = arrays.create(
                self._results, path, template, chunk=shard, attributes=said
            )

    def write(self, parts: Mapping[tuple[str, Cell], Rows], start: int) -> None:
        """Write one shard, or several whole ones; on the disk when the call returns.

        Args:
            parts: by group and cell, every array of the template along ``sample`` by its name; the
                same rows of all of them.
            start: the first row's place on the cells' sample axis.

        Raises:
            BadInput: rows do not fit what was prepared, or cut across shards.
            Unavailable: the disk is full.
        """
        files: list[Path] = []
        with disk_errors(self.path):
            for (group, cell), rows in parts.items():
                path = f"{group}/{cell.slug}"
                files += arrays.write(
                    self._results, path, rows, start, self._prepared(path, group, cell)
                )
            flush([*files, *{f.parent for f in files}])

    def _prepared(self, path: str, group: str, cell: Cell) -> dict[str, ArrayLayout]:
        """The layout of a group; known since it was prepared, or read from the disk once."""
        if path not in self._layouts:
            if "cell" not in arrays.read_attributes(self._results, path):
                raise BadInput(f"{group} of cell '{cell.name}' was not prepared")
            self._layouts[path] = arrays.layouts(self._results, path)
        return self._layouts[path]

    def exemplar(self, cell: Cell, index: int, dataset: xr.Dataset) -> None:
        """Write one recorded input, whole or not at all; an earlier one is replaced.

        Args:
            cell: the cell.
            index: the input's index in the data set.
            dataset: as the schema of ``exemplars`` says.
        """
        validate("exemplars", dataset)
        place = self._results / "exemplars" / cell.slug
        partial = f"exemplars/{cell.slug}/{index}.{uuid4().hex}{PARTIAL}"
        said = {
            **plain(dict(dataset.attrs)),
            "cell": [cell.model, cell.attack, cell.source],
            "index": int(index),
        }
        with disk_errors(self.path):
            try:
                arrays.create(self._results, partial, dataset, chunk=None, attributes=said)
                flush((self._results / partial).rglob("*"))
                final = place / str(int(index))
                if final.exists():
                    final.rename(place / f"{final.name}.{uuid4().hex}{PARTIAL}")
                (self._results / partial).rename(final)
                flush([place])
            finally:
                for left in place.glob(f"{int(index)}.*{PARTIAL}"):
                    shutil.rmtree(left, ignore_errors=True)

    def answers(self, answers: Answers) -> None:
        """Write ``answers.json``."""
        data = answers.dump().encode()
        with disk_errors(self.path):
            replace_bytes(self.path / "answers.json", data)
        self.update_manifest(
            files={**self._manifest.get("files", {}), "answers.json": digest_bytes(data)}
        )

    def framed(self, cells: Iterable[Cell]) -> None:
        """Note the metadata of cells as they were prepared."""
        self.ledger.frame_all(
            {c: digest(self._results, frame_files(self._results, c)) for c in cells}
        )

    def finish(
        self, cells: Iterable[Cell], shard: Shard, *, index: int | None = None, **told: Any
    ) -> None:
        """Note that a shard is done, of all cells that it fills, with checksums of its files.

        Args:
            cells: its cells.
            shard: its number, or the name of a recorded input.
            index: that input's index in the data set.
            told: as for :meth:`Ledger.record_all`.
        """
        cells = tuple(cells)
        each = {
            cell: {"files": digest(self._results, shard_files(self._results, cell, shard, index))}
            for cell in cells
        }
        self.ledger.record_all(cells, shard, "done", each=each, **told)

    def done(self, cell: Cell, shard: Shard) -> bool:
        """Whether nothing is left to do for this shard."""
        return self.ledger.done(cell, shard)

    def repair(self) -> list[str]:
        """Have damaged shards done again: what :meth:`Run.check` finds is set back to pending.

        Returns:
            One sentence for each fault found.
        """
        from undertow.store.reader import open_run

        faults = open_run(self.path).check()
        for fault in faults:
            if fault.file is not None:
                with suppress(FileNotFoundError):
                    shutil.rmtree(fault.file) if fault.file.is_dir() else fault.file.unlink()
            if fault.cell is not None and fault.shard is not None:
                self.ledger.record(fault.cell, fault.shard, "pending", reason=fault.words)
        self.ledger.mend()
        self.update_manifest(lines=self.ledger.lines)
        return [fault.words for fault in faults]


def create_run(
    path: str | os.PathLike[str], spec: Mapping[str, Any], manifest: Mapping[str, Any]
) -> RunWriter:
    """Make a run's directory, or go on with the run that it holds.

    Args:
        path: the directory; made if absent, with its parents.
        spec: what was asked, as JSON can hold it. How it is computed (workers, device) does not
            belong here: it does not change the results.
        manifest: seed, versions, hashes, hardware, times, classes, … Those of ``hashes`` that
            are told again must be the same when a run goes on; the rest is kept from the first
            time, and every start is noted under ``sessions``.

    Raises:
        Foreign: the directory holds something else; nothing is changed.
        BadInput: it holds a run with another spec (the message says where they differ).
        Unavailable: it cannot be written, or another process is writing it.
    """
    folder = home(path)
    asked, told = plain(spec), plain(manifest)
    with disk_errors(folder):
        above = [place for place in folder.parents if not place.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(folder / "manifest.json"):
            held_by(folder)  # a foreign directory is not even given a lock file
        only_plain(folder.resolve())
        held_by(folder)
        lock = Lock(folder / LOCK)
    try:
        held = held_by(folder)
        if held is not None:
            check_same(folder, held, asked, told)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        base = held or {
            "format": FORMAT,
            "schema": SCHEMA_VERSION,
            "created": now,
            **told,
            "spec": asked,
        }
        session = {"started": now, "pid": os.getpid()}
        if told.get("versions") != base.get("versions"):
            session["versions"] = told.get("versions")
        text = yaml.safe_dump(asked, sort_keys=False, allow_unicode=True).encode()
        base["files"] = {**base.get("files", {}), "spec.yaml": digest_bytes(text)}
        base["sessions"] = [*base.get("sessions", []), session]
        with disk_errors(folder):
            replace_bytes(folder / "manifest.json", as_json(base))
            replace_bytes(folder / "spec.yaml", text)
        return RunWriter(folder, lock, base, resumed=held is not None, above=above)
    except (BadInput, Foreign, Unavailable, OSError):
        lock.release()
        raise
