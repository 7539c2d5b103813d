"""How few maps carried an attack on one input, in words and numbers."""

from __future__ import annotations

from collections.abc import Sequence

from undertow.store import Number
from undertow.studies.answered.seen import Fewest, Seen

__all__ = ["carrying_numbers", "carrying_told"]


def carrying_told(seen: Seen) -> list[str]:
    """Where the fewest maps suffice, beside the same search in a random order; and at the end."""
    fewest, label = seen.fewest, seen.classes[seen.label]
    if not fewest:
        return [f"Which maps carried it: {seen.no_carriers}."] if seen.no_carriers else []
    least = min(fewest, key=lambda tap: tap.found / tap.maps)
    told = f"Putting {_of(least.found, least.maps)} of {least.tap} back returns {label}"
    if least.random <= least.found:
        told += ", and in a random order no more are needed"
    else:
        told += f" (in a random order the same search needs {least.random})"
    last = fewest[-1]
    if last.tap != least.tap:
        told += f"; at {last.tap} it takes {last.found} of {last.maps}"
    return [f"{told}."]


def _of(found: int, maps: int) -> str:
    return f"{found} of the {maps} maps" if maps > 1 else "the one map"


def carrying_numbers(fewest: Sequence[Fewest]) -> list[Number]:
    """The fewest maps of every tap, and what a random order leaves."""
    return [
        Number.model_validate({"name": name, "value": value, "unit": f"of {tap.maps} maps"})
        for tap in fewest
        for name, value in (
            (f"fewest maps of {tap.tap} that return the label", tap.found),
            (f"the same of {tap.tap} in a random order", tap.random),
        )
    ]
