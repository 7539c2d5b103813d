"""What runs on the workers of a Dask cluster."""

from __future__ import annotations

import time
from typing import Any

from distributed import Reschedule, WorkerPlugin

from undertow.studies.done.executors import work
from undertow.studies.done.executors.job import Job, Outcome, Task

__all__ = ["JobPlugin", "perform"]

_jobs: dict[str, Job] = {}
"""The jobs that this process was told."""


class JobPlugin(WorkerPlugin):  # type: ignore[misc]
    """Tells a job to every worker process, also to those that come later, and takes it back.

    Args:
        job: the job.
    """

    def __init__(self, job: Job) -> None:
        self.job = job

    def setup(self, worker: Any) -> None:
        """Called on a worker that is told of the job."""
        _jobs[self.job.key] = self.job

    def teardown(self, worker: Any) -> None:
        """Called when the run is over."""
        _jobs.pop(self.job.key, None)
        work.forget(self.job.key)


def perform(key: str, task: Task) -> Outcome:
    """Do one task of a job that the plugin told.

    Raises:
        UndertowError: if this worker cannot work on the job.
    """
    job = _jobs.get(key)
    if job is None:  # the worker came a moment ago, and its plugins are on their way
        time.sleep(0.2)
        raise Reschedule
    return work.attempt(job, task)
