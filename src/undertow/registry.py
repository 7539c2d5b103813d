"""Named things, found by name and imported only when used.

A registry line is ``registry.add(name, "package.module:attribute", "one-line summary", …)``; it
says all about its entry. Nothing is imported until the entry is asked for, so listing costs
nothing. A name may also say where its object lies (``path/to/mine.py:Class``), and packages may add
entries of their own through the entry-point group ``undertow``.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final, Generic, TypeVar, cast

from undertow.errors import BadInput, UndertowError, UnknownName
from undertow.loading import digest, import_source, is_source, load_object

__all__ = ["HOMES", "MARKERS", "Entry", "Look", "Registry", "load_plugins", "plugin_hashes",
           "registry", "remember"]  # fmt: skip

T = TypeVar("T")

HOMES: Final = {
    "attack": "undertow.attacks:ATTACKS",
    "estimator": "undertow.information:ESTIMATORS",
    "null": "undertow.information:NULLS",
    "ranking": "undertow.measuring.carriers:RANKINGS",
    "data set": "undertow.data:DATASETS",
    "model": "undertow.models:MODELS",
    "defence": "undertow.models.defences:DEFENCES",
    "figure": "undertow.figures:FIGURES",
    "question": "undertow.studies.answered.questions:QUESTIONS",
}
"""Where the registry of each kind lies."""
MARKERS: Final = (
    "circle", "square", "diamond", "triangle", "down", "cross", "star", "hexagon",
)  # fmt: skip
"""Shapes of points, as figures name them."""


@dataclass(frozen=True, slots=True)
class Look:
    """How an entry is called and drawn.

    Args:
        label: its name in sentences, legends and tables; empty for the registry's name.
        color: ``#rrggbb``; empty for the next free one.
        marker: one of :data:`MARKERS`; empty for the next free one.
    """

    label: str = ""
    color: str = ""
    marker: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.label, str) or len(self.label) > 60 or not self.label.isprintable():
            raise BadInput(f"label {self.label!r:.80} (allowed: up to 60 printable characters)")
        if self.color and not re.fullmatch(r"#[0-9a-f]{6}", str(self.color)):
            raise BadInput(f"color {self.color!r:.40} (allowed: #rrggbb, in lower case)")
        if self.marker and self.marker not in MARKERS:
            raise BadInput(f"marker {self.marker!r:.40} (allowed: {', '.join(MARKERS)})")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a registry.

    Args:
        name: the public name.
        target: the object, or where it lives.
        summary: one line that says what it is.
        look: how it is called and drawn.
        variants: looks of settings that figures tell apart: ``adaptive`` of ``jsma(adaptive)``.
        needs: what it must be given beside its settings, in the words of its kind.
        source: what named a plugin; ``None`` for a line of a registry.
    """

    name: str
    target: object
    summary: str
    look: Look = field(default_factory=Look)
    variants: Mapping[str, Look] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()
    source: str | None = None

    @property
    def label(self) -> str:
        """What it is called where it is written about."""
        return self.look.label or self.name

    @property
    def shipped(self) -> bool:
        """Whether it comes with Undertow."""
        if isinstance(self.target, str):
            home = self.target
        else:
            home = str(getattr(self.target, "__module__", type(self.target).__module__))
        return home.startswith("undertow.")

    def load(self) -> object:
        """The object itself, imported now if it was named by a string."""
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        if self.shipped:
            return getattr(import_module(module), attribute)
        return load_object(self.target, self.name)


