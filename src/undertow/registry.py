"""Named things, found by name and imported only when used.

A registry line is ``registry.add(name, "package.module:attribute", "one-line summary")``. Nothing
is imported until the entry is asked for, so listing names costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Generic, TypeVar, cast

from undertow.errors import BadInput, UnknownName

__all__ = ["Entry", "Registry"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a registry: a name, where its object lives, and what it is."""

    name: str
    target: object
    summary: str

    def load(self) -> object:
        """The object itself, imported now if it was named by a string."""
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)


class Registry(Generic[T]):
    """A mapping from names to objects of one kind, open to additions by users.

    Args:
        kind: the word used in error messages, for example ``"attack"``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    def add(self, name: str, target: str | T, summary: str) -> None:
        """Add an entry.

        Args:
            name: the public name; letters, digits, ``_``, ``-`` and ``/``.
            target: the object, or ``"package.module:attribute"`` to import it on first use.
            summary: one line that says what it is.

        Raises:
            BadInput: if the name is taken.
        """
        if name in self._entries:
            raise BadInput(f"{self.kind} '{name}' is registered already")
        self._entries[name] = Entry(name, target, summary)

    def entry(self, name: str) -> Entry:
        """The line of ``name``.

        Raises:
            UnknownName: names the nearest entry and all that are allowed.
        """
        try:
            return self._entries[name]
        except (KeyError, TypeError):
            raise UnknownName(self.kind, name, self._entries) from None

    def __getitem__(self, name: str) -> T:
        return cast(T, self.entry(name).load())

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> tuple[Entry, ...]:
        """All lines, in the order in which they were added."""
        return tuple(self._entries.values())
