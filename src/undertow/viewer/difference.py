"""Two cells side by side: their aggregated IPs, and their difference with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from undertow.axes import PROFILES, UNITS
from undertow.figures import Axis, FigureData, Panel, Series
from undertow.figures.aggregate import curve_series
from undertow.figures.palette import INK
from undertow.figures.wording import DEPTH, FULL, ZERO, count, profile_axis
from undertow.store import Cell
from undertow.viewer.selection import Which, curve_of
from undertow.viewer.source import Source

__all__ = ["Difference", "Side", "difference", "figure_of"]


POINTS: Final = 25
"""Depths at which cells with different taps are compared."""
COLORS: Final = ("#0072b2", "#d55e00")
INTERVAL: Final = "95 % interval of the mean difference"
Array = NDArray[np.float64]
Given: TypeAlias = tuple[Array, Array, NDArray[np.int64] | None]
"""Rows (sample, point), their depth, and which inputs they are, where that is known."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: a cell of a run, and what to call it."""

    source: Source
    cell: Cell
    name: str

    def rows(
        self, profile: str, which: Which, other: Side | None = None
    ) -> tuple[Array, Array, NDArray[np.int64] | None] | None:
        """Profiles (sample, tap), depth (tap,) and indices (sample,) of the inputs meant.

        Drift of benign inputs goes to the rivals that ``other`` has, where it holds the same inputs
        of the same model: else two things would differ at once.
        """
        found = self.source.profile(self.cell, profile, which)
        if profile == "drift" and other is not None and self.cell.benign:
            found = self._towards(other, which) if self._same(other) else found
        taps, depth = self.source.taps(self.cell)
        if found is None or not len(found) or len(taps) != found.shape[1]:
            return None
        index = self.source.indices(self.cell, which)
        fit = np.isfinite(found).all(axis=0)
        return found[:, fit], depth[fit], index

    def _same(self, other: Side) -> bool:
        """Whether the other side is an attack on the same inputs of this model."""
        mine, theirs = (s.source.indices(s.cell, Which()) for s in (self, other))
        same = other.source is self.source and other.cell.model == self.cell.model
        return (
            same
            and not other.cell.benign
            and mine is not None
            and theirs is not None
            and np.array_equal(mine, theirs)
        )

    def _towards(self, other: Side, which: Which) -> Array | None:
        """Drift of these inputs towards the rivals of the other side, (sample, tap)."""
        flow = self.source.flow(self.cell, which)
        rival = self.source.rivals(other.cell)
        ends = self.source.ends(self.cell)
        if flow is None or rival is None or ends is None:
            return None
        kept = self.source.chosen(self.cell, which)
        rows = np.arange(len(flow))
        drift: Array = flow[rows, :, rival[kept]] - flow[rows, :, ends.label[kept]]
        return drift


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """A − B over depth.

    Args:
        depth: (point,).
        mean: mean difference.
        low: lower end of its 95 % interval.
        high: upper end.
        effect: in standard deviations: d_z where paired, Cohen's d else.
        n: pairs, or the smaller of the two numbers of inputs.
        paired: whether both hold the same inputs.
    """

    depth: Array
    mean: Array
    low: Array
    high: Array
    effect: Array
    n: int
    paired: bool


def _on(rows: Array, depth: Array, at: Array) -> Array:
    order = np.argsort(depth, kind="stable")
    return np.array([np.interp(at, depth[order], row[order]) for row in rows])


def _common_depth(a: Array, b: Array) -> Array:
    if a.shape == b.shape and np.allclose(a, b):
        return a
    return np.linspace(max(a.min(), b.min()), min(a.max(), b.max()), POINTS)


def _scaled(mean: Array, sd: Array) -> Array:
    return np.where(sd > 0, mean / np.where(sd > 0, sd, 1.0), 0.0)


