"""Who does a study's units: this process, local processes, or a Dask cluster.

What travels to a worker is names and numbers (:class:`Job`, :class:`Task`), and what comes back
(:class:`Outcome`) is arrays; models are loaded where they are used, once a process. Only the
process that runs the study writes its directory.
"""

from __future__ import annotations

from typing import Any, Final

from undertow.registry import Registry
from undertow.studies.done.executors.job import Executor, Job, Outcome, Results, Task

__all__ = ["EXECUTORS", "Executor", "Job", "Outcome", "Results", "Task"]

_HERE: Final = "undertow.studies.done.executors"

EXECUTORS: Final[Registry[Any]] = Registry("executor")
EXECUTORS.add("in_process", f"{_HERE}.work:InProcess", "one shard after the other, here")
EXECUTORS.add(
    "processes", f"{_HERE}.processes:Processes", "local processes of one thread each (`--workers`)"
)
EXECUTORS.add("dask", f"{_HERE}.dask:Dask", "the workers of a Dask scheduler (`--cluster`)")
