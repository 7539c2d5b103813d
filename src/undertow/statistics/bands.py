"""Aggregated profiles as functions of depth, so that models of different depth share an axis.

The mean over inputs at each tap is an observation of a smooth function of depth, with that tap's
standard error as its noise (Rasmussen 2004); scikit-learn's regressor does the rest.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.stats import norm

from undertow.errors import BadInput

__all__ = ["Band", "aggregate"]

Array = NDArray[np.float64]
_SMOOTH: Final = 2.5
_ROUGH: Final = 0.5
"""Smoothness ν of the Matérn kernel: twice differentiable, or merely continuous."""
_DECISIVE: Final = 5.0
"""By how much the rough one's log marginal likelihood must be larger (Kass and Raftery 1995)."""


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """A profile aggregated over inputs.

    Args:
        depth: the axis, (point,), from the first tap to the last.
        mean: the aggregated profile, (point,).
        low: lower end of the band, (point,).
        high: upper end, (point,).
        tap_depth: depth of the taps, (tap,).
        tap_mean: mean over inputs, (tap,).
        tap_sem: standard error of that mean, (tap,).
        n: number of inputs.
    """

    depth: Array
    mean: Array
    low: Array
    high: Array
    tap_depth: Array
    tap_mean: Array
    tap_sem: Array
    n: int


def aggregate(
    profiles: Float[np.ndarray, "sample tap"],
    depth: Float[np.ndarray, " tap"],
    *,
    points: int = 101,
    level: float = 0.95,
) -> Band:
    """Mean over inputs as a function of depth, with a Gaussian-process band.

    Args:
        profiles: one profile an input, (sample, tap), in bits (IIP, OIP) or as a correlation (IOC).
        depth: each tap's depth in [0, 1].
        points: how finely the function is drawn.
        level: coverage of the band.

    Raises:
        BadInput: for missing values or fewer than two inputs or taps.
    """
    if profiles.shape[0] < 2 or profiles.shape[1] < 2:
        raise BadInput(
            f"an aggregated profile needs 2 inputs and 2 taps or more, got {profiles.shape}"
        )
    if not np.isfinite(profiles).all():
        raise BadInput("profiles to aggregate cannot hold missing values")
    mean = profiles.mean(axis=0).astype(np.float64)
    sem = profiles.std(axis=0, ddof=1).astype(np.float64) / np.sqrt(len(profiles))
    order = np.argsort(depth, kind="stable")
    at = np.asarray(depth, dtype=np.float64)[order]
    # Over the tap's number: layers that almost coincide in depth are as far apart as any others,
    # and between two that lie far apart nothing is known that would widen the band.
    number = np.arange(len(at), dtype=np.float64)
    grid = np.linspace(0, len(at) - 1, points)
    centre, spread = mean.mean(), mean.std() or 1.0
    y, noise = (mean[order] - centre) / spread, sem[order] / spread
    z = norm.ppf((1 + level) / 2)
    fitted, error = _posterior(number, y, noise, np.concatenate([grid, number]), z)
    middle = fitted[:points] * spread + centre
    half = z * error[:points] * spread
    return Band(
        np.interp(grid, number, at), middle, middle - half, middle + half, at, mean[order],
        sem[order], len(profiles),
    )  # fmt: skip


def _posterior(x: Array, y: Array, noise: Array, grid: Array, z: float) -> tuple[Array, Array]:
    """Mean and standard deviation of the posterior on ``grid``; ``y`` is standardised.

    ``grid`` ends with the taps themselves, which must lie in the band.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern

    # A length scale under the taps' spacing or over the whole network says nothing about the data.
    span = float(x[-1] - x[0]) or 1.0
    found: dict[float, tuple[float, Array, Array, bool]] = {}
    for nu in (_SMOOTH, _ROUGH):
        shape = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(
            length_scale=max(span / 2, 1.0), length_scale_bounds=(1.0, 4 * span + 1e-3), nu=nu
        )
        # The level is unknown too: without it a flat profile's band would be far too narrow.
        kernel = ConstantKernel(10.0, "fixed") + shape
        process = GaussianProcessRegressor(kernel, alpha=noise**2 + 1e-8)
        with warnings.catch_warnings():
            # A bound that is reached is an answer here (a flat profile), not a failure.
            warnings.simplefilter("ignore", ConvergenceWarning)
            process.fit(x[:, None], y)
        mean, error = process.predict(grid[:, None], return_std=True)
        off = np.abs(mean[-len(x) :] - y) > z * error[-len(x) :] + 1e-3
        found[nu] = process.log_marginal_likelihood_value_, mean, error, bool(off.any())
    # A profile that jumps between two neighbouring taps makes a smooth function overshoot far, or
    # pass by its own points.
    smooth, rough = found[_SMOOTH], found[_ROUGH]
    _, mean, error, off = rough if smooth[3] or rough[0] > smooth[0] + _DECISIVE else smooth
    if off:
        mean, error = _through(x, y, noise, grid)
    return np.asarray(mean), np.asarray(error)


def _through(x: Array, y: Array, noise: Array, grid: Array) -> tuple[Array, Array]:
    """The means joined by straight lines, with their own errors: where no process fits them."""
    return np.interp(grid, x, y), np.interp(grid, x, noise)