def difference(
    a: Given,
    b: Given,
    *,
    same_data: bool,
) -> Difference | None:
    """A − B: paired by input where both have inputs in common, else of the two means (Welch).

    Args:
        a: profiles (sample, tap), depth (tap,), indices (sample,) of one cell.
        b: the same of the other.
        same_data: whether equal indices are the same inputs.

    Returns:
        ``None`` where there are fewer than two inputs on a side, or no depth in common.
    """
    from scipy import stats

    (rows_a, depth_a, index_a), (rows_b, depth_b, index_b) = _whole(a), _whole(b)
    if not len(depth_a) or not len(depth_b):
        return None
    at = _common_depth(depth_a, depth_b)
    if at[-1] < at[0]:
        return None
    x = rows_a if at is depth_a else _on(rows_a, depth_a, at)
    y = rows_b if at is depth_a else _on(rows_b, depth_b, at)
    if same_data and index_a is not None and index_b is not None:
        _, ia, ib = np.intersect1d(index_a, index_b, return_indices=True)
        if len(ia) >= 2:
            gap = x[ia] - y[ib]
            mean, sd, n = gap.mean(axis=0), gap.std(axis=0, ddof=1), len(gap)
            half = stats.t.ppf(0.975, n - 1) * sd / np.sqrt(n)
            return Difference(at, mean, mean - half, mean + half, _scaled(mean, sd), n, True)
    n, m = len(x), len(y)
    if min(n, m) < 2:
        return None
    va, vb = x.var(axis=0, ddof=1), y.var(axis=0, ddof=1)
    mean, error = x.mean(axis=0) - y.mean(axis=0), va / n + vb / m
    with np.errstate(divide="ignore", invalid="ignore"):
        df = error**2 / ((va / n) ** 2 / (n - 1) + (vb / m) ** 2 / (m - 1))
    half = stats.t.ppf(0.975, np.where(np.isfinite(df), df, 1.0)) * np.sqrt(error)
    pooled = np.sqrt(((n - 1) * va + (m - 1) * vb) / (n + m - 2))
    return Difference(at, mean, mean - half, mean + half, _scaled(mean, pooled), min(n, m), False)


def _whole(side: Given) -> Given:
    """The inputs that have all that any of them has: of very many classes not all are measured."""
    rows, depth, index = side
    there = np.isfinite(rows)
    kept = there.sum(axis=1) == there.any(axis=0).sum()
    return rows[kept], depth, None if index is None else index[kept]


def same_data(a: Source, b: Source) -> bool:
    """Whether equal indices mean equal inputs in two runs."""
    if a is b:
        return True
    hashes = [s.manifest.get("hashes") for s in (a, b)]
    data = [h.get("data") if isinstance(h, dict) else None for h in hashes]
    return data[0] is not None and data[0] == data[1]


def figure_of(a: Side, b: Side, which: Which) -> FigureData | None:
    """Top: both sides' aggregates. Bottom: A − B."""
    panels: list[Panel] = []
    most, paired = 0, True
    together = same_data(a.source, b.source)
    shown = [p for p in ("drift", *PROFILES) if p != "drift" or which.part == "net"]
    column = -1
    for profile in shown:
        found = [side.rows(profile, which, other) for side, other in ((a, b), (b, a))]
        if profile == "drift" and None in found:
            continue  # of an older undertow
        column += 1
        series: list[Series] = []
        for side, rows, other, marker in zip(
            (a, b), found, COLORS, ("circle", "diamond"), strict=True
        ):
            color = INK if side.cell.benign else other
            curve = curve_of(rows[0], rows[1]) if rows is not None else None
            if curve is not None:
                series += curve_series(curve, label=side.name, color=color, marker=marker)
        if not series:
            continue
        panels.append(
            Panel(
                title=FULL[profile],
                x=DEPTH,
                y=profile_axis(profile),
                series=tuple(series),
                column=column,
            )
        )
        gap = difference(found[0], found[1], same_data=together) if found[0] and found[1] else None
        if gap is not None:
            most, paired = max(most, gap.n), paired and gap.paired
            panels.append(_gap_panel(gap, profile, column))
    if not panels:
        return None
    panels.sort(key=lambda p: (p.row, p.column))
    how = "paired by input" if paired else "of two sets of inputs (Welch)"
    return FigureData(
        name="compare",
        title=f"{a.name} against {b.name}",
        caption=(
            f"Top: aggregates with 95 % Gaussian-process bands. Bottom: first − second, {how}; "
            f"{count(most)}; bars: {INTERVAL}. Not adjusted for the number of taps. Drift: "
            "from the true class to each input's rival; benign inputs take the attack's rivals."
        ),
        n=most,
        interval=INTERVAL,
        panels=tuple(panels),
    )


def _gap_panel(gap: Difference, profile: str, column: int) -> Panel:
    words = tuple(
        f"depth {d:.2f}, effect {e:.2f} s.d." for d, e in zip(gap.depth, gap.effect, strict=True)
    )
    line = Series(
        x=gap.depth,
        y=gap.mean,
        low=gap.low,
        high=gap.high,
        bars=len(gap.depth) < POINTS,
        color=INK,
        marker="circle" if len(gap.depth) < POINTS else "",
        label="difference",
        legend=False,
        hover=words,
    )
    word = profile if profile == "drift" else profile.upper()
    axis = Axis(label=f"difference in {word}", unit=UNITS.get(profile, "bit"))
    return Panel(
        title=f"Difference in {word}",
        x=DEPTH,
        y=axis,
        marks=(ZERO,),
        series=(line,),
        row=1,
        column=column,
        height=0.8,
    )
