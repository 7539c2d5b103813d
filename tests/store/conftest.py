"""A small cell, written as a study writes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from undertow.store import Cell, RunWriter, create_run, template
from undertow.testing.runs import arrays_of

TAPS = ("stem", "stage1", "stage2")
DEPTH = (0.1, 0.5, 1.0)
SPEC = {"models": ["good_init"], "data": {"name": "digits", "inputs": 10}, "seed": 3}
CELL = Cell("good_init", "jsma")


def rows(group: str, start: int, stop: int, salt: int = 0) -> xr.Dataset:
    """Rows of a group whose every number says which row, variable and cell it belongs to."""
    coords = {} if group == "attacks" else {"taps": TAPS, "depth": DEPTH}
    empty = template(group, samples=stop - start, classes=4, **coords)
    filled = {}
    for place, (name, array) in enumerate(empty.variables.items()):
        if "sample" in array.dims:
            at = np.arange(start, stop).reshape(-1, *[1] * (array.ndim - 1))
            value = np.broadcast_to(1000 * place + at + 100_000 * salt, array.shape)
            filled[name] = (
                array.dims,
                (value % 2 == 0) if array.dtype.kind == "b" else value.astype(array.dtype),
            )
    return empty.assign(filled)


def prepare(writer: RunWriter, cell: Cell, samples: int, shard: int) -> None:
    writer.ledger.plan(cell, -(-samples // shard))
    for group in ("profiles", "attacks", "class_information"):
        writer.prepare(group, cell, rows(group, 0, samples), shard)


def fill(writer: RunWriter, cell: Cell, shard: int, samples: int, size: int, salt: int = 0) -> None:
    start, stop = shard * size, min(samples, (shard + 1) * size)
    for group in ("profiles", "attacks", "class_information"):
        writer.write({(group, cell): arrays_of(rows(group, start, stop, salt))}, start)
    writer.ledger.record(cell, shard, "done", seconds=0.1, worker="test")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a run: cells of ``samples`` inputs in shards of ``size``."""

    def write(
        name: str = "run",
        *,
        cells: tuple[Cell, ...] = (CELL,),
        samples: int = 10,
        size: int = 4,
        done: int = 99,
    ) -> Path:
        with create_run(tmp_path / name, SPEC, {"seed": 3, "hashes": {"weights": "ab"}}) as writer:
            for salt, cell in enumerate(cells):
                prepare(writer, cell, samples, size)
                for shard in range(min(done, -(-samples // size))):
                    fill(writer, cell, shard, samples, size, salt)
        return tmp_path / name

    return write
