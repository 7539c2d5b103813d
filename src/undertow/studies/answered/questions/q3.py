"""Q3: how are existing defences vulnerable to adaptive attacks?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from undertow.errors import BadInput
from undertow.statistics.effects import bootstrap
from undertow.store import BENIGN, Cell, Claim
from undertow.studies.answered.questions.paired import (
    as_control,
    means,
    percent,
    rate,
    show,
    under_all,
)
from undertow.studies.answered.questions.verdicts import MEDIUM, number, sided
from undertow.studies.answered.results import Results
from undertow.studies.asked.plan import NOISE
from undertow.studies.asked.spec import StudySpec

__all__ = ["Q3"]


@dataclass(frozen=True, slots=True)
class _Pair:
    """A model with a regular attack and its adaptive variant."""

    model: str
    regular: str
    adaptive: str

    def cell(self, attack: str, *, noise: bool = False) -> Cell:
        return Cell(self.model, (NOISE if noise else "") + attack)


def _pairs(spec: StudySpec) -> tuple[_Pair, ...]:
    """Every model that an attack and the same attack with ``adaptive`` are aimed at."""
    out = []
    for model in spec.models:
        attacks = spec.attacks_on(model)
        for adaptive in attacks:
            for regular in attacks:
                if (
                    adaptive.settings.get("adaptive")
                    and not regular.settings.get("adaptive")
                    and regular.name == adaptive.name
                    and regular.control
                    and adaptive.control
                ):
                    out.append(_Pair(model, regular.id, adaptive.id))
    if not out:
        raise BadInput(
            "Q3 needs a regular and an adaptive variant of one attack on one model, each with its "
            "control (settings: {adaptive: true})"
        )
    return tuple(out)


@dataclass(frozen=True, slots=True)
class _Q3:
    id: str = "q3"
    words: str = "How are existing defence mechanisms often vulnerable to adaptive attacks?"

    def cells(self, spec: StudySpec) -> tuple[Cell, ...]:
        cells: list[Cell] = []
        for pair in _pairs(spec):
            both = (pair.regular, pair.adaptive)
            cells.append(Cell(pair.model, BENIGN))
            cells += [pair.cell(attack, noise=n) for attack in both for n in (False, True)]
        return tuple(cells)

    def claims(self, results: Results, rng: np.random.Generator) -> tuple[Claim, ...]:
        return tuple(
            claim
            for pair in _pairs(results.spec)
            for claim in (
                _further(results, pair, rng),
                _hindered(results, pair, rng),
                _beyond_noise(results, pair, rng),
            )
        )


Q3 = _Q3()


def _further(results: Results, pair: _Pair, rng: np.random.Generator) -> Claim:
    def gap(seen: Results) -> np.ndarray:
        return seen.difference(pair.cell(pair.adaptive)) - seen.difference(pair.cell(pair.regular))

    name = f"{pair.adaptive} − {pair.regular}"
    verdict, effects = under_all(results, name, gap, rng, least=MEDIUM)
    sizes = means(
        {
            f"difference from benign, {attack}": results.difference(pair.cell(attack))
            for attack in (pair.adaptive, pair.regular)
        },
        "benign s.d.", rng,
    )  # fmt: skip
    noise = results.difference(pair.cell(pair.adaptive, noise=True)) - results.difference(
        pair.cell(pair.regular, noise=True)
    )
    return Claim(
        claim="On the distilled model, inputs of the adaptive attack (successful and failed ones) "
        "deviate much further from benign ones than those of the regular attack.",
        verdict=verdict,
        sentence=f"On {pair.model}, the IPs of {pair.adaptive} are {sizes[0].value or 0:.1f} "
        f"benign standard deviations from benign, those of {pair.regular} "
        f"{sizes[1].value or 0:.1f}; paired by input that is {show(effects[0])} d_z "
        f"(n = {effects[0].n}).",
        numbers=(*effects, *sizes),
        control=as_control(
            "Noise of the two attacks' norms differs by {}: what their norms alone explain.",
            "noise: adaptive − regular", noise, rng,
        ),
    )  # fmt: skip


def _hindered(results: Results, pair: _Pair, rng: np.random.Generator) -> Claim:
    regular, adaptive = (results.success(pair.cell(a)) for a in (pair.regular, pair.adaptive))
    stalled = results.attacks(pair.cell(pair.regular))["stalled"].values.astype(bool)
    gap = bootstrap(adaptive.astype(float) - regular.astype(float), rng=rng)
    rates = (
        rate(f"success, {pair.regular}", regular),
        rate(f"success, {pair.adaptive}", adaptive),
        rate(f"stalled, {pair.regular}", stalled),
        rate("noise: fooled", results.fooled(pair.cell(pair.adaptive, noise=True))),
    )
    return Claim(
        claim="The defence hinders the regular attack, and the adaptive attack gets around it.",
        verdict=sided(gap),
        sentence=f"On {pair.model}, {pair.regular} succeeds on {percent(rates[0])} of the inputs "
        f"(on {percent(rates[2])} its gradients vanish), {pair.adaptive} on {percent(rates[1])}; "
        f"noise of the adaptive attack's norm fools it on {percent(rates[3])}.",
        numbers=(number("adaptive − regular, success", gap, unit="share", n=len(regular)), *rates),
    )


def _beyond_noise(results: Results, pair: _Pair, rng: np.random.Generator) -> Claim:
    def gap(seen: Results) -> np.ndarray:
        attack, noise = (pair.cell(pair.adaptive, noise=n) for n in (False, True))
        return seen.difference(attack) - seen.difference(noise)

    verdict, effects = under_all(results, f"{pair.adaptive} − its noise", gap, rng)
    return Claim(
        claim="Random noise of the same norm does not deviate as far (ours).",
        verdict=verdict,
        sentence=f"On {pair.model}, {pair.adaptive} is further from benign than noise of its "
        f"norm by {show(effects[0])} d_z (n = {effects[0].n}).",
        numbers=effects,
    )
