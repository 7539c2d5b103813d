"""How often each rule of a verdict errs, and how often it sees what is there.

Every claim names its rule (``Claim.rule``); here each rule is run on simulated inputs at the border
of its hypothesis, at no effect, and beyond. A claim is false up to and at its border, so
"supported" there is an error; beyond, it is power.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from undertow.statistics.association import Pair, gain, partial_correlation, scored, trend
from undertow.statistics.verdicts import (
    AREA,
    ASSOCIATION,
    DRASTIC,
    EXISTS,
    GAIN,
    MUCH,
    RESTORES,
    Ruled,
    beyond,
    everywhere,
    exists,
    gets_around,
    more_often,
    moved,
    pseudo_values,
    share_beyond,
)

__all__ = ["RULES", "ErrorRate", "Rule", "error_rates"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """How often a rule says what, over simulated runs.

    Args:
        rule: its name.
        noise: how inputs vary: normal, heavy-tailed or skewed; taps go together.
        n: inputs a run.
        effect: what was planted: d_z, or the difference of shares.
        truth: whether the claim is then true.
        supported: share of runs.
        contradicted: share of runs.
        runs: how many.
    """

    rule: str
    noise: str
    n: int
    effect: float
    truth: bool
    supported: float
    contradicted: float
    runs: int


Draw: TypeAlias = Callable[[np.random.Generator, str, int, float], Ruled]
TAPS: Final = 8
NOISES: Final = ("normal", "heavy", "skewed")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule and how to try it.

    Args:
        words: what it asks, of what.
        draw: simulates a run and rules on it.
        border: the effect up to which the claim is false.
        effects: what is planted.
        noises: ways in which inputs vary.
    """

    words: str
    draw: Draw
    border: float
    effects: tuple[float, ...]
    noises: tuple[str, ...] = NOISES


def _varied(rng: np.random.Generator, noise: str, n: int, columns: int) -> Array:
    """Inputs of mean 0 and standard deviation 1 whose columns correlate by a half."""
    x: Array = (_drawn(rng, noise, (n, 1)) + _drawn(rng, noise, (n, columns))) / np.sqrt(2)
    return x


def _drawn(rng: np.random.Generator, noise: str, shape: tuple[int, ...]) -> Array:
    if noise == "heavy":
        return np.asarray(rng.standard_t(5, shape) / np.sqrt(5 / 3))
    return rng.standard_exponential(shape) - 1 if noise == "skewed" else rng.normal(size=shape)


def _one(size: float, rng: np.random.Generator, noise: str, n: int, d: float) -> Ruled:
    return beyond(_varied(rng, noise, n, 1)[:, 0] + d, size)


def _some(
    size: float, positive: bool, rng: np.random.Generator, noise: str, n: int, d: float
) -> Ruled:
    return exists(_varied(rng, noise, n, TAPS) + d, size, positive=positive)


def _two_sided(rng: np.random.Generator, noise: str, n: int, d: float) -> Ruled:
    sign = rng.choice([-1, 1])
    return moved(sign * (_varied(rng, noise, n, 1)[:, 0] + d))


def _rates(rng: np.random.Generator, noise: str, n: int, gap: float) -> Ruled:
    common = rng.random(n) < 0.5
    a, b = (np.where(common, rng.random(n) < p, rng.random(n) < p) for p in (0.4 + gap, 0.4))
    return more_often(a, b)


def _growth(rng: np.random.Generator, noise: str, n: int, pull: float) -> Ruled:
    """Random walks of ten steps: what does not grow wanders, and must not be taken for growth."""
    steps = _drawn(rng, noise, (n, 10)) + pull
    return beyond(trend(steps.cumsum(axis=1)), EXISTS)


def _excess(rng: np.random.Generator, noise: str, n: int, gap: float) -> Ruled:
    """Mean differences of rates over three models, the same input in each."""
    hard = rng.random((n, 1))
    a, b = (rng.random((n, 3)) < hard * p for p in (0.4 + gap, 0.4))
    return share_beyond((a.astype(float) - b).mean(axis=1), 0.0)


def _pairs(rng: np.random.Generator, noise: str, n: int, pull: float) -> list[Pair]:
    """Three pairs of models: hits depend on the margin, and the feature does, too."""
    own = _drawn(rng, noise, (n, 1))
    margin = (own + _drawn(rng, noise, (n, 3))) / np.sqrt(2)
    hit = rng.random((n, 3)) < 1 / (1 + np.exp(margin))
    feature = _drawn(rng, noise, (n, 3)) + _drawn(rng, noise, (n, 1)) - margin + pull * hit
    used = np.ones(n, dtype=bool)
    return [Pair(hit[:, k], margin[:, k], feature[:, k : k + 1], used) for k in range(3)]


