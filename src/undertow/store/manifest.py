"""What a run's manifest says: whose directory it is, and whether two runs are the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from undertow.errors import BadInput, Foreign, shown
from undertow.store.digests import seal
from undertow.store.files import PARTIAL
from undertow.store.schema import SCHEMA_VERSION

__all__ = [
    "FORMAT",
    "LOCK",
    "Asked",
    "as_json",
    "check_same",
    "differences",
    "held_by",
    "plain",
    "shaped",
]

FORMAT: Final = "undertow run"
"""What the manifest of a run says it is."""
LOCK: Final = ".lock"
"""The file that is locked while a process writes."""


class _Session(BaseModel):
    """One start of a run."""

    model_config = ConfigDict(extra="allow", strict=True)

    started: str = ""
    seconds: float = 0.0


class _Shape(BaseModel):
    """What the entries of a manifest that are read again look like; others may be beside them."""

    model_config = ConfigDict(extra="allow", strict=True)

    schema_version: int = Field(0, alias="schema")
    created: str = ""
    seed: int = 0
    lines: int = 0
    spec: dict[str, Any] = {}
    classes: list[str] = []
    inputs: list[int] = []
    unlabelled: list[int] = []
    called: dict[str, str] = {}
    files: dict[str, str] = {}
    hashes: dict[str, dict[str, str] | str] = {}
    versions: dict[str, str] = {}
    hardware: dict[str, Any] = {}
    strengths: dict[str, dict[str, dict[str, Any]]] = {}
    sessions: list[_Session] = []
    plugins: list[dict[str, Any]] = []
    merged: list[str] = []


class _AskedData(BaseModel):
    """Likewise of its data."""

    model_config = ConfigDict(extra="allow", strict=True)

    name: str = ""
    inputs: int = 0
    first: list[int] = []


class Asked(BaseModel):
    """What the entries of a study's spec that are read again look like."""

    model_config = ConfigDict(extra="allow", strict=True)

    name: str = ""
    models: list[str] = []
    data: _AskedData = _AskedData()
    attacks: list[Any] = []
    estimator: str = ""
    output: str | int | None = None


def shaped(told: Mapping[str, Any], file: Path, shape: type[BaseModel] = _Shape) -> None:
    """Refuse a manifest, or a spec, that was not written by us.

    Raises:
        Foreign: an entry is of another kind.
    """
    try:
        shape.model_validate(told)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(shown(str(part), 40) for part in first["loc"])
        raise Foreign(f"'{file}' is damaged: {where}: {first['msg']}") from None


def differences(before: Any, now: Any, key: str = "") -> list[str]:
    """Where two specs differ, one ``key: before → now`` each."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = [*before, *(k for k in now if k not in before)]
        return [
            line
            for k in keys
            for line in differences(before.get(k), now.get(k), f"{key}.{k}" if key else str(k))
        ]
    if before == now:
        return []
    return [f"{key or 'spec'}: {json.dumps(before, default=str)} → {json.dumps(now, default=str)}"]


def plain(value: Any) -> Any:
    """``value`` as JSON gives it back, so that specs compare equal after a round trip."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise BadInput(f"a spec and a manifest hold words and numbers only: {error}") from error


def as_json(value: Any) -> bytes:
    """A manifest as its file holds it."""
    return (json.dumps(seal(value), indent=2, allow_nan=False) + "\n").encode()


def held_by(path: Path) -> dict[str, Any] | None:
    """The manifest of a directory's run; ``None`` if it holds nothing but traces of ours.

    Raises:
        Foreign: it holds something else, or a damaged manifest.
    """
    if (path / "manifest.json").is_file():
        try:
            manifest = json.loads((path / "manifest.json").read_bytes())
        except (ValueError, RecursionError) as error:
            raise Foreign(f"'{path}/manifest.json' is damaged; choose another --out") from error
        if isinstance(manifest, dict) and manifest.get("format") == FORMAT:
            shaped(manifest, path / "manifest.json")
            return manifest
    others = [p.name for p in path.iterdir() if p.name != LOCK and not p.name.endswith(PARTIAL)]
    if others:
        raise Foreign(
            f"'{path}' holds files that are not an undertow run ({', '.join(sorted(others)[:3])}"
            f"{', …' if len(others) > 3 else ''}); nothing was changed, choose another --out"
        )
    return None


def check_same(path: Path, held: dict[str, Any], spec: Any, manifest: Any) -> None:
    """Refuse to go on with a run that is another, and say where.

    Raises:
        Foreign: it was written with another schema.
        BadInput: its spec, data or weights differ.
    """
    if held.get("schema") != SCHEMA_VERSION:
        raise Foreign(
            f"'{path}' was written with schema {held.get('schema')}, this undertow writes "
            f"{SCHEMA_VERSION}; "
            "choose another --out"
        )
    lines = differences(held.get("spec"), spec)
    before, now = held.get("hashes") or {}, manifest.get("hashes") or {}
    told = before.keys() & now.keys()
    lines += differences({k: before[k] for k in sorted(told)}, {k: now[k] for k in told}, "hashes")
    if lines:
        more = f" and {len(lines) - 6} more" if len(lines) > 6 else ""
        raise BadInput(
            f"'{path}' holds another run: {'; '.join(lines[:6])}{more}. "
            "Choose another --out, or ask for the same again"
        )
