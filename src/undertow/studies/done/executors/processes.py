"""Local processes of one thread each. One that dies is replaced, and its task is tried again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, ClassVar, Final

from undertow.errors import BadInput, Unavailable
from undertow.studies.done.executors.child import serve
from undertow.studies.done.executors.job import Do, Job, Outcome, Task

__all__ = ["Processes"]

_ONE_THREAD: Final = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Processes:
    """Local processes of one thread each.

    Args:
        workers: how many.
        tries: how often a task whose worker dies is begun before it counts as failed: again as it
            was, for the same bits; from the second death on with half as many inputs at once,
            since the system kills what takes its memory.
    """

    workers: int = 2
    tries: int = 4
    name: ClassVar[str] = "processes"

    def __post_init__(self) -> None:
        if self.workers < 1 or self.tries < 1:
            raise BadInput(f"workers and tries are at least 1, got {self.workers}, {self.tries}")

    @contextmanager
    def at_work(self, job: Job) -> Iterator[Do]:
        """Start the processes; see :class:`~undertow.studies.done.executors.Executor`."""
        crew = _Crew(job, self.tries)
        try:
            crew.hire(self.workers)
            yield crew.do
        finally:
            crew.dismiss()


@dataclass(slots=True, eq=False)
class _Hand:
    """One worker process, and what it is doing."""

    process: SpawnProcess
    pipe: Connection
    ready: bool = False
    task: Task | None = None


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Children inherit one thread, and do not hear Ctrl-C while they import."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@dataclass(slots=True, eq=False)
class _Crew:
    """The processes of one job."""

    job: Job
    tries: int
    hands: list[_Hand] = field(default_factory=list)
    stillborn: int = 0

    def hire(self, count: int) -> None:
        """Start so many processes more."""
        context = multiprocessing.get_context("spawn")
        for _ in range(count):
            mine, its = context.Pipe()
            process = context.Process(target=serve, args=(its,), daemon=True)
            with _quiet_start():
                process.start()
                self.hands.append(_Hand(process, mine))
            its.close()
            with suppress(OSError):  # one that died already is found out when it is listened to
                mine.send(self.job)

    def dismiss(self) -> None:
        """End every process now; they hold nothing that must be let go of."""
        for hand in self.hands:
            hand.process.kill()
        for hand in self.hands:
            hand.process.join()
            hand.pipe.close()
        self.hands.clear()

    def do(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Hand tasks out as hands become free; see :class:`Executor`."""
        again: deque[Task] = deque()
        left = iter(tasks)
        while True:
            self._hand_out(again, left)
            if not any(hand.task for hand in self.hands) and any(h.ready for h in self.hands):
                return
            for outcome in self._listen(again):
                # Whoever is free gets its next task before this outcome is written.
                self._hand_out(again, left)
                yield outcome

    def _hand_out(self, again: deque[Task], left: Iterator[Task]) -> None:
        for hand in self.hands:
            if hand.ready and hand.task is None:
                self._give(hand, again.popleft() if again else next(left, None))

    def _give(self, hand: _Hand, task: Task | None) -> None:
        if task is not None:
            hand.task = task
            with suppress(OSError):  # dead: found out when it is listened to
                hand.pipe.send(task)

    def _listen(self, again: deque[Task]) -> list[Outcome]:
        """Wait until somebody says something, or dies; outcomes of what is finished."""
        pipes = {hand.pipe: hand for hand in self.hands if hand.task or not hand.ready}
        outcomes = []
        for pipe in wait(list(pipes)):
            hand = pipes[pipe]  # type: ignore[index]
            try:
                kind, content = hand.pipe.recv()
            except (EOFError, OSError):
                outcome = self._replaced(hand, again)
            else:
                outcome = self._heard(hand, kind, content)
            outcomes += [outcome] if outcome else []
        return outcomes

    def _heard(self, hand: _Hand, kind: str, content: Any) -> Outcome | None:
        if kind == "refused":
            raise content
        if kind == "broken":
            raise Unavailable(f"a worker process broke: {content.strip().splitlines()[-1]}")
        if kind == "ready":
            hand.ready, self.stillborn = True, 0
            return None
        task, hand.task = hand.task, None
        outcome: Outcome = content
        if task is None or not task.lost:
            return outcome
        return replace(outcome, facts={**outcome.facts, "workers_lost": task.lost})

    def _replaced(self, hand: _Hand, again: deque[Task]) -> Outcome | None:
        """Hire somebody in a dead one's place; its task is tried again, or given up."""
        hand.process.join()
        hand.pipe.close()
        self.hands.remove(hand)
        how = _how(hand.process.exitcode)
        if not hand.ready:
            self.stillborn += 1
            if self.stillborn > self.tries:
                raise Unavailable(f"worker processes end before they are ready ({how}){_hint()}")
        self.hire(1)
        task = hand.task
        if task is None:
            return None
        lost = task.lost + 1
        if lost < self.tries:
            again.append(replace(task, lost=lost, most=self._at_once(task, lost)))
            return None
        words = f"the worker process that did this shard ended ({how}), {lost} times in a row"
        return Outcome(unit=task.unit, traceback=words, facts={"workers_lost": lost})

    def _at_once(self, task: Task, lost: int) -> int | None:
        """Inputs at once after so many deaths: as before the first time, then half as many."""
        if lost == 1:
            return task.most
        # One input alone is the last resort, since it is computed by other kernels.
        least = 2 if lost < self.tries - 1 else task.unit.least
        return max(least, (task.most or task.unit.stop - task.unit.start) // 2)


def _how(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    known = {s.value: s.name for s in signal.Signals}
    return f"killed by {known.get(-code, f'signal {-code}')}"


def _hint() -> str:
    main = sys.modules.get("__main__")
    if getattr(main, "__file__", None) and getattr(main, "__spec__", None) is None:
        return '; in a script, call undertow under `if __name__ == "__main__":`'
    return ""
