"""Every entry of every small file of a run, of another kind: used as it is, or told in one line."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from undertow.cli import run as command
from undertow.errors import UndertowError
from undertow.store import create_run, open_run
from undertow.store.digests import seal
from undertow.store.export import table
from undertow.store.ledger import _encode
from undertow.studies.asked.spec import StudySpec
from undertow.studies.run import study
from undertow.viewer.source import open_source

SPEC = {
    "name": "small", "models": ["digits_cnn"], "data": {"name": "digits", "inputs": 4},
    "attacks": [{"name": "fgsm", "settings": {"epsilon": 0.2}, "control": ["transplant"]}],
    "readers": 100, "exemplars": 1, "shard": 2, "questions": ["q1"], "taps": ["blocks.1"],
}  # fmt: skip
OTHERS = (None, "x", -1, 1e308, True, [], {}, [[]], {"x": 1})
"""What stands in an entry's place."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    study(StudySpec(**SPEC), out=out)  # type: ignore[arg-type]
    return out


def _places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every entry, of a list the first."""
    yield above
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value[:1]):
            yield from _places(one, (*above, key))


def _with(value: Any, place: tuple[Any, ...], other: Any) -> Any:
    if not place:
        return other
    changed = copy.deepcopy(value)
    at = changed
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = other
    return changed


def _manifest(value: Any) -> bytes:
    """With a right checksum: it is a stranger's, not damaged by chance."""
    return json.dumps(seal(value) if isinstance(value, dict) else value).encode()


def _line(value: Any) -> bytes:
    if not isinstance(value, dict):
        return json.dumps(value).encode() + b"\n"
    return _encode({k: v for k, v in value.items() if k != "crc"})


def _variants(file: Path) -> Iterator[tuple[tuple[Any, ...], Callable[[Any], bytes]]]:
    """Every entry of a file, and what the file holds with something else there."""
    data = file.read_bytes()
    if file.suffix == ".jsonl":
        lines = data.splitlines(keepends=True)
        kinds = {tuple(json.loads(line)): k for k, line in enumerate(lines)}  # one of each kind
        for number in kinds.values():
            said = json.loads(lines[number])
            for place in _places(said):

                def build(
                    other: Any, number: int = number, said: Any = said, at: Any = place
                ) -> bytes:
                    new = _line(_with(said, at, other))
                    return b"".join([*lines[:number], new, *lines[number + 1 :]])

                yield (number, *place), build
        return
    said = yaml.safe_load(data) if file.suffix == ".yaml" else json.loads(data)
    write = {"manifest.json": _manifest, "spec.yaml": lambda v: yaml.safe_dump(v).encode()}.get(
        file.name, lambda v: json.dumps(v).encode()
    )
    for place in _places(said):
        yield place, lambda other, at=place: write(_with(said, at, other))


def _open(run: Path) -> None:
    found = open_run(run)
    _ = found._repr_html_(), found.missing, found.absent, found.spec, found.models
    for cell in found.cells:
        found.state(cell)
        for index in found.exemplars(cell):
            found.exemplar(cell, index)


def _read(run: Path) -> None:
    table(open_run(run), "profiles")


def _view(run: Path) -> None:
    source = open_source(run)
    source.warm()
    _ = source.name, source.classes


def _go_on(run: Path) -> None:
    with create_run(run, StudySpec(**SPEC).plain(), {"hashes": {}}) as writer:  # type: ignore[arg-type]
        writer.update_manifest(lines=0)


def _call(*words: str) -> Callable[[Path], None]:
    def called(run: Path) -> None:
        assert command([word.format(run=run) for word in words]) in (0, 1, 2)

    return called


QUICK = (_open, _view, _call("runs", "show", "{run}"), _call("runs", "list", "{run}/.."), _go_on)
SLOW = (
    _read, _call("runs", "check", "{run}"), _call("report", "{run}", "--out", "{run}/../r.html"),
    _call("export", "{run}", "--out", "{run}/../export"), _call("runs", "answer", "{run}"),
)  # fmt: skip


def _raw(
    whole: Path, run: Path, name: str, uses: Any, others: int, every: int = 1
) -> tuple[int, list[str]]:
    """How much was tried, and what ended in something else than an error of ours."""
    shutil.copytree(whole, run)
    held = {p: p.read_bytes() for p in run.iterdir() if p.is_file()}
    tried, raw = 0, []
    for number, (place, build) in list(enumerate(_variants(run / name)))[::every]:
        for k in range(others):
            other = OTHERS[(number + k) % len(OTHERS)]
            data = build(other)
            for use in uses:
                (run / name).write_bytes(data)
                tried += 1
                try:
                    use(run)
                except UndertowError as problem:
                    raw += [f"{place} = {other!r}: too long"] if len(str(problem)) > 999 else []
                except Exception as problem:
                    raw.append(f"{place} = {other!r}: {type(problem).__name__}: {problem}"[:300])
                for path, before in held.items():
                    path.write_bytes(before)
    return tried, raw


def _small(run: Path) -> list[str]:
    """The small files, and one of each kind of metadata of the arrays."""
    results = run / "results.zarr"
    group = next(p for p in sorted((results / "profiles").iterdir()) if p.is_dir())
    array = next(p for p in sorted(group.iterdir()) if p.is_dir())
    metadata = [p / "zarr.json" for p in (results, results / "profiles", group, array)]
    names = [str(p.relative_to(run)) for p in metadata]
    return ["manifest.json", "ledger.jsonl", "spec.yaml", "answers.json", *names]


def test_entries_of_another_kind_are_no_raw_errors(whole: Path, tmp_path: Path) -> None:
    """Entries once, each with another of the values in its place; of those of answers a part."""
    found = {}
    for name in _small(whole):
        run = tmp_path / name.replace("/", "-") / "run"
        every = {"answers.json": 60, "manifest.json": 7}.get(name, 4)
        tried, found[name] = _raw(whole, run, name, QUICK, others=1, every=every)
        assert tried
    assert {name: raw for name, raw in found.items() if raw} == {}


@pytest.mark.slow
@pytest.mark.parametrize("place", range(8))
def test_entries_of_every_other_kind_are_no_raw_errors_in_any_command(
    place: int, whole: Path, tmp_path: Path
) -> None:
    name = _small(whole)[place]
    few = 2 if name == "answers.json" else 4
    _, raw = _raw(whole, tmp_path / "run", name, (*QUICK, *SLOW), others=few)
    assert raw == []
