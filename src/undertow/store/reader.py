"""A run read from disk: lazily, half-finished or whole, and without trusting who wrote it."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from pathlib import Path
from threading import RLock
from typing import Any, Final

import numpy as np
import xarray as xr

from undertow.errors import BadInput, Foreign, UnknownName, shown
from undertow.loading import home, is_folder
from undertow.prose import prose
from undertow.registry import HOMES, Look, registry, remember
from undertow.store import arrays, lazy
from undertow.store.answers import Answers
from undertow.store.cell import BENIGN, Cell
from undertow.store.check import Fault, check_run
from undertow.store.files import PARTIAL, disk_errors, inside, only_plain
from undertow.store.ledger import LedgerLine, Shard, read_ledger
from undertow.store.manifest import FORMAT, Asked, shaped
from undertow.store.plain_yaml import read_yaml
from undertow.store.schema import GROUPS, SCHEMA_VERSION

__all__ = ["Run", "State", "open_run"]


KEPT: Final = 64
"""Recorded inputs that a run keeps open: figures come back to the same ones."""


@dataclass(frozen=True, slots=True)
class State:
    """How far a cell is: shards planned, done and failed."""

    planned: int
    done: int
    failed: int

    @property
    def finished(self) -> bool:
        """Whether every planned shard is done."""
        return self.done >= self.planned > 0


class Run:
    """A run on disk; made by :func:`open_run`. Arrays are read when they are used.

    Args:
        path: the run's directory.
        manifest: what it says of itself.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest: Mapping[str, Any] = manifest
        self._results = path / "results.zarr"
        self._listed: dict[Cell, tuple[int, ...]] = {}
        self._read: OrderedDict[tuple[Cell, int], xr.Dataset] = OrderedDict()
        self._lock = RLock()

    @cached_property
    def plugins(self) -> tuple[Mapping[str, str], ...]:
        """What the run was made with beside what Undertow ships: kind, name, source, look."""
        told = self.manifest.get("plugins", ())
        found = [p for p in told if isinstance(p, dict)] if isinstance(told, list) else []
        keys = ("kind", "name", "source", "label", "color", "marker")
        plain = [{k: str(p.get(k, ""))[:300] for k in keys} for p in found]
        return tuple(p for p in plain if p["kind"] in HOMES and p["name"].isprintable())

    @property
    def absent(self) -> tuple[str, ...]:
        """Those of them that are not registered here, in words; results are read without them."""
        return tuple(
            f"{p['kind']} '{p['name']}' of {p['source']}"
            for p in self.plugins
            if p["name"] not in registry(p["kind"])
        )

    @cached_property
    def spec(self) -> Mapping[str, Any]:
        """What was asked."""
        file = inside(self.path, self.path / "spec.yaml")
        if not file.is_file():
            told: Mapping[str, Any] = self.manifest.get("spec", {})
            shaped(told, self.path / "manifest.json", Asked)
            return told
        try:
            found, _ = read_yaml(file.read_bytes(), str(file))
        except BadInput as problem:
            raise Foreign(f"'{file}' is damaged: {problem}") from None
        shaped(found, file, Asked)
        return found

    @cached_property
    def _told(self) -> Any:
        return read_ledger(inside(self.path, self.path / "ledger.jsonl"))

    @property
    def records(self) -> Mapping[tuple[Cell, Shard], LedgerLine]:
        """The last that the ledger says of each shard."""
        records: Mapping[tuple[Cell, Shard], LedgerLine] = self._told.records
        return records

    def _stored(self, group: str) -> dict[Cell, str]:
        """The cells of one group that have a complete header, and where they are."""
        folder = self._results / group
        if not folder.is_dir():
            return {}
        found = {}
        for place in sorted(inside(self.path, folder).iterdir()):
            if place.is_dir() and not place.name.endswith(PARTIAL):
                try:
                    cell = Cell.from_slug(place.name)
                except BadInput:
                    continue
                if group == "exemplars" or "cell" in arrays.read_attributes(
                    self._results, f"{group}/{place.name}"
                ):
                    found[cell] = f"{group}/{place.name}"
        return found

    @cached_property
    def _groups(self) -> dict[str, dict[Cell, str]]:
        return {group: self._stored(group) for group in GROUPS}

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, planned or stored: in the order of the plan, then by name."""
        stored = sorted({c for cells in self._groups.values() for c in cells}, key=lambda c: c.slug)
        return tuple(dict.fromkeys([*self._told.planned, *stored]))

    @property
    def models(self) -> tuple[str, ...]:
        """The models that infer, in the order of the cells."""
        return tuple(dict.fromkeys(cell.model for cell in self.cells))

    def benign(self, model: str) -> Cell:
        """The benign cell of a model."""
        return Cell(model, BENIGN)

    def has(self, group: str, cell: Cell) -> bool:
        """Whether a cell has anything in a group."""
        return cell in self._groups[group]

    def state(self, cell: Cell) -> State:
        """How far a cell is."""
        states = [r.state for (c, s), r in self.records.items() if c == cell and isinstance(s, int)]
        planned = max(self._told.planned.get(cell, 0), len(states))
        return State(planned, states.count("done"), states.count("failed"))

    def _open(self, group: str, cell: Cell) -> xr.Dataset:
        place = self._groups[group].get(cell)
        if place is None:
            raise UnknownName(
                f"cell with {group.replace('_', ' ')}",
                cell.name,
                (c.name for c in self._groups[group]),
            )
        dataset = lazy.read(self._results, place)
        shard = int(dataset.attrs.get("shard") or 1)
        done = {s for (c, s), r in self.records.items() if c == cell and r.state == "done"}
        rows = np.arange(dataset.sizes.get("sample", 0)) // shard
        return dataset.assign_coords(
            finished=("sample", np.isin(rows, [s for s in done if isinstance(s, int)]))
        )

    def profiles(self, cell: Cell) -> xr.Dataset:
        """IPs of every input (sample, tap); ``finished`` (sample) says which rows are there.

        Raises:
            UnknownName: the run has no profiles of this cell.
        """
        return self._open("profiles", cell)

    def attacks(self, cell: Cell) -> xr.Dataset:
        """Where the attack on every input ended (sample).

        Raises:
            UnknownName: the run has no such cell.
        """
        return self._open("attacks", cell)

    def class_information(self, cell: Cell) -> xr.Dataset:
        """Bits about each class (sample, tap, class) and the takeover tap (sample).

        Raises:
            UnknownName: the run has none of this cell.
        """
        return self._open("class_information", cell)

    def carriers(self, cell: Cell) -> xr.Dataset:
        """What the maps of each tap carry of the attack on every input (sample).

        Raises:
            UnknownName: the run has none of this cell.
        """
        return self._open("carriers", cell)

    def exemplars(self, cell: Cell) -> tuple[int, ...]:
        """Indices of the recorded inputs of a cell."""
        if cell not in self._listed:
            self._listed[cell] = self._exemplars(cell)
        return self._listed[cell]

    def _exemplars(self, cell: Cell) -> tuple[int, ...]:
        place = self._groups["exemplars"].get(cell)
        if place is None:
            return ()
        folder = inside(self.path, self._results / place)
        return tuple(
            sorted(int(p.name) for p in folder.iterdir() if p.is_dir() and p.name.isdigit())
        )

    def exemplar(self, cell: Cell, index: int) -> xr.Dataset:
        """One recorded input: iterates, profiles, class information, matrices.

        Raises:
            UnknownName: the input was not recorded.
        """
        have = self.exemplars(cell)
        if index not in have:
            raise UnknownName(f"recorded input of {cell.name}", index, map(str, have))
        key = cell, index
        with self._lock:
            if key not in self._read:
                place = f"{self._groups['exemplars'][cell]}/{index}"
                self._read[key] = lazy.read(self._results, place)
                while len(self._read) > KEPT:
                    self._read.popitem(last=False)
            self._read.move_to_end(key)
            return self._read[key].copy()

    def exemplar_index(self, shard: str) -> int:
        """The input that a shard named ``exemplar:N`` records: the N-th of the run's inputs."""
        inputs, place = self.manifest.get("inputs") or (), shard.removeprefix("exemplar:")
        number = int(place) if place.isdecimal() else -1
        return int(inputs[number]) if 0 <= number < len(inputs) else number

    def exemplar_shard(self, index: int) -> str:
        """The name of the shard that records an input."""
        inputs = list(self.manifest.get("inputs") or ())
        return f"exemplar:{inputs.index(index) if index in inputs else index}"

    @cached_property
    def answers(self) -> Answers | None:
        """The answers; ``None`` where none were written yet."""
        file = inside(self.path, self.path / "answers.json")
        return Answers.load(file.read_bytes()) if file.is_file() else None

    @property
    def missing(self) -> tuple[str, ...]:
        """What a half-finished run lacks, one sentence each; empty when nothing."""
        lines = []
        for cell in self.cells:
            state = self.state(cell)
            followed_only = state.planned == 0 and self.has("exemplars", cell)
            if not state.finished and not followed_only:
                failed = f", {state.failed} failed" if state.failed else ""
                lines.append(f"{cell.name}: {state.done} of {state.planned} shards done{failed}")
        for (cell, shard), record in self.records.items():
            if isinstance(shard, str) and record.state != "done":
                lines.append(f"{cell.name}: {shard} {record.state}")
        if not (self.path / "answers.json").is_file():
            lines.append("no answers yet")
        return tuple(lines)

    def check(self) -> tuple[Fault, ...]:
        """Read everything and name what is damaged: torn chunks, ledger lines, answers."""
        return check_run(self)

    def __repr__(self) -> str:
        state = "half-finished" if self.missing else "finished"
        return f"Run('{self.path}', {len(self.cells)} cells, {state})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(c.model)}</td><td>{escape(c.label)}</td><td>{s.done} / "
            f"{s.planned}</td></tr>"
            for c in self.cells
            for s in (self.state(c),)
        )
        verdicts = "".join(
            f"<li><b>{escape(q.id)}</b> {escape(q.question)} "
            f"<em>{escape(q.verdict or 'unanswered')}</em></li>"
            for q in (self.answers.questions if self.answers else ())
        )
        told = "".join(
            f"<p>{escape(e.input)}: {escape(prose(e.sentence))}</p>"
            for e in (self.answers.explanations[:6] if self.answers else ())
        )
        return (
            f"<div><p><b>undertow run</b> {escape(str(self.path))}</p>{told}<ul>{verdicts}</ul>"
            f"<table><thead><tr><th>model</th><th>attack</th><th>shards</th></tr></thead><tbody>{rows}</tbody></table></div>"
        )