class Registry(Generic[T]):
    """A mapping from names to objects of one kind, open to additions by users.

    Args:
        kind: the word used in error messages, for example ``"attack"``.
        members: what an object of this kind must have; the first message about one that does not.
        check: ``"module:function"`` that looks closer at an object of a user's.
    """

    def __init__(self, kind: str, *, members: Iterable[str] = (), check: str = "") -> None:
        self.kind = kind
        self._members = tuple(members)
        self._check = check
        self._entries: dict[str, Entry] = {}

    def add(
        self,
        name: str,
        target: str | T,
        summary: str,
        *,
        label: str = "",
        color: str = "",
        marker: str = "",
        variants: Mapping[str, Look] | None = None,
        needs: Iterable[str] = (),
        source: str | None = None,
    ) -> None:
        """Add an entry.

        Args:
            name: the public name; letters, digits, ``_``, ``-`` and ``/``.
            target: the object, or ``"package.module:attribute"`` to import it on first use.
            summary: one line that says what it is.
            label: see :class:`Look`, as are ``color`` and ``marker``.
            color: ``#rrggbb``.
            marker: one of :data:`MARKERS`.
            variants: see :class:`Entry`, as is ``needs``.
            needs: words.
            source: what named a plugin.

        Raises:
            BadInput: if the name is taken or cannot be one, or the look is none.
        """
        if not re.fullmatch(r"[\w\-/]+", str(name)) or name == "benign":
            raise BadInput(
                f"{self.kind} {name!r:.60} cannot be called so (allowed: letters, digits, _, - "
                "and /; not 'benign')"
            )
        if name in self._entries:
            raise BadInput(
                f"{self.kind} '{name}' is registered already; give yours another name"
                + (f" ({source})" if source else "")
            )
        self._entries[name] = Entry(
            name, target, summary, Look(label, color, marker), dict(variants or {}),
            frozenset(needs), source,
        )  # fmt: skip

    def named(self, source: str) -> str:
        """Register what ``path/to/mine.py:Class`` names; the name under which it is known now.

        Its name is the object's ``name`` or ``id``, else what it is called in the file; ``label``,
        ``color``, ``marker`` and ``needs`` are read from it where it has them.

        Raises:
            BadInput: if it cannot be imported, is not of this kind, or its name is taken.
        """
        found = load_object(source, self.kind)
        lacking = [m for m in self._members if not hasattr(found, m)]
        if lacking or not (self._members or callable(found)):
            raise BadInput(
                f"{source} is no {self.kind}: it has no {lacking[0] if lacking else '__call__'}"
            )
        if self._check:
            module, _, function = self._check.partition(":")
            try:
                getattr(import_module(module), function)(found)
            except BadInput as error:
                raise BadInput(f"{source}: {error}") from None
        named = [getattr(found, key, None) for key in ("name", "id", "__name__")]
        name = next((n for n in named if isinstance(n, str) and n), source.rpartition(":")[2])
        had = self._entries.get(name)
        if had is not None and (had.target is found or had.source == source):
            self._entries.pop(name)  # named before, perhaps in an older state of its file
        lines = (found.__doc__ or "").strip().splitlines()
        label, color, marker = (
            str(getattr(found, k, "") or "") for k in ("label", "color", "marker")
        )
        try:
            self.add(
                name, cast(T, found), lines[0] if lines else source,
                label=label, color=color, marker=marker, needs=getattr(found, "needs", ()),
                source=source,
            )  # fmt: skip
        except BadInput as error:
            if had is not None:
                self._entries.setdefault(name, had)
            raise BadInput(f"{source}: {error}") from None
        return name

    def entry(self, name: str) -> Entry:
        """The line of ``name``; a name that says where its object lies is registered first.

        Raises:
            UnknownName: names the nearest entry and all that are allowed.
            BadInput: for a plugin that cannot be used.
        """
        if isinstance(name, str) and name not in self._entries and is_source(name):
            name = self.named(name)
        if not isinstance(name, str) or name not in self._entries:
            _discover()
        try:
            return self._entries[name]
        except (KeyError, TypeError):
            raise UnknownName(self.kind, name, self._entries) from None

    def needs(self, name: str) -> frozenset[str]:
        """What an entry needs; nothing for a name that is not there."""
        return self._entries[name].needs if name in self._entries else frozenset()

    def look(self, name: str) -> Look | None:
        """How an entry, a variant ``name(word)`` or what a stored run told is called and drawn."""
        plain, _, variant = name.partition("(")
        entry = self._entries.get(plain)
        if entry is None:
            return _remembered.get((self.kind, name))
        return entry.variants.get(variant.rstrip(")")) if variant else entry.look

    def names(self) -> tuple[str, ...]:
        """Everything that has a look: entries, their variants, what stored runs told."""
        own = [e.name for e in self._entries.values()]
        variants = [f"{e.name}({v})" for e in self._entries.values() for v in e.variants]
        told = [n for kind, n in _remembered if kind == self.kind and n not in self._entries]
        return (*own, *variants, *told)

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
        _discover()
        return tuple(self._entries.values())


def registry(kind: str) -> Registry[Any]:
    """The registry of a kind.

    Raises:
        UnknownName: if there is no such kind.
    """
    if kind not in HOMES:
        raise UnknownName("kind of plugin", kind, HOMES)
    module, _, attribute = HOMES[kind].partition(":")
    return cast(Registry[Any], getattr(import_module(module), attribute))


_remembered: dict[tuple[str, str], Look] = {}


def remember(kind: str, name: str, look: Look) -> None:
    """Keep the look of an entry that a stored run was made with; entries go before."""
    _remembered[kind, name] = look


def load_plugins(plugins: Iterable[str | Mapping[str, str]]) -> None:
    """Load what ``plugins:`` of a study lists.

    Args:
        plugins: files and modules that add to the registries themselves, or ``{kind: source}``.

    Raises:
        UndertowError: for the first that cannot be used.
    """
    for plugin in plugins:
        if isinstance(plugin, str):
            import_source(plugin)
        else:
            for kind, source in plugin.items():
                registry(kind).named(source)


def plugin_hashes(plugins: Iterable[str | Mapping[str, str]]) -> dict[str, str]:
    """SHA-256 of the files of plugins, by what names them; nothing is imported for it."""
    sources = [s for p in plugins for s in ([p] if isinstance(p, str) else p.values())]
    return {s: digest(s.rpartition(":")[0] if is_source(s) else s) for s in sources}


_discovered = False


def _discover() -> None:
    """Load the entry points of installed packages, once; one that fails is told and left out."""
    global _discovered  # noqa: PLW0603
    if _discovered:
        return
    _discovered = True
    for point in entry_points(group="undertow"):
        try:
            point.load()
        except UndertowError as error:
            warnings.warn(f"plugin '{point.name}' ({point.value}): {error}", stacklevel=2)
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            warnings.warn(f"plugin '{point.name}' ({point.value}): {told}", stacklevel=2)
