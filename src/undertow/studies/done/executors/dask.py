"""The workers of a Dask scheduler: one machine, SLURM, Kubernetes, a cloud."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Final

from undertow.errors import BadInput, Unavailable, UndertowError
from undertow.loading import needed
from undertow.studies.done.executors.job import Do, Job, Outcome, Task

__all__ = ["Dask"]

CONNECTING = 10
"""Seconds in which a scheduler must answer."""
_GONE: Final = "the Dask scheduler is gone; what was finished is kept"


@dataclass(frozen=True, slots=True)
class Dask:
    """The workers of a Dask scheduler.

    A worker that dies is the scheduler's business: it gives the task to another, and gives up when
    several have died of it (its setting ``allowed-failures``).

    Args:
        address: where the scheduler listens, for example ``tcp://10.0.0.1:8786``.
        patience: seconds to wait for the scheduler's first worker.
    """

    address: str
    patience: float = 300.0
    name: ClassVar[str] = "dask"

    def __post_init__(self) -> None:
        if "://" not in self.address:
            raise BadInput(
                f"a Dask scheduler's address looks like tcp://HOST:8786, got '{self.address}'"
            )

    @contextmanager
    def at_work(self, job: Job) -> Iterator[Do]:
        """Connect and tell the workers the job; see :class:`Executor`."""
        with _quiet():
            client = _connected(self.address)
            try:
                _tell(client, job, self.patience)
                yield lambda tasks: _do(client, job.key, tasks)
            finally:
                with suppress(Exception):  # a scheduler that is gone needs no farewell
                    client.unregister_worker_plugin(job.key)
                client.close(timeout=5)


@contextmanager
def _quiet() -> Iterator[None]:
    """Lost connections are told in one line of ours, not in tracebacks of Dask's log beside it."""
    log = logging.getLogger("distributed.client")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def _connected(address: str) -> Any:
    needed("a Dask cluster", "cluster", "distributed")
    from distributed import Client

    try:
        return Client(address, timeout=CONNECTING, set_as_default=False)
    except (OSError, ValueError) as problem:
        reason = str(problem).strip().splitlines()[0] if str(problem) else type(problem).__name__
        raise Unavailable(f"no Dask scheduler answers at '{address}' ({reason})") from None


def _tell(client: Any, job: Job, patience: float) -> None:
    """Give the job to every worker there is, and to those that come later."""
    from undertow.studies.done.executors.dask_worker import JobPlugin

    try:
        client.wait_for_workers(1, timeout=patience)
    except TimeoutError:
        raise Unavailable(f"the Dask scheduler has no workers (waited {patience:.0f} s)") from None
    try:
        client.register_plugin(JobPlugin(job), name=job.key)
    except UndertowError:
        raise
    except Exception as problem:
        raise Unavailable(
            f"the cluster's workers cannot take the job ({type(problem).__name__}: "
            f"{str(problem).splitlines()[0][:160]}); is this undertow installed on them?"
        ) from problem


def _do(client: Any, key: str, tasks: Iterable[Task]) -> Iterator[Outcome]:
    from distributed import as_completed
    from distributed.comm import CommClosedError

    from undertow.studies.done.executors.dask_worker import perform

    under_way: dict[Any, Task] = {}
    finished = as_completed(loop=client.loop)
    left = iter(tasks)
    try:
        while True:
            room = max(2, 2 * len(client.nthreads())) - len(under_way)
            for task in islice(left, max(room, 0)):
                future = client.submit(perform, key, task, pure=False)
                under_way[future] = task
                finished.add(future)
            if not under_way:
                return
            future = next(finished)
            yield _outcome(future, under_way.pop(future))
    except CommClosedError:
        raise Unavailable(_GONE) from None
    finally:
        if under_way:
            with suppress(Exception):
                client.cancel(list(under_way), force=True)


def _outcome(future: Any, task: Task) -> Outcome:
    if future.status == "finished":
        found: Outcome = future.result()
        return found
    if future.status in ("cancelled", "lost"):
        raise Unavailable(_GONE)
    problem = future.exception()
    if isinstance(problem, UndertowError):
        raise problem
    return Outcome(unit=task.unit, traceback=f"{type(problem).__name__}: {problem}")
