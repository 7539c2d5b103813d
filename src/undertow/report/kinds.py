"""The figures of a page by kind: the first of each open, the others a click away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import Final

from undertow.report.embed import Plot

__all__ = ["Kind", "Numbered", "kinds"]

_OPEN: Final = {"solid_dashed": 2, "transfer": 2}
"""Figures shown at once, where that is more than one: crossing models, then by transfer; rates of
the attack, then of its noise."""
_LINKS: Final = frozenset({"in", "of", "at", "on", "to"})


@dataclass(frozen=True, slots=True)
class Numbered(Plot):
    """A figure with its number on the page."""

    number: int


@dataclass(frozen=True, slots=True)
class Kind:
    """Figures of one kind.

    Args:
        open: shown at once.
        more: folded away.
        words: what is folded away.
    """

    open: tuple[Numbered, ...]
    more: tuple[Numbered, ...]
    words: str


def _differences(titles: Sequence[str]) -> list[str]:
    """What tells titles apart: their ends, after the words that all of them begin with."""
    words = [title.split() for title in titles]
    shared = takewhile(lambda column: len(set(column)) == 1, zip(*words, strict=False))
    same = len(list(shared))
    if same and words[0][same - 1] not in _LINKS:
        same -= 1
    return [" ".join(w[same:]) or title for w, title in zip(words, titles, strict=True)]


def kinds(plots: Sequence[Plot]) -> list[Kind]:
    """Plots in their order, grouped by the name of their figure."""
    numbered = [
        Numbered(p.data, p.picture, p.size, p.json, number) for number, p in enumerate(plots, 1)
    ]
    found = []
    for name, group in groupby(numbered, key=lambda p: p.data.name):
        members = tuple(group)
        first = _OPEN.get(name, 1)
        ends = _differences([p.data.title for p in members])[first:]
        words = f"{len(ends)} more: {'; '.join(ends)}" if ends else ""
        found.append(Kind(members[:first], members[first:], words))
    return found
