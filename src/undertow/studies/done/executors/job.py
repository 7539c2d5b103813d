"""What travels between the process that runs a study and those that work on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import xarray as xr
from numpy.typing import NDArray

from undertow.store import Cell
from undertow.studies.asked.plan import Unit

__all__ = ["Do", "Executor", "Job", "Outcome", "Results", "Task"]

Results: TypeAlias = Mapping[tuple[str, Cell], Mapping[str, NDArray[Any]]]
"""What a shard fills: arrays by name for each group and cell, one row an input."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """A study as a worker needs it to build its workshop.

    Args:
        key: tells the jobs of one process apart.
        spec: the study, as plain data.
        index: its inputs, by place in the data set, (sample,).
        strengths: the settled settings of each attack.
        readers: the class readers of each model, as arrays, so that all workers have the same.
        hashes: of data and weights; a worker that has others refuses.
        versions: of the packages that compute; a worker that has others refuses.
        device: where to compute.
        data_dir: where the data set lies, if not in the cache.
    """

    key: str
    spec: Mapping[str, Any]
    index: NDArray[Any]
    strengths: Mapping[str, Any]
    readers: Mapping[str, Any]
    hashes: Mapping[str, Any]
    versions: Mapping[str, str]
    device: str = "cpu"
    data_dir: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """One unit to do.

    Args:
        unit: what to fill.
        benign_std: of an exemplar: standard deviation of each profile over benign inputs, (tap,).
        most: inputs to work on at once; ``None`` for the whole shard, as long as memory allows.
        lost: workers that have died of it.
    """

    unit: Unit
    benign_std: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    most: int | None = None
    lost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What became of a unit.

    Args:
        unit: which one.
        results: what a shard fills; nothing if it failed.
        followed: of an exemplar, a dataset for each cell.
        traceback: why it failed; ``None`` if it did not.
        seconds: how long it took.
        worker: who did it: machine and process.
        facts: what else the ledger shall say.
    """

    unit: Unit
    results: Results = field(default_factory=dict)
    followed: Mapping[Cell, xr.Dataset] = field(default_factory=dict)
    traceback: str | None = None
    seconds: float = 0.0
    worker: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


Do: TypeAlias = Callable[[Iterable[Task]], Iterator[Outcome]]
"""Takes tasks, gives outcomes as they come."""


@runtime_checkable
class Executor(Protocol):
    """Does tasks, in any order, with a bounded number of them under way.

    Tasks are taken from the iterable only when there is somebody to do them. Every task has
    exactly one outcome; one that fails, or whose worker dies again and again, has a traceback.
    """

    name: ClassVar[str]

    def at_work(self, job: Job) -> AbstractContextManager[Do]:
        """Get ready; inside, call the function that this gives. On leaving, nothing is left behind.

        Raises:
            UndertowError: if nobody can work on the job, and why.
        """
        ...
