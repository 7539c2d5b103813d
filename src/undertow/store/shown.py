"""What answers show: curves, effects, contrasts, tables; records that check themselves."""

from __future__ import annotations

import math
import re
from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from undertow.notebook import table

__all__ = [
    "Contrast",
    "Curve",
    "Effect",
    "Floats",
    "Frozen",
    "MaybeFloat",
    "Points",
    "Restoration",
    "Table",
    "Transfer",
    "curve_key",
    "split_key",
]  # fmt: skip


MaybeFloat: TypeAlias = Annotated[
    float | None,
    BeforeValidator(lambda v: None if isinstance(v, float) and not math.isfinite(v) else v),
]
"""A number, or ``None`` where there is none; NaN and infinities become ``None``."""
Floats: TypeAlias = tuple[MaybeFloat, ...]


class Frozen(BaseModel):
    """A record that does not change and knows all its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class _Columns(Frozen):
    @model_validator(mode="after")
    def _even(self) -> _Columns:
        for group in self._groups():
            lengths = {name: len(getattr(self, name)) for name in group if getattr(self, name)}
            if len(set(lengths.values())) > 1:
                raise ValueError(f"columns of different lengths: {lengths}")
        return self

    def _groups(self) -> tuple[tuple[str, ...], ...]:
        return ()


class Curve(_Columns):
    """An aggregated IP over depth, with the band around it and the per-tap means beneath."""

    depth: Floats
    mean: Floats
    low: Floats
    high: Floats
    tap_depth: Floats = ()
    tap_mean: Floats = ()
    tap_sem: Floats = ()
    n: int | None = None

    def _groups(self) -> tuple[tuple[str, ...], ...]:
        return ("depth", "mean", "low", "high"), ("tap_depth", "tap_mean", "tap_sem")


class Effect(_Columns):
    """The paired effect size against benign inputs, tap by tap."""

    tap: tuple[str, ...]
    depth: Floats
    d_z: Floats
    low: Floats = ()
    high: Floats = ()
    p_adjusted: Floats = ()
    n: int | None = None

    def _groups(self) -> tuple[tuple[str, ...], ...]:
        return (("tap", "depth", "d_z", "low", "high", "p_adjusted"),)


class Points(_Columns):
    """Means at each tap, with their 95 % intervals."""

    mean: Floats
    low: Floats
    high: Floats

    def _groups(self) -> tuple[tuple[str, ...], ...]:
        return (("mean", "low", "high"),)


class Contrast(Frozen):
    """One quantity of the inputs that an attack succeeds on: ``benign``, ``attack``, each control.

    Args:
        tap: names of the taps.
        depth: theirs.
        n: inputs.
        level: the quantity itself, by who.
        change: its paired difference from the same inputs left benign, by who.
    """

    tap: tuple[str, ...]
    depth: Floats
    n: int
    level: dict[str, Points]
    change: dict[str, Points]

    @model_validator(mode="after")
    def _fits(self) -> Contrast:
        sizes = {len(p.mean) for by in (self.level, self.change) for p in by.values()}
        if sizes - {len(self.tap)} or len(self.depth) != len(self.tap):
            raise ValueError(f"{len(self.tap)} taps, columns of {sorted(sizes)}")
        return self


class Transfer(Frozen):
    """How often inputs made on one model (row) fool another (column), as shares with intervals."""

    attack: str
    source: tuple[str, ...]
    model: tuple[str, ...]
    rate: tuple[Floats, ...]
    low: tuple[Floats, ...] = ()
    high: tuple[Floats, ...] = ()
    n: tuple[tuple[int | None, ...], ...] = ()

    @model_validator(mode="after")
    def _matrix(self) -> Transfer:
        for name in ("rate", "low", "high", "n"):
            rows = getattr(self, name)
            if rows and [len(r) for r in rows] != [len(self.model)] * len(self.source):
                raise ValueError(f"{name} is not {len(self.source)} × {len(self.model)}")
        return self


class Table(Frozen):
    """A table of the report."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | MaybeFloat, ...], ...]
    caption: str = ""

    @model_validator(mode="after")
    def _even(self) -> Table:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"a row of '{self.title}' has not {len(self.columns)} cells")
        return self

    def _repr_html_(self) -> str:
        return table(self.title, self.columns, self.rows, note=self.caption)


class Restoration(Frozen):
    """What the maps of each tap of a model carry of one attack: restoration curves.

    Args:
        tap: names of the taps.
        depth: theirs.
        n: inputs that have something to restore.
        count: of each tap, how many maps are put back, place by place.
        restored: by ranking or control, at each tap the share of inputs whose true label returns.
        implanted: the same for the rival's label, the maps being put into the benign run.
        area: by ranking, at each tap the mean area under the restoration curve.
        smallest: at each tap, mean size of the smallest sets found, as share of the maps; then of
            those that the same search leaves in a random order.
        carriers: of each tap the maps that are most often in these sets, with the share of inputs.
    """

    tap: tuple[str, ...]
    depth: Floats
    n: int
    count: tuple[tuple[int, ...], ...]
    restored: dict[str, tuple[Points, ...]]
    implanted: dict[str, tuple[Points, ...]]
    area: dict[str, Points]
    smallest: tuple[Floats, Floats]
    carriers: tuple[tuple[tuple[int, MaybeFloat], ...], ...]

    @model_validator(mode="after")
    def _fits(self) -> Restoration:
        taps = len(self.tap)
        parts = (self.depth, self.count, self.carriers, *self.smallest)
        curves = [c for by in (self.restored, self.implanted) for c in by.values()]
        lengths = {len(p) for p in (*parts, *curves)} | {len(p.mean) for p in self.area.values()}
        places = [
            len(points.mean) == len(count)
            for curve in curves
            for points, count in zip(curve, self.count, strict=False)
        ]
        if lengths - {taps} or not all(places):
            raise ValueError(f"{taps} taps, columns of other lengths")
        return self


_KEY = re.compile(r"(?P<attack>[^@\[\]]+)(@(?P<source>[^\[\]]+))?(\[(?P<subset>[^\[\]]+)\])?")


def curve_key(attack: str, source: str | None = None, subset: str | None = None) -> str:
    """The key of a curve: ``jsma``, ``jsma@deep_conv``, ``jsma@deep_conv[transferable]``.

    Args:
        attack: the cell's attack (``"benign"``, ``"noise:igsm"``, …).
        source: the model aimed at, where it is another than the one that infers.
        subset: which of the cell's inputs, where not all: ``successful``, ``failed``,
            ``transferable``, ``non-transferable``.
    """
    return attack + (f"@{source}" if source else "") + (f"[{subset}]" if subset else "")


def split_key(key: str) -> tuple[str, str | None, str | None]:
    """Attack, source and subset of a curve's key."""
    found = _KEY.fullmatch(key)
    return (found["attack"], found["source"], found["subset"]) if found else (key, None, None)
