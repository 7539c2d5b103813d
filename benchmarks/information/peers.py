"""Other libraries' mutual information over all pairs of two families of maps of one input.

Each function takes ``a`` (row, position) and ``b`` (col, position) in float32 and returns
(row, col) bits or nats; ``LIMITS`` says how many inputs a slow one gets.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Peer = Callable[[Array, Array], Array]
BINS = 16

__all__ = ["BINS", "PEERS", "versions"]


def _each(a: Array, b: Array, pair: Callable[[Array, Array], float]) -> Array:
    return np.array([[pair(x, y) for y in b] for x in a])


def _width_bins(maps: Array) -> Array:
    low, high = maps.min(axis=1, keepdims=True), maps.max(axis=1, keepdims=True)
    scale = BINS / np.where(high > low, high - low, np.inf)
    return np.minimum((maps - low) * scale, BINS - 1).astype(np.int64)


def frites_gcmi(a: Array, b: Array) -> Array:
    from frites.core import copnorm_nd, gcmi_nd_cc

    rows, cols = len(a), len(b)
    # Ranks once a map, as its documentation advises; then all pairs in one call.
    x, y = copnorm_nd(a, axis=-1), copnorm_nd(b, axis=-1)
    x = np.repeat(x, cols, axis=0)[:, None]
    y = np.tile(y, (rows, 1))[:, None]
    return gcmi_nd_cc(x, y, mvaxis=-2, traxis=-1, shape_checking=False, gcrn=False).reshape(
        rows, cols
    )


def frites_gcmi_plain(a: Array, b: Array) -> Array:
    from frites.core import gcmi_nd_cc

    x = np.repeat(a, len(b), axis=0)[:, None]
    y = np.tile(b, (len(a), 1))[:, None]
    return gcmi_nd_cc(x, y, mvaxis=-2, traxis=-1).reshape(len(a), len(b))


def widestats_binned(a: Array, b: Array) -> Array:
    import widestats

    return widestats.mutual_info(a.T, b.T, bins=BINS, order=1, device="cpu")


def bincount_loop(a: Array, b: Array) -> Array:
    n = a.shape[1]

    def entropy(counts: Array) -> float:
        p = counts[counts > 0] / n
        return float(-(p * np.log2(p)).sum())

    x, y = _width_bins(a), _width_bins(b)
    own_x = [entropy(np.bincount(row)) for row in x]
    own_y = [entropy(np.bincount(row)) for row in y]
    return np.array([
        [own_x[i] + own_y[j] - entropy(np.bincount(BINS * u + v)) for j, v in enumerate(y)]
        for i, u in enumerate(x)
    ])  # fmt: skip


def sklearn_score(a: Array, b: Array) -> Array:
    from sklearn.metrics import mutual_info_score

    return _each(_width_bins(a), _width_bins(b), mutual_info_score)


def sklearn_regression(a: Array, b: Array) -> Array:
    from sklearn.feature_selection import mutual_info_regression

    return np.array([mutual_info_regression(b.T, x, random_state=0) for x in a])


def npeet_plus(a: Array, b: Array) -> Array:
    from npeet_plus import mi

    return _each(a, b, lambda x, y: mi(x[:, None], y[:, None]))


def infomeasure_discrete(a: Array, b: Array) -> Array:
    import infomeasure

    return _each(
        _width_bins(a), _width_bins(b),
        lambda x, y: infomeasure.mutual_information(x, y, approach="discrete"),
    )  # fmt: skip


PEERS: dict[str, tuple[Peer, int, str]] = {
    "frites gcmi_nd_cc, ranks once": (frites_gcmi, 16, "gaussian_copula"),
    "frites gcmi_nd_cc": (frites_gcmi_plain, 4, "gaussian_copula"),
    "widestats order 1": (widestats_binned, 32, "binned_width"),
    "np.bincount loop": (bincount_loop, 8, "binned_width"),
    "sklearn mutual_info_score": (sklearn_score, 1, "binned_width"),
    "infomeasure discrete": (infomeasure_discrete, 1, "binned_width"),
    "sklearn mutual_info_regression": (sklearn_regression, 1, "ksg"),
    "npeet-plus mi": (npeet_plus, 1, "ksg"),
}
"""Name to function, inputs it gets, and the estimator of ours that answers the same question."""


def versions() -> dict[str, str]:
    """Installed versions; those that are not here are said to be."""
    found = {}
    for name in ("frites", "widestats", "numpy", "scikit-learn", "npeet-plus", "infomeasure"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
