"""Q1: how are adversarial inputs crafted to trigger networks to misbehave?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from undertow.axes import PROFILES
from undertow.errors import BadInput
from undertow.statistics.effects import Comparison, Interval, bootstrap, compare
from undertow.store import BENIGN, Cell, Claim, Control, Number
from undertow.store.answers import Verdict
from undertow.studies.answered.questions.verdicts import (
    MEDIUM,
    agree,
    at_least,
    effect,
    number,
    sided,
    strongest,
)
from undertow.studies.answered.results import Followed, Results
from undertow.studies.asked.plan import NOISE
from undertow.studies.asked.spec import StudySpec

__all__ = ["Q1", "deviation", "growth"]


def growth(followed: tuple[Followed, ...]) -> np.ndarray:
    """Spearman's ρ of step and overall difference, one a trajectory of 3 steps or more."""
    rho = [
        stats.spearmanr(f.step, f.difference).statistic
        for f in followed
        if len(f.step) > 2 and np.ptp(f.difference) > 0
    ]
    return np.array(rho, dtype=np.float64)


def deviation(results: Results, cell: Cell, rng: np.random.Generator) -> dict[str, Comparison]:
    """Adversarial against benign IPs of the same inputs, where the attack succeeded."""
    rows = results.success(cell)
    benign = Cell(cell.model, BENIGN)
    return {
        p: compare(results.profile(cell, p)[rows], results.profile(benign, p)[rows], rng=rng)
        for p in PROFILES
    }


@dataclass(frozen=True, slots=True)
class _Q1:
    id: str = "q1"
    words: str = "How are adversarial inputs crafted to trigger networks to misbehave?"

    def cells(self, spec: StudySpec) -> tuple[Cell, ...]:
        attack = spec.traced
        if attack is None or not spec.attack(attack).control:
            raise BadInput("Q1 needs an attack to follow, with its control")
        return tuple(Cell(m, a) for m in spec.followed for a in (BENIGN, attack, NOISE + attack))

    def claims(self, results: Results, rng: np.random.Generator) -> tuple[Claim, ...]:
        return tuple(
            claim
            for model in results.spec.followed
            for claim in (
                _deviates(results, model, rng),
                _grows(results, model, rng),
                _beyond_noise(results, model, rng),
            )
        )


Q1 = _Q1()


def _deviates(results: Results, model: str, rng: np.random.Generator) -> Claim:
    attack = results.traced
    verdicts: list[Verdict] = []
    numbers: list[Number] = []
    for estimator in results.estimators:
        seen = results.under(estimator)
        found = deviation(seen, Cell(model, attack), rng)
        reach = {p: int(at_least(c, MEDIUM).sum()) for p, c in found.items()}
        taps = seen.taps(model)
        for profile, comparison in found.items():
            tap = strongest(comparison)
            numbers.append(
                effect(f"{profile.upper()} at {taps[tap]}, {estimator}", comparison, tap)
            )
        none = not any(c.significant().any() for c in found.values())
        verdicts.append(
            "supported" if any(reach.values()) else "contradicted" if none else "inconclusive"
        )
    shifted = numbers[: len(PROFILES)]
    n = shifted[0].n
    sentence = (
        f"On {model}, {attack} shifts the IPs of the {n} inputs it fools it on: "
        + ", ".join(f"{x.name.split(',')[0]} by {x.value:+.2f} d_z" for x in shifted)
        + " (where each shift is largest)."
    )
    controls = [
        effect(f"noise: {p.upper()}", c, strongest(c))
        for p, c in deviation(results, Cell(model, NOISE + attack), rng).items()
    ]
    return Claim(
        claim="The information flows of adversarial inputs deviate from those of benign ones.",
        verdict=agree(verdicts), sentence=sentence, numbers=tuple(numbers),
        control=Control(
            sentence="Noise of the same norm: "
            + ", ".join(f"{c.name.split()[-1]} by {c.value:+.2f} d_z" for c in controls) + ".",
            numbers=tuple(controls),
        ),
    )  # fmt: skip


def _grows(results: Results, model: str, rng: np.random.Generator) -> Claim:
    verdicts: list[Verdict] = []
    numbers: list[Number] = []
    for estimator in results.estimators:
        rho = growth(results.under(estimator).followed(model))
        found = _mean(rho, rng)
        verdicts.append(sided(found))
        numbers.append(
            number(f"Spearman's ρ of step and difference, {estimator}", found, n=len(rho))
        )
    rho = growth(results.followed(model, noise=True))
    noise = number("noise: Spearman's ρ", _mean(rho, rng), n=len(rho))
    first = numbers[0]
    return Claim(
        claim="The overall difference from the benign IPs grows with the attack's step.",
        verdict=agree(verdicts),
        sentence=(
            f"On {model}, step and overall difference go together with ρ = {_show(first)} "
            f"over {first.n} trajectories of {results.traced}."
        ),
        numbers=tuple(numbers),
        control=Control(
            sentence=f"Noise that has the norm of each step: ρ = {_show(noise)}; a growing norm "
            "alone makes the difference grow, so the next claim compares the two at equal norm.",
            numbers=(noise,),
        ),
    )


def _beyond_noise(results: Results, model: str, rng: np.random.Generator) -> Claim:
    verdicts: list[Verdict] = []
    numbers: list[Number] = []
    for estimator in results.estimators:
        seen = results.under(estimator)
        ends = np.array([f.difference[-1] for f in seen.followed(model)])
        noise = np.array([f.difference[-1] for f in seen.followed(model, noise=True)])
        excess = _mean(ends - noise, rng)
        verdicts.append(sided(excess))
        unit = "benign s.d."
        numbers += [
            number(f"difference at the end, {estimator}", _mean(ends, rng), unit=unit, n=len(ends)),
            number(
                f"noise of the same norm, {estimator}", _mean(noise, rng), unit=unit, n=len(noise)
            ),
            number(f"excess over noise, {estimator}", excess, unit=unit, n=len(ends)),
        ]
    end, noisy, over = numbers[:3]
    return Claim(
        claim="Random noise of the same norm does not shift the flow as far (ours).",
        verdict=agree(verdicts),
        sentence=(
            f"On {model}, the last iterate is {_show(end)} benign standard deviations away, noise "
            f"of its norm {_show(noisy)}; the excess is {_show(over)} (n = {over.n})."
        ),
        numbers=tuple(numbers),
    )


def _mean(x: np.ndarray, rng: np.random.Generator) -> Interval:
    return bootstrap(x, rng=rng) if len(x) else Interval(float("nan"), -np.inf, np.inf)


def _show(x: Number) -> str:
    if x.value is None:
        return "unknown"
    return f"{x.value:.2f} [{x.low:.2f}, {x.high:.2f}]"
