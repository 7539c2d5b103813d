"""Pairs of variables whose mutual information is known, after the benchmark of Czyż et al. (2023).

A :class:`KnownPair` draws samples and knows its bits. Transforms of one variable that can be undone
keep the information, monotone or not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import lgamma, log, log2, pi, sqrt
from typing import Any, Final

import numpy as np
from scipy.special import digamma, ndtr

__all__ = [
    "TASKS",
    "KnownPair",
    "additive_noise",
    "gaussian",
    "shared_zeros",
    "student",
    "transformed",
]

Array = np.ndarray[Any, np.dtype[np.float64]]
Pair = tuple[Array, Array]


@dataclass(frozen=True, slots=True)
class KnownPair:
    """A pair of variables.

    Args:
        name: in tables.
        bits: I(X; Y).
        draw: ``draw(rng, shape)`` gives x and y of that shape, samples along the last axis.
        monotone: whether the Gaussian copula describes the pair, up to monotone transforms.
        discrete: whether all information is in what bins tell apart (being zero or not).
    """

    name: str
    bits: float
    draw: Callable[[np.random.Generator, tuple[int, ...]], Pair]
    monotone: bool
    discrete: bool = False


def gaussian(rho: float) -> KnownPair:
    """Bivariate Gaussian of correlation ρ: -½·log2(1 - ρ²)."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Pair:
        x, noise = rng.standard_normal((2, *shape))
        return x, rho * x + sqrt(1 - rho**2) * noise

    return KnownPair(f"gaussian ρ={rho:g}", -0.5 * log2(1 - rho**2), draw, monotone=True)


def transformed(
    name: str, task: KnownPair, x: Callable[[Array], Array], y: Callable[[Array], Array], *,
    monotone: bool = True,
) -> KnownPair:  # fmt: skip
    """The same information behind transforms of x and y that can be undone."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Pair:
        first, second = task.draw(rng, shape)
        return x(first), y(second)

    return KnownPair(name, task.bits, draw, monotone=monotone and task.monotone)


def additive_noise(epsilon: float) -> KnownPair:
    """X uniform on [0, 1), Y = X + uniform noise on [-ε, ε], ε ≤ ½: ε - ln 2ε nats."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Pair:
        x = rng.random(shape)
        return x, x + epsilon * (2 * rng.random(shape) - 1)

    bits = (epsilon - log(2 * epsilon)) / log(2)
    return KnownPair(f"additive noise ε={epsilon:g}", bits, draw, monotone=False)


def student(rho: float, freedom: int) -> KnownPair:
    """Bivariate Student t of dispersion ρ: dependent even where ρ = 0."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Pair:
        x, y = gaussian(rho).draw(rng, shape)
        scale = np.sqrt(freedom / rng.chisquare(freedom, shape))
        return x * scale, y * scale

    def entropy(dimensions: int) -> float:
        half = (freedom + dimensions) / 2
        volume = lgamma(freedom / 2) - lgamma(half) + dimensions / 2 * log(freedom * pi)
        return volume + half * float(digamma(half) - digamma(freedom / 2))

    nats = 2 * entropy(1) - entropy(2) - 0.5 * log(1 - rho**2)
    return KnownPair(f"student ν={freedom} ρ={rho:g}", nats / log(2), draw, monotone=False)


def shared_zeros(share: float) -> KnownPair:
    """Both zero at the same positions, independent elsewhere: the entropy of being zero."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Pair:
        keep = rng.random(shape) >= share
        x, y = 1 + rng.random((2, *shape))
        return x * keep, y * keep

    bits = -share * log2(share) - (1 - share) * log2(1 - share)
    return KnownPair(f"shared zeros {share:.0%}", bits, draw, monotone=False, discrete=True)


def _half_cube(x: Array) -> Array:
    return x * np.sqrt(np.abs(x))


def _wiggly(x: Array) -> Array:
    """Slope between 0.2 and 1.8: monotone."""
    return x + 0.4 * np.sin(x) + 0.2 * np.sin(1.7 * x + 1) + 0.02 * np.sin(3.3 * x - 2.5)


def _half_turn(x: Array) -> Array:
    """The lower half of the distribution set on top of the upper one: can be undone."""
    return np.asarray((ndtr(x) + 0.5) % 1)


def _same(x: Array) -> Array:
    return x


_BASE = gaussian(0.8)
TASKS: Final[tuple[KnownPair, ...]] = (
    *(gaussian(rho) for rho in (0.2, 0.5, 0.8, 0.9, 0.95)),
    transformed("asinh", _BASE, np.arcsinh, np.arcsinh),
    transformed("half cube", _BASE, _half_cube, _half_cube),
    transformed("wiggly", _BASE, _wiggly, _wiggly),
    transformed("normal cdf", _BASE, ndtr, ndtr),
    transformed("half turn", _BASE, _half_turn, _same, monotone=False),
    additive_noise(0.1),
    additive_noise(0.4),
    student(0.8, 2),
    student(0.0, 1),
    shared_zeros(0.5),
    shared_zeros(0.9),
)
"""What ``undertow calibrate`` measures estimators against."""