def look_of(plugin: Mapping[str, str]) -> Look:
    """The look that a run kept of a plugin, part by part, as far as it is one."""
    look = Look()
    for part in ("label", "color", "marker"):
        with suppress(BadInput):
            look = replace(look, **{part: plugin[part]})
    return look


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open a run's directory for reading.

    Args:
        path: the directory.

    Raises:
        BadInput: there is no such directory.
        Foreign: it is not a run, or one of a newer undertow.
    """
    folder = home(path)
    if not is_folder(path):
        raise BadInput(f"there is no run at '{shown(str(folder), 300)}'")
    folder = folder.resolve()
    if not os.path.lexists(folder / "manifest.json"):
        raise Foreign(f"'{folder}' is not an undertow run (no manifest.json of one)")
    with disk_errors(folder):
        only_plain(folder)
    file = inside(folder, folder / "manifest.json")
    try:
        manifest = json.loads(file.read_bytes()) if file.is_file() else None
    except (ValueError, RecursionError) as error:
        raise Foreign(f"'{file}' is damaged") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise Foreign(f"'{folder}' is not an undertow run (no manifest.json of one)")
    shaped(manifest, file)
    results = inside(folder, folder / "results.zarr")
    said = arrays.read_attributes(results) if results.is_dir() else {}
    for version in (manifest.get("schema"), said.get("schema", SCHEMA_VERSION)):
        if not isinstance(version, int) or version > SCHEMA_VERSION:
            raise Foreign(
                f"'{folder}' was written by a newer undertow (schema {version}, "
                f"this one reads up to {SCHEMA_VERSION}); upgrade undertow"
            )
    run = Run(folder, manifest)
    for plugin in run.plugins:
        remember(plugin["kind"], plugin["name"], look_of(plugin))
    return run
