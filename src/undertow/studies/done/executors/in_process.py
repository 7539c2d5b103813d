"""One task after the other in this process, with all of its threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from undertow.studies.done.executors import work
from undertow.studies.done.executors.job import Do, Job, Outcome, Task

__all__ = ["InProcess"]


@dataclass(frozen=True, slots=True)
class InProcess:
    """One shard after the other, in this process."""

    name: ClassVar[str] = "in_process"

    @contextmanager
    def at_work(self, job: Job) -> Iterator[Do]:
        """Work here; see :class:`~undertow.studies.done.executors.Executor`."""
        work.accept(job)

        def do(tasks: Iterable[Task]) -> Iterator[Outcome]:
            return (work.attempt(job, task) for task in tasks)

        try:
            yield do
        finally:
            work.forget(job.key)
