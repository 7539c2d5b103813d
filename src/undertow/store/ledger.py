"""The state of every shard, one JSON line an event; a kill can tear the last line only.

Each line carries its own checksum, so damage is found, and a torn or damaged line counts as never
written: its shard is done again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast, get_args
from zlib import crc32

from pydantic import BaseModel, ConfigDict, Field

from undertow.errors import BadInput
from undertow.store.cell import Cell
from undertow.store.files import disk_errors, open_own, replace_bytes

__all__ = ["Ledger", "LedgerLine", "Shard", "State", "read_ledger"]

State: TypeAlias = Literal["pending", "running", "done", "failed"]
Shard: TypeAlias = int | str
"""A block of inputs by its number, or other work of a cell by name (``"exemplar:17"``)."""

_STATES: Final = get_args(State)


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """The last that is known of one shard.

    Args:
        state: pending, running, done or failed.
        at: when, seconds since 1970.
        seconds: how long it took.
        worker: who did it.
        traceback: what went wrong.
        tries: how often it was begun.
        facts: anything else that was told.
    """

    state: State
    at: float
    seconds: float | None = None
    worker: str | None = None
    traceback: str | None = None
    tries: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


class _Line(BaseModel):
    """A line as it is read: a cell's plan, its metadata, or what became of a shard."""

    model_config = ConfigDict(extra="allow", strict=True)

    cell: tuple[str, str, str | None] = Field(strict=False)
    frame: str | None = None
    plan: int | None = Field(None, ge=0, lt=2**31)
    shard: int | str | None = None
    state: State | None = None
    at: float = Field(0.0, ge=0, lt=2**36)
    seconds: float | None = Field(None, ge=0, lt=2**36)
    worker: str | None = None
    traceback: str | None = None


@dataclass(slots=True)
class _Told:
    """What the lines of a ledger say, line by line."""

    planned: dict[Cell, int] = field(default_factory=dict)
    frames: dict[Cell, str] = field(default_factory=dict)
    lines: int = 0
    records: dict[tuple[Cell, Shard], LedgerLine] = field(default_factory=dict)
    damaged: list[int] = field(default_factory=list)
    torn: bool = False

    def take(self, event: dict[str, Any]) -> None:
        line = _Line.model_validate(event)
        cell = Cell(*line.cell)
        if line.frame is not None:
            self.frames[cell] = line.frame
        elif line.plan is not None:
            self.planned[cell] = line.plan
        elif line.shard is None or line.state is None:
            raise ValueError("says nothing")
        else:
            before = self.records.get((cell, line.shard))
            tries = (before.tries if before else 0) + (line.state == "running")
            self.records[cell, line.shard] = LedgerLine(
                line.state, line.at, line.seconds, line.worker, line.traceback, tries,
                facts=line.model_extra or {},
            )  # fmt: skip


def _encode(event: Mapping[str, Any]) -> bytes:
    body = json.dumps(event, separators=(",", ":"), allow_nan=False)
    return f'{body[:-1]},"crc":"{crc32(body.encode()):08x}"}}\n'.encode()


def _decode(line: bytes) -> dict[str, Any]:
    event = json.loads(line)
    crc = event.pop("crc")
    body = json.dumps(event, separators=(",", ":"), allow_nan=False)
    if crc != f"{crc32(body.encode()):08x}":
        raise ValueError("checksum")
    return cast("dict[str, Any]", event)