def _association(rng: np.random.Generator, noise: str, n: int, pull: float) -> Ruled:
    pairs = _pairs(rng, noise, n, pull)
    return share_beyond(pseudo_values(partial(partial_correlation, pairs), n), ASSOCIATION)


def _gain(rng: np.random.Generator, noise: str, n: int, pull: float) -> Ruled:
    pairs = _pairs(rng, noise, n, pull)
    return share_beyond(pseudo_values(partial(gain, scored(pairs, n)), n), GAIN)


def _restored(rng: np.random.Generator, noise: str, n: int, gap: float) -> Ruled:
    """Whether a label returns at each tap, less the share of four random orders that return it."""
    hard = rng.random((n, 1)) * 0.6
    hit = rng.random((n, TAPS)) < hard + gap
    return everywhere(hit - (rng.random((n, TAPS, 4)) < hard[..., None]).mean(axis=2), RESTORES)


def _nowhere(rng: np.random.Generator, noise: str, n: int, gap: float) -> Ruled:
    """Claimed: at no tap larger. Planted: how far below the border the areas differ."""
    spread = np.clip(0.15 * _varied(rng, noise, n, TAPS), -1, 1)
    return everywhere(-(spread + AREA - gap), -AREA)


def _around(rng: np.random.Generator, noise: str, n: int, gap: float) -> Ruled:
    """An adaptive attack that fools half and more, beside a regular one that fools a tenth."""
    hard = rng.random(n)
    return gets_around(hard < 0.5 + gap, hard < 0.1)


RULES: Final[Mapping[str, Rule]] = {
    "beyond": Rule(
        "one paired difference, d_z above 0.2",
        partial(_one, EXISTS), EXISTS, (0.0, EXISTS, 0.5, 0.8)),
    "much": Rule(
        "one paired difference, d_z above 0.5",
        partial(_one, MUCH), MUCH, (0.0, MUCH, 0.8, 1.2)),
    "moved": Rule(
        "one paired difference, |d_z| above 0.2",
        _two_sided, EXISTS, (0.0, EXISTS, 0.5, 0.8)),
    "exists": Rule(
        "some tap of several, |d_z| above 0.2",
        partial(_some, EXISTS, False), EXISTS, (0.0, EXISTS, 0.5, 0.8)),
    "exists upwards": Rule(
        "some tap of several, d_z above 0.2",
        partial(_some, EXISTS, True), EXISTS, (0.0, EXISTS, 0.5, 0.8)),
    "drastic": Rule(
        "some tap of several, |d_z| above 0.8",
        partial(_some, DRASTIC, False), DRASTIC, (0.0, 0.4, DRASTIC, 1.2, 1.6)),
    "growth": Rule(
        "rank correlations with the step, d_z above 0.2; planted: pull a step, in its s.d.",
        _growth, 0.0, (0.0, 0.3, 0.6)),
    "more often": Rule(
        "one rate above another, paired; planted: their difference",
        _rates, 0.0, (0.0, 0.2, 0.4), ("normal",)),
    "gets around": Rule(
        "an adaptive attack fools most inputs, and more than the regular one; planted: above half",
        _around, 0.0, (0.0, 0.1, 0.3), ("normal",)),
    "excess": Rule(
        "a mean difference of rates above 0; planted: factor of the rates",
        _excess, 0.0, (0.0, 0.2, 0.4), ("normal",)),
    "association": Rule(
        f"partial correlation given the margin above {ASSOCIATION:g}; planted: shift of those hit",
        _association, 0.0, (0.0, 1.0, 2.0)),
    "gain": Rule(
        f"AUC beyond the margin's by more than {GAIN:g}; planted: shift of those hit",
        _gain, 0.0, (0.0, 1.0, 2.0)),
    "everywhere": Rule(
        f"at every tap a share of inputs above {RESTORES:g}; planted: their difference",
        _restored, RESTORES, (0.0, RESTORES, 0.2, 0.4), ("normal",)),
    "nowhere": Rule(
        f"at no tap an area larger by {AREA:g}; planted: how far below that they are",
        _nowhere, 0.0, (0.0, 0.05, 0.1)),
}  # fmt: skip
"""Every rule that a claim may name."""


def error_rates(
    *, sizes: tuple[int, ...] = (32, 1000), runs: int = 1000, seed: int = 0
) -> list[ErrorRate]:
    """Simulate every rule.

    Args:
        sizes: inputs a run.
        runs: simulated runs a line.
        seed: of all draws.
    """
    found = []
    for name, rule in RULES.items():
        for noise in rule.noises:
            for n in sizes:
                for effect in rule.effects:
                    rng = np.random.default_rng([seed, n, int(1000 * effect)])
                    said = [rule.draw(rng, noise, n, effect).verdict for _ in range(runs)]
                    yes, no = (said.count(word) / runs for word in ("supported", "contradicted"))
                    true = effect > rule.border
                    found.append(ErrorRate(name, noise, n, effect, true, yes, no, runs))
    return found
