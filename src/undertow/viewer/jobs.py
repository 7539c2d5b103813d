"""Live attacks: one at a time, in a thread of its own, stopped when asked to."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any, Final, Literal, TypeAlias
from uuid import uuid4

from undertow.errors import BadInput, UndertowError
from undertow.viewer.path import Path
from undertow.viewer.stage import stage

__all__ = ["Jobs", "LiveAttack", "State", "Stopped"]

State: TypeAlias = Literal["running", "done", "stopped", "failed"]
SECONDS: Final = 600.0
KEPT: Final = 4


class Stopped(Exception):
    """Raised inside an attack that is to end."""


@dataclass(eq=False)
class LiveAttack:
    """One attack.

    Args:
        id: names it in the browser.
        words: what it does at the moment.
        state: whether it still runs.
        path: what has been recorded so far.
        version: raised whenever ``path`` is replaced.
    """

    id: str = field(default_factory=lambda: uuid4().hex)
    words: str = "Loading the model"
    state: State = "running"
    path: Path | None = None
    version: int = 0
    begun: float = field(default_factory=time.monotonic)
    ended: float | None = None
    _stop: Event = field(default_factory=Event)

    def stop(self) -> None:
        """Ask it to end at its next step."""
        self._stop.set()

    def check(self) -> None:
        """Called between steps.

        Raises:
            Stopped: if it was asked to end, or has run for too long.
        """
        if self._stop.is_set() or time.monotonic() - self.begun > SECONDS:
            raise Stopped

    def show(self, path: Path, words: str) -> None:
        """Replace what is shown."""
        self.path, self.words = path, words
        self.version += 1

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return (self.ended or time.monotonic()) - self.begun

    def payload(self) -> dict[str, Any]:
        """The trajectory so far, for the stage."""
        assert self.path is not None
        return stage(self.path, self.id)


class Jobs:
    """The attacks of one viewer; at most one runs."""

    def __init__(self) -> None:
        self._jobs: dict[str, LiveAttack] = {}
        self._lock = Lock()

    def get(self, name: Any) -> LiveAttack | None:
        """The job of this name."""
        return self._jobs.get(name) if isinstance(name, str) else None

    def start(self, work: Callable[[LiveAttack], None]) -> LiveAttack:
        """Run ``work`` in a thread.

        Raises:
            BadInput: while another attack runs.
        """
        with self._lock:
            if any(job.state == "running" for job in self._jobs.values()):
                raise BadInput("another attack is running here; stop it first")
            job = LiveAttack()
            self._jobs[job.id] = job
            for old in list(self._jobs)[:-KEPT]:
                del self._jobs[old]
        Thread(target=self._run, args=(job, work), daemon=True).start()
        return job

    @staticmethod
    def _run(job: LiveAttack, work: Callable[[LiveAttack], None]) -> None:
        state: State = "failed"
        try:
            work(job)
            state = "done"
        except Stopped:
            state = "stopped"
            job.words = "Stopped" if job.seconds < SECONDS else f"Stopped after {SECONDS:.0f} s"
        except UndertowError as error:
            job.words = str(error)
        except Exception as error:  # a model of the user's own may raise anything
            job.words = f"The attack failed: {type(error).__name__}: {str(error)[:200]}"
        finally:
            job.ended = time.monotonic()
            job.state = state
