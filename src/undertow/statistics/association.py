"""What goes together among inputs: trends along steps, partial correlation, and what ranks better.

Statistics of several *pairs* of models at once take the same inputs' values in each pair; one input
is then left out of all pairs together (:func:`undertow.statistics.verdicts.pseudo_values`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy import stats

__all__ = ["Pair", "Scored", "auc", "gain", "partial_correlation", "scored", "trend"]

Array = NDArray[np.float64]
LEAST, MANY = 5, 20
"""Inputs of either kind without which a pair says nothing of correlation, half a pair of AUC."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """The inputs of one pair of models.

    Args:
        hit: what is to be told, such as whether an input transfers, (sample,).
        known: what is known anyway, such as the benign margin, (sample,).
        added: what may tell more, (sample, feature).
        used: which inputs count, (sample,).
    """

    hit: Bool[np.ndarray, " sample"]
    known: Float[np.ndarray, " sample"]
    added: Float[np.ndarray, "sample feature"]
    used: Bool[np.ndarray, " sample"]

    def among(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.bool_], Array, Array] | None:
        """Hit, known and added (sample, feature) of some rows; None where either kind is rare."""
        rows = rows[self.used[rows]]
        hit = self.hit[rows]
        if min(hit.sum(), (~hit).sum()) < LEAST:
            return None
        return hit, self.known[rows], self.added[rows]


def trend(values: Float[np.ndarray, "*batch step"]) -> Float[np.ndarray, "*batch"]:
    """Spearman's rank correlation of sequences with their place; 0 for constant ones."""
    ranks = stats.rankdata(values, axis=-1)
    ranks -= ranks.mean(axis=-1, keepdims=True)
    place = np.arange(values.shape[-1]) - (values.shape[-1] - 1) / 2
    size = np.sqrt(np.square(ranks).sum(axis=-1) * np.square(place).sum())
    rho: Array = np.divide(ranks @ place, size, out=np.zeros(values.shape[:-1]), where=size > 0)
    return rho


def partial_correlation(pairs: Sequence[Pair], rows: NDArray[np.int64]) -> float:
    """Correlation of ``hit`` and ``added`` where ``known`` is the same, averaged over pairs.

    Both are freed of what is linear in ``known``, within each pair. NaN where no pair says
    anything.
    """
    found = []
    for pair in pairs:
        told = pair.among(rows)
        if told is None:
            continue
        hit, known, added = told
        a, b = _without(hit.astype(float), known), _without(added[:, 0], known)
        size = np.sqrt((a @ a) * (b @ b))
        found.append(float(a @ b / size) if size > 0 else 0.0)
    return float(np.mean(found)) if found else float("nan")


def _without(x: Array, known: Array) -> Array:
    x, known = x - x.mean(), known - known.mean()
    power = float(known @ known)
    return x - known * float(known @ x) / power if power > 0 else x


def auc(hit: Bool[np.ndarray, " sample"], score: Float[np.ndarray, " sample"]) -> float:
    """Chance that one that is hit scores higher than one that is not (Mann and Whitney 1947)."""
    n = int(hit.sum())
    ranks = stats.rankdata(score)
    return float((ranks[hit].sum() - n * (n + 1) / 2) / (n * (len(hit) - n)))


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Inputs of one half of a pair, ranked by what was fitted on the other half.

    Args:
        rows: which inputs these are.
        hit: what is to be told.
        alone: score by what is known anyway.
        both: score with what was added.
    """

    rows: NDArray[np.int64]
    hit: Bool[np.ndarray, " row"]
    alone: Float[np.ndarray, " row"]
    both: Float[np.ndarray, " row"]


def scored(pairs: Sequence[Pair], n: int) -> tuple[Scored, ...]:
    """Scores by Fisher's (1936) discriminant, fitted on every other input, of the rest.

    So a feature that tells nothing adds nothing. Halves with few inputs of a kind are left out.
    """
    found = []
    for pair in pairs:
        halves = [np.flatnonzero(pair.used & (np.arange(n) % 2 == k)) for k in (0, 1)]
        x = np.column_stack([pair.known, pair.added])
        if min(min(pair.hit[h].sum(), (~pair.hit[h]).sum()) for h in halves) < MANY:
            continue
        for fit, rows in (halves, halves[::-1]):
            hit = pair.hit[fit]
            alone, both = (x[rows, :k] @ _way(hit, x[fit, :k]) for k in (1, x.shape[1]))
            found.append(Scored(rows, pair.hit[rows], alone, both))
    return tuple(found)


def gain(halves: Sequence[Scored], rows: NDArray[np.int64]) -> float:
    """How much higher the AUC is with what was added than without, averaged over halves.

    NaN where there are none.
    """
    gains = []
    for half in halves:
        here = np.isin(half.rows, rows)
        hit = half.hit[here]
        gains.append(auc(hit, half.both[here]) - auc(hit, half.alone[here]))
    return float(np.mean(gains)) if gains else float("nan")


def _way(hit: NDArray[np.bool_], x: Array) -> Array:
    within = np.concatenate([x[hit] - x[hit].mean(0), x[~hit] - x[~hit].mean(0)])
    scatter = within.T @ within / len(within)
    ridge = 1e-6 * np.trace(scatter) / len(scatter) * np.eye(len(scatter))
    way: Array = np.linalg.lstsq(scatter + ridge, x[hit].mean(0) - x[~hit].mean(0), rcond=None)[0]
    return way
