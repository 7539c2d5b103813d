from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.errors import BadInput, Unavailable
from undertow.store import Cell, Ledger
from undertow.store import ledger as module
from undertow.store.ledger import read_ledger

A, B = Cell("m", "jsma"), Cell("m", "jsma", "other")


def _write(path: Path) -> None:
    ledger = Ledger(path)
    ledger.plan(A, 3)
    ledger.record(A, 0, "running", worker="w1")
    ledger.record(A, 0, "failed", traceback="line 1\nline 2 ✗", seconds=0.5)
    ledger.record(A, 0, "running")
    ledger.record(A, 0, "done", seconds=1.5, rows=12)
    ledger.record(B, "exemplar:17", "done")
    ledger.close()


def test_the_last_word_counts_and_tries_are_counted(tmp_path: Path) -> None:
    _write(tmp_path / "l")
    told = Ledger(tmp_path / "l")
    assert told.done(A, 0)
    assert not told.done(A, 1)
    assert told.done(B, "exemplar:17")
    record = told.records[A, 0]
    assert (record.tries, record.seconds, record.traceback, record.facts) == (
        2,
        1.5,
        None,
        {"rows": 12},
    )
    assert told.planned == {A: 3}
    told.close()


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(1, 2000))
def test_a_ledger_cut_anywhere_keeps_all_whole_lines_and_can_be_written_on(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "l"
    _write(path)
    data = path.read_bytes()
    kept = data[: min(cut, len(data))]
    path.write_bytes(kept)
    ledger = Ledger(path)
    assert ledger.damaged == ()
    ledger.record(B, 5, "done")
    ledger.close()
    again = read_ledger(path)
    assert again.damaged == []
    assert not again.torn
    assert again.records[B, 5].state == "done"
    assert path.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_and_its_line_counts_as_unsaid(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("flip") / "l"
    _write(path)
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 1 << bit
    before, after = read_ledger_of(path), data
    path.write_bytes(bytes(after))
    told = read_ledger(path)
    assert told.damaged or told.torn or bytes(after).count(b"\n") != 6
    for key, record in told.records.items():
        assert record.state in {r.state for r in history(before, key)}


def read_ledger_of(path: Path) -> bytes:
    return path.read_bytes()


def history(data: bytes, key: tuple[Cell, int | str]) -> list[module.LedgerLine]:
    """Every record that a prefix of the whole lines gives for a shard."""
    lines, found = data.splitlines(keepends=True), []
    for event in lines:
        told = module._read(event)
        if key in told.records:
            found.append(told.records[key])
    return found


def test_a_full_disk_leaves_the_ledger_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "l"
    ledger = Ledger(path)
    ledger.plan(A, 1)
    before = path.read_bytes()
    real = module.os.write
    monkeypatch.setattr(module.os, "write", lambda handle, data: real(handle, data[:7]))
    with pytest.raises(Unavailable, match="full"):
        ledger.record(A, 0, "done")
    assert path.read_bytes() == before
    assert not ledger.done(A, 0)
    monkeypatch.undo()
    ledger.record(A, 0, "done")
    ledger.close()
    assert read_ledger(path).records[A, 0].state == "done"


def test_an_unknown_state_is_refused_with_the_allowed_ones(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l")
    with pytest.raises(BadInput, match="allowed: pending, running, done, failed"):
        ledger.record(A, 0, "finished")
    ledger.close()
