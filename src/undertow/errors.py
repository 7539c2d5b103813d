"""What can go wrong, in words a user can act on.

Every error that a user can cause is an :class:`UndertowError`; the command line prints its
message in one or two lines and exits with its ``exit_code``. A message says what was wrong,
what was given and what is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

__all__ = [
    "BadInput", "Foreign", "Unavailable", "UndertowError", "UnknownName", "of_kind", "shown",
    "suggestion",
]  # fmt: skip


LISTED: Final = 60
"""Most names that a message lists."""


def suggestion(given: object, allowed: Iterable[str]) -> str:
    """``; did you mean 'epsilon'?`` where a name is near to one there is, else nothing.

    A short form counts as near: ``eps`` of ``epsilon``.
    """
    names, word = tuple(sorted(allowed)), str(given)
    near = [name for name in names if len(word) > 1 and name.startswith(word)][:1]
    near = near or get_close_matches(word, names, n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


def shown(given: object, most: int = 80) -> str:
    """What was given as a message shows it: one line, and not longer than ``most``."""
    told = given if isinstance(given, str) and given.isprintable() else repr(given)
    return told if len(told) <= most else f"{told[: most - 1]}…"


class UndertowError(Exception):
    """Something the caller can mend; the message says how."""

    exit_code = 2

    def __str__(self) -> str:
        """The message; what was given may be a whole tensor, and is cut to a line then."""
        told = super().__str__()
        return shown(" ".join(told.split()), 1000) if told.count("\n") > 2 else told


class BadInput(UndertowError, ValueError):
    """An argument, a file or an array that cannot be used as given."""


class Unavailable(UndertowError, RuntimeError):
    """Something needed is not here and could not be fetched."""


class Foreign(UndertowError, RuntimeError):
    """A directory or file on disk that is not ours to overwrite, or not one we can read."""


def of_kind(given: object, kinds: type | tuple[type, ...], what: str, allowed: str) -> None:
    """That an argument is what it must be.

    Args:
        given: the argument.
        kinds: what it may be.
        what: its name, in the message.
        allowed: what may be given, in words.

    Raises:
        BadInput: if it is of none of these kinds.
    """
    if not isinstance(given, kinds):
        raise BadInput(f"{what} is a {type(given).__name__} (allowed: {allowed})")


class UnknownName(UndertowError, LookupError):
    """A name that no registry entry has.

    Args:
        kind: what was looked up, for example ``"attack"``.
        given: the name that was asked for.
        allowed: the names there are.
    """

    def __init__(self, kind: str, given: object, allowed: Iterable[str]) -> None:
        self.kind = kind
        self.given = given
        self.allowed = tuple(sorted(allowed))
        hint = suggestion(given, self.allowed)
        names = ", ".join(self.allowed[:LISTED])
        if len(self.allowed) > LISTED:
            names += f", … {len(self.allowed)} in all"
        super().__init__(f"unknown {kind} '{shown(given)}'{hint} (allowed: {names})")

    def __reduce__(self) -> tuple[type[UnknownName], tuple[str, object, tuple[str, ...]]]:
        return type(self), (self.kind, self.given, self.allowed)
