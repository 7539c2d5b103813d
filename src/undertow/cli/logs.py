"""``-v`` and ``--log``: what happens, for people and for a file."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Final

__all__ = ["LOG", "begin", "end"]

LOG: Final = logging.getLogger("undertow")
LOG.addHandler(logging.NullHandler())  # where nobody asked, nothing is told
_LINE: Final = "%(asctime)s %(levelname)s %(message)s"


def begin(verbose: bool, file: Path | None) -> None:
    """Tell of what happens on standard error, in a file, or both; else nothing is kept.

    Raises:
        BadInput: if the file cannot be written.
    """
    if not (verbose or file):
        return
    LOG.setLevel(logging.DEBUG)
    LOG.propagate = False
    asked: list[logging.Handler] = [] if file is None else [_opened(file)]
    if verbose:
        asked.append(logging.StreamHandler(sys.stderr))
        # Warnings stand there anyway.
        asked[-1].addFilter(lambda record: record.levelno != logging.WARNING)
    for handler in asked:
        LOG.addHandler(handler)
        handler.setFormatter(logging.Formatter(_LINE, "%Y-%m-%dT%H:%M:%S"))
    from undertow import __version__

    LOG.info("undertow %s, Python %s: %s", __version__, sys.version.split()[0], sys.argv[1:])


def end(code: int) -> None:
    """The last line, and the handlers let go."""
    LOG.info("exit code %d", code)
    for handler in [*LOG.handlers]:
        if not isinstance(handler, logging.NullHandler):
            LOG.removeHandler(handler)
            handler.close()
    LOG.setLevel(logging.NOTSET)
    LOG.propagate = True


def _opened(file: Path) -> logging.Handler:
    from undertow.errors import BadInput

    try:
        return logging.FileHandler(file, encoding="utf-8")
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise BadInput(f"--log {file}: {reason}") from None
