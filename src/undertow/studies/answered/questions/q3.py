"""Q3: how are existing defences vulnerable to adaptive attacks?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from undertow.statistics.verdicts import MUCH, beyond, more_often
from undertow.store import BENIGN, Cell, Claim, Control
from undertow.studies.answered.questions.claims import (
    apart,
    beside,
    controlled,
    lacking,
    means,
    number,
    percent,
    rate,
    ruled,
)
from undertow.studies.answered.results import DECIDES, Results
from undertow.studies.asked.plan import named
from undertow.studies.asked.spec import AttackSpec, StudySpec

__all__ = ["Q3"]


@dataclass(frozen=True, slots=True)
class _Pair:
    """A defended model with a variant of an attack that is not adapted to it, and one that is."""

    model: str
    regular: AttackSpec
    adaptive: AttackSpec

    @property
    def cells(self) -> tuple[Cell, Cell]:
        return Cell(self.model, self.regular.id), Cell(self.model, self.adaptive.id)

    @property
    def words(self) -> str:
        if self.regular.settings.get("outputs") == "softmax":
            return (
                "the attack that reads the softmax (ours: the variant that defences are shown on)"
            )
        return "the regular attack"


def _pairs(spec: StudySpec) -> tuple[_Pair, ...]:
    """Every model that an attack and the same attack with ``adaptive`` are aimed at."""
    out = [
        _Pair(model, regular, adaptive)
        for model in spec.models
        for adaptive in spec.attacks_on(model)
        for regular in spec.attacks_on(model)
        if adaptive.settings.get("adaptive")
        and not regular.settings.get("adaptive")
        and regular.name == adaptive.name
        and controlled(regular)
        and controlled(adaptive)
    ]
    if not out:
        raise lacking(
            "Q3 needs a regular and an adaptive variant of one attack on one model (settings: "
            "{adaptive: true}), each"
        )
    # What reads the logits is the regular attack; the softmax is a variant of it.
    return tuple(sorted(out, key=lambda p: p.regular.settings.get("outputs") == "softmax"))


@dataclass(frozen=True, slots=True)
class _Q3:
    id: str = "q3"
    words: str = "How are existing defence mechanisms often vulnerable to adaptive attacks?"

    def cells(self, spec: StudySpec) -> tuple[Cell, ...]:
        return tuple(
            Cell(pair.model, name)
            for pair in _pairs(spec)
            for name in (BENIGN, *named(pair.regular), *named(pair.adaptive))
        )

    def claims(self, results: Results, rng: np.random.Generator) -> tuple[Claim, ...]:
        pairs = _pairs(results.spec)
        own = {pair.cells[1]: pair for pair in pairs}.values()
        return (
            *(_further(results, pair, rng) for pair in pairs),
            *(_hindered(results, pair) for pair in pairs),
            *(_beyond_control(results, pair) for pair in own),
        )


Q3 = _Q3()


def _further(results: Results, pair: _Pair, rng: np.random.Generator) -> Claim:
    regular, adaptive = pair.cells
    rows = results.fair(regular, adaptive)

    def gap(seen: Results) -> np.ndarray:
        far, near = (apart(seen, cell, Results.difference, rows) for cell in (adaptive, regular))
        return np.asarray(far - near)

    name = f"{adaptive.attack} − {regular.attack}"
    told = ruled(results, name, partial(beyond, size=MUCH), gap, oip=True)
    sizes = means(
        {
            f"difference from benign, {c.attack}": results.difference(c)
            for cell in (adaptive, regular)
            for c in (cell, results.control(cell))
        },
        "benign s.d.", rng,
    )  # fmt: skip
    return Claim(
        claim="On the distilled model, inputs of the adaptive attack (successful and failed ones) "
        f"deviate much further from benign ones than those of {pair.words}.",
        verdict=told.verdict, reason=told.reason, rule="much",
        sentence=f"On {pair.model}, {adaptive.attack} is {sizes[0].value or 0:.2f} benign standard "
        f"deviations from benign and its {DECIDES} {sizes[1].value or 0:.2f}, {regular.attack} "
        f"{sizes[2].value or 0:.2f} and its {DECIDES} {sizes[3].value or 0:.2f}: paired by input, "
        f"what is beyond the {DECIDES} differs by {told.shown} d_z (n = {told.first.n}).",
        numbers=(*told.numbers, *sizes),
    )  # fmt: skip


def _hindered(results: Results, pair: _Pair) -> Claim:
    regular, adaptive = pair.cells
    hits = {cell: results.success(cell) for cell in pair.cells}
    stalled = results.attacks(regular)["stalled"].values.astype(bool)
    told = more_often(hits[adaptive], hits[regular])
    rates = (
        rate(f"success, {regular.attack}", hits[regular]),
        rate(f"success, {adaptive.attack}", hits[adaptive]),
        rate(f"stalled, {regular.attack}", stalled),
    )
    controls = tuple(
        rate(f"fooled, {c.attack}", results.fooled(c)) for c in results.controls(adaptive)
    )
    return Claim(
        claim=f"The defence hinders {pair.words}, and the adaptive attack gets around it.",
        verdict=told.verdict, reason=told.reason, rule="more often",
        sentence=f"On {pair.model}, {regular.attack} succeeds on {percent(rates[0])} of the inputs "
        f"(on {percent(rates[2])} its gradients vanish), {adaptive.attack} on {percent(rates[1])}.",
        numbers=(number("adaptive − regular, success", told, unit="share", n=told.n), *rates),
        control=Control(
            sentence="Of the adaptive attack's norm, "
            + ", ".join(f"{x.name.removeprefix('fooled, ')} fools {percent(x)}" for x in controls)
            + " of the inputs.",
            numbers=controls,
        ) if controls else None,
    )  # fmt: skip


def _beyond_control(results: Results, pair: _Pair) -> Claim:
    cell = pair.cells[1]
    rows = results.fair(cell)
    told = ruled(
        results, f"{cell.attack} − {DECIDES}", beyond,
        lambda seen: apart(seen, cell, Results.difference, rows), oip=True,
    )  # fmt: skip
    return Claim(
        claim=f"The adaptive attack deviates further than its {DECIDES} does (ours).",
        verdict=told.verdict, reason=told.reason, rule="beyond",
        sentence=f"On {pair.model}, {cell.attack} is further from benign than its {DECIDES} by "
        f"{told.shown} d_z (n = {told.first.n}).",
        numbers=told.numbers,
        control=beside(results, cell, Results.difference, rows),
    )  # fmt: skip
