"""Which inputs of a cell are meant, and what is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from undertow.errors import BadInput
from undertow.store import Curve

__all__ = ["Array", "EndPoints", "Outcome", "Part", "Which", "curve_of", "values"]

Outcome: TypeAlias = Literal["all", "successful", "failed"]
Part: TypeAlias = Literal["net", "raw", "null"]
Array: TypeAlias = NDArray[np.float64]

LIMIT: Final = 2**30
"""Bytes of the largest array that is read: a stranger's run may claim to be of any size."""


@dataclass(frozen=True, slots=True)
class Which:
    """Which inputs of a cell, and how they were measured.

    Args:
        outcome: by what became of the attack.
        classes: true classes; empty for all.
        part: net of the null, as estimated, or the null.
        estimator: ``""`` for the study's own.
    """

    outcome: Outcome = "all"
    classes: tuple[int, ...] = ()
    part: Part = "net"
    estimator: str = ""

    @property
    def everything(self) -> bool:
        """Whether this is what the study itself aggregated."""
        return self == Which()


@dataclass(frozen=True, slots=True, eq=False)
class EndPoints:
    """Where the finished inputs of a cell ended, a row each."""

    rows: NDArray[np.int64]
    label: NDArray[np.int64]
    predicted: NDArray[np.int64]
    success: NDArray[np.bool_]
    fooled: NDArray[np.bool_]
    l2: Array

    def __len__(self) -> int:
        return len(self.rows)


def values(data: xr.Dataset, name: str) -> NDArray[Any]:
    """An array of a dataset, unless it claims to be larger than anything a run holds.

    Raises:
        BadInput: if it is too large.
    """
    array = data[name]
    if array.nbytes > LIMIT:
        raise BadInput(
            f"'{name}' claims {array.nbytes / 2**30:.1f} GiB (allowed: {LIMIT / 2**30:.0f})"
        )
    found: NDArray[Any] = array.values
    return found


def curve_of(rows: Array, depth: Array) -> Curve | None:
    """The aggregate of some inputs over depth; without a band where there are too few of them."""
    from undertow.statistics.bands import aggregate

    fit = np.isfinite(rows).all(axis=0) & np.isfinite(depth)
    rows, depth = rows[:, fit], depth[fit]
    if not fit.any():
        return None
    if len(rows) < 2 or len(depth) < 2:
        return Curve(
            depth=(),
            mean=(),
            low=(),
            high=(),
            n=len(rows),
            tap_depth=tuple(depth.tolist()),
            tap_mean=tuple(rows.mean(axis=0).tolist()),
            tap_sem=(None,) * len(depth),
        )
    band = aggregate(rows, depth, points=65)
    named = {
        k: tuple(getattr(band, k).tolist())
        for k in ("depth", "mean", "low", "high", "tap_depth", "tap_mean", "tap_sem")
    }
    return Curve(**named, n=band.n)
