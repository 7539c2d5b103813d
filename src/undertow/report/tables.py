"""Tables that the report draws up from the stored arrays themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import Final

import numpy as np
import xarray as xr

from undertow.axes import OUTCOMES, PROFILES, VANISHED
from undertow.figures.wording import attack_name
from undertow.report.embed import Plot
from undertow.store import Cell, Run, Table

__all__ = ["Kind", "Numbered", "attack_table", "kinds", "profile_tables", "vanished"]


def _finished(data: xr.Dataset) -> xr.Dataset:
    return data.isel(sample=np.flatnonzero(data["finished"].values))


def _label(cell: Cell) -> str:
    return attack_name(cell.attack) + (f" aimed at {cell.source}" if cell.source else "")


def _mean(values: np.ndarray) -> float | None:
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if kept.size else None


def attack_table(run: Run) -> Table | None:
    """How often each attack succeeded and how large its changes were; ``None`` without attacks."""
    rows: list[tuple[str | int | float | None, ...]] = []
    cells = [c for m in run.models for c in run.cells if c.model == m and not c.benign]
    for cell in (c for c in cells if run.has("attacks", c)):
        data = _finished(run.attacks(cell))
        if not data.sizes["sample"]:
            continue
        won = data["success"].values
        means = [
            _mean(data[name].values[won].astype(float)) for name in ("steps", "l0", "l2", "linf")
        ]
        lost = 100.0 * float(data["stalled"].values.mean()) if "stalled" in data else None
        rows.append((cell.model, _label(cell), len(won), 100.0 * float(won.mean()), lost, *means))
    if not rows:
        return None
    return Table(
        title="Success and distance of every attack",
        columns=(
            "model",
            "attack",
            "n",
            "fooled (%)",
            "gradients vanished (%)",
            "steps",
            "L0 (components)",
            "L2",
            "L∞",
        ),
        rows=tuple(rows),
        caption="Means over the inputs that fooled the model; pixel values lie in [0, 1]. Where "
        f"gradients vanished an attack failed, but {OUTCOMES[VANISHED]}.",
    )


def vanished(run: Run) -> list[str]:
    """One sentence for each attack that failed on some inputs because its gradients vanished."""
    told = []
    for cell in run.cells:
        data = run.attacks(cell) if run.has("attacks", cell) else None
        if data is None or "stalled" not in data or cell.source is not None:
            continue
        lost = int(_finished(data)["stalled"].values.sum())
        if lost:
            told.append(f"{_label(cell)} on {cell.model}: gradients vanished on {lost} inputs")
    return [f"{'; '.join(told)}; {OUTCOMES[VANISHED]}."] if told else []


def _by_tap(data: xr.Dataset) -> dict[str, np.ndarray]:
    names = [
        f"{p}{kind}" for p in PROFILES for kind in ("_raw", "_null", "") if f"{p}{kind}" in data
    ]
    return {
        name: np.array([np.nan if (m := _mean(c)) is None else m for c in data[name].values.T])
        for name in names
    }


def _columns(names: Sequence[str]) -> tuple[str, ...]:
    def words(name: str) -> str:
        profile, _, kind = name.partition("_")
        return f"{profile.upper()} {kind or 'net'}"

    return ("attack", "tap", "depth", *map(words, names))


def profile_tables(run: Run) -> tuple[Table, ...]:
    """Mean raw, null and net profiles at every tap: one table a model."""
    tables = []
    for model in run.models:
        rows: list[tuple[str | int | float | None, ...]] = []
        names: tuple[str, ...] = ()
        most = 0
        for cell in (c for c in run.cells if c.model == model and run.has("profiles", c)):
            data = _finished(run.profiles(cell))
            if not data.sizes["sample"]:
                continue
            means = _by_tap(data)
            names, most = tuple(means), max(most, data.sizes["sample"])
            for k, tap in enumerate(data["tap"].values):
                values = (float(means[n][k]) for n in names)
                rows.append((_label(cell), str(tap), float(data["depth"].values[k]), *values))
        if rows:
            tables.append(
                Table(
                    title=f"Mean profiles at each tap of {model}",
                    columns=_columns(names),
                    rows=tuple(rows),
                    caption=f"IIP and OIP in bits, IOC a correlation; n = {most} at most.",
                )
            )
    return tuple(tables)


_OPEN: Final = {"solid_dashed": 2, "transfer": 2}
"""Figures shown at once, where that is more than one: crossing models, then by transfer; rates of
the attack, then of its control."""
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
