"""Progress, reported by long work to whoever listens.

Work takes a :class:`Progress` and calls it; :data:`SILENT` hears nothing. :func:`terminal` draws a
bar on a terminal and writes plain lines elsewhere. rich is imported only when a bar is drawn.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from io import TextIOBase
from typing import Any, Final, Protocol, TextIO, TypeAlias, cast, runtime_checkable

__all__ = ["SILENT", "Advance", "Progress", "terminal"]

Stream: TypeAlias = TextIO | TextIOBase


@runtime_checkable
class Advance(Protocol):
    """Called as work gets done."""

    def __call__(self, amount: float | int = 1, note: str = "") -> None:
        """Say that ``amount`` more is done."""
        ...


@runtime_checkable
class Progress(Protocol):
    """Opens a piece of work with a title and a total; yields the function that advances it."""

    def __call__(
        self, title: str, total: float | int, unit: str = ""
    ) -> AbstractContextManager[Advance]:
        """Open a piece of work."""
        ...


class _Silent:
    @contextmanager
    def __call__(self, title: str, total: float | int, unit: str = "") -> Iterator[Advance]:
        yield _no_word


def _no_word(amount: float | int = 1, note: str = "") -> None:
    return None


SILENT: Final[Progress] = _Silent()


class _Lines:
    """A line at the start, one every few seconds, one at the end: for logs."""

    def __init__(self, stream: Stream, every: float = 10.0) -> None:
        self.stream = stream
        self.every = every

    @contextmanager
    def __call__(self, title: str, total: float | int, unit: str = "") -> Iterator[Advance]:
        start = said = time.monotonic()
        done = 0.0
        last = ""

        def say() -> None:
            spent = time.monotonic() - start
            left = spent * (total - done) / done if done else float("nan")
            rate = f" ({done / spent:.3g} a second)" if done and spent >= 1 else ""
            eta = f", {left:.0f} s left" if 0 < done < total else ""
            tail = f"  {last}" if last else ""
            shown = f"{done:g}/{total:g} {unit}".rstrip()
            print(
                f"{title}: {shown} in {spent:.0f} s{rate}{eta}{tail}", file=self.stream, flush=True
            )

        def advance(amount: float | int = 1, note: str = "") -> None:
            nonlocal done, said, last
            done += amount
            last = note or last
            if time.monotonic() - said >= self.every:
                said = time.monotonic()
                say()

        yield advance
        say()


class _Bars:
    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    @contextmanager
    def __call__(self, title: str, total: float | int, unit: str = "") -> Iterator[Advance]:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns: tuple[Any, ...] = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit, markup=False),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with Progress(*columns, console=Console(file=cast(TextIO, self.stream))) as bars:
            task = bars.add_task(title, total=total, note="", rate="")
            start, done = time.monotonic(), 0.0

            def advance(amount: float | int = 1, note: str = "") -> None:
                nonlocal done
                done += amount
                fields: dict[str, Any] = {"note": note} if note else {}
                if (spent := time.monotonic() - start) >= 1:
                    fields["rate"] = f"{done / spent:.3g}/s"
                bars.update(task, advance=amount, **fields)

            yield advance


def terminal(stream: Stream | None = None, *, quiet: bool = False) -> Progress:
    """Bars where ``stream`` (standard error by default) is a terminal, lines elsewhere.

    Args:
        stream: where to write.
        quiet: hear nothing at all.
    """
    if quiet:
        return _logged(SILENT)
    stream = stream or sys.stderr
    return _logged(_Bars(stream) if stream.isatty() else _Lines(stream))


def _logged(inner: Progress) -> Progress:
    """The same, and each stage that ended in the log."""

    @contextmanager
    def stage(title: str, total: float | int, unit: str = "") -> Iterator[Advance]:
        start = time.monotonic()
        with inner(title, total, unit) as advance:
            yield advance
        spent = time.monotonic() - start
        logging.getLogger("undertow").info("%s: %g %s in %.1f s", title, total, unit, spent)

    return stage