def _read(data: bytes) -> _Told:
    told = _Told()
    lines = data.split(b"\n")
    told.torn = bool(lines.pop())
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        told.lines += 1
        try:
            told.take(_decode(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, BadInput):
            told.damaged.append(number)
    return told


def read_ledger(path: Path) -> _Told:
    """What a ledger says: shards ``planned``, ``records`` and numbers of ``damaged`` lines."""
    return _read(path.read_bytes() if path.is_file() else b"")


class Ledger:
    """A ledger open for writing. What was finished is on the disk before the call returns.

    Args:
        path: the file; it is made if absent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        data = path.read_bytes() if path.exists() else b""
        self._told = _read(data)
        with disk_errors(path):
            self._handle = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            if self._told.torn:  # a kill tore the last line; it was never said
                os.ftruncate(self._handle, data.rfind(b"\n") + 1)

    def _append(self, *events: Mapping[str, Any], sync: bool = True) -> None:
        lines = [_encode(event) for event in events]
        data = b"".join(lines)
        with disk_errors(self.path):
            size = os.fstat(self._handle).st_size
            try:
                if os.write(self._handle, data) != len(data):
                    raise OSError(28, "No space left on device")
                if sync:
                    os.fsync(self._handle)
            except OSError:
                os.ftruncate(self._handle, size)
                raise
        for line in lines:
            self._told.lines += 1
            self._told.take(_decode(line))

    def plan(self, cell: Cell, shards: int) -> None:
        """Say how many shards a cell will have, so that a reader knows what is missing."""
        self.plan_all({cell: shards})

    def plan_all(self, shards: Mapping[Cell, int]) -> None:
        """Say of several cells how many shards each will have, with one wait for the disk."""
        self._append(
            *(
                {"cell": [cell.model, cell.attack, cell.source], "plan": int(count)}
                for cell, count in shards.items()
                if self._told.planned.get(cell) != count
            )
        )

    def frame_all(self, frames: Mapping[Cell, str]) -> None:
        """Note the checksums of cells' metadata, so that a change is found."""
        self._append(
            *(
                {"cell": [cell.model, cell.attack, cell.source], "frame": crc}
                for cell, crc in frames.items()
                if self._told.frames.get(cell) != crc
            )
        )

    def record(self, cell: Cell, shard: Shard, state: State | str, **known: Any) -> None:
        """Write down what became of one cell's shard; as :meth:`record_all`."""
        self.record_all((cell,), shard, state, **known)

    def record_all(
        self,
        cells: Iterable[Cell],
        shard: Shard,
        state: State | str,
        *,
        seconds: float | None = None,
        worker: str | None = None,
        traceback: str | None = None,
        each: Mapping[Cell, Mapping[str, Any]] | None = None,
        **facts: Any,
    ) -> None:
        """Write down what became of a shard, of all the cells that it fills at once.

        ``running`` may be lost when the machine stops, since it changes nothing; everything else
        is on the disk when the call returns.

        Args:
            cells: its cells.
            shard: its number.
            state: pending, running, done or failed.
            seconds: how long it took.
            worker: who did it.
            traceback: what went wrong.
            each: facts that differ between the cells.
            facts: anything else, as JSON can hold it.

        Raises:
            BadInput: for an unknown state.
            Unavailable: if the disk is full; the ledger is as it was before.
        """
        if state not in _STATES:
            raise BadInput(f"unknown state '{state}' (allowed: {', '.join(_STATES)})")
        given = {"seconds": seconds, "worker": worker, "traceback": traceback, **facts}
        said = {
            "shard": shard,
            "state": state,
            "at": round(time.time(), 3),
            **{k: v for k, v in given.items() if v is not None},
        }
        own = each or {}
        events = [
            {"cell": [cell.model, cell.attack, cell.source], **said, **own.get(cell, {})}
            for cell in cells
        ]
        self._append(*events, sync=state != "running")

    def done(self, cell: Cell, shard: Shard) -> bool:
        """Whether nothing is left to do for this shard."""
        found = self._told.records.get((cell, shard))
        return found is not None and found.state == "done"

    @property
    def planned(self) -> Mapping[Cell, int]:
        """Shards a cell, as planned."""
        return self._told.planned

    @property
    def records(self) -> Mapping[tuple[Cell, Shard], LedgerLine]:
        """The last that was said of each shard."""
        return self._told.records

    @property
    def lines(self) -> int:
        """How many lines it has."""
        return self._told.lines

    @property
    def damaged(self) -> tuple[int, ...]:
        """Numbers of the lines that cannot be trusted; what they said counts as unsaid."""
        return tuple(self._told.damaged)

    def mend(self) -> None:
        """Leave out the lines that cannot be trusted."""
        if not self._told.damaged:
            return
        lines = self.path.read_bytes().split(b"\n")
        bad = set(self._told.damaged)
        kept = [line for number, line in enumerate(lines, start=1) if line and number not in bad]
        with disk_errors(self.path):
            replace_bytes(self.path, b"".join(line + b"\n" for line in kept))
            os.close(self._handle)
            self._handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._told.damaged.clear()
        self._told.lines = len(kept)

    @property
    def open(self) -> bool:
        """Whether it can be written to."""
        return self._handle >= 0

    def close(self) -> None:
        """Close the file; harmless when done twice."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
