"""Tables that the report draws up from the stored arrays themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from undertow.axes import OUTCOMES, PROFILES, VANISHED
from undertow.figures.wording import attack_name
from undertow.report.embed import Plot
from undertow.store import Cell, Run, Table

__all__ = ["Gallery", "Numbered", "attack_table", "gallery", "profile_tables", "vanished"]


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


OPEN: Final = 6
"""Figures that stand open; the rest is folded away."""


@dataclass(frozen=True, slots=True)
class Numbered(Plot):
    """A figure with its number on the page."""

    number: int


@dataclass(frozen=True, slots=True)
class Gallery:
    """Figures in the order of the page.

    Args:
        open: shown at once.
        more: folded away.
        words: what is folded away.
    """

    open: tuple[Numbered, ...]
    more: tuple[Numbered, ...]
    words: str


def gallery(plots: Sequence[Plot]) -> Gallery:
    """The first figure of each kind, as far as there is room, then all the others."""
    first: list[Plot] = []
    for plot in plots:
        if len(first) < OPEN and plot.data.name not in {p.data.name for p in first}:
            first.append(plot)
    rest = [plot for plot in plots if plot not in first]
    numbered = [
        Numbered(p.data, p.picture, p.size, p.json, i) for i, p in enumerate([*first, *rest], 1)
    ]
    names = [p.data.title for p in rest]
    words = f"{len(names)} more figure{'' if len(names) == 1 else 's'}: {'; '.join(names)}"
    return Gallery(tuple(numbered[: len(first)]), tuple(numbered[len(first) :]), words)
