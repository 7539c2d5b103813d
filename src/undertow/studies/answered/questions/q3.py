"""Q3: how are existing defences vulnerable to adaptive attacks?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from undertow.prose import attack_name
from undertow.statistics.effects import Interval
from undertow.statistics.verdicts import MUCH, Ruled, Ruling, beyond, gets_around, more_often
from undertow.store import BENIGN, Cell, Claim, Control, Number
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
from undertow.studies.asked.roles import Pairing, defence_of, defended_models, pairings
from undertow.studies.asked.spec import StudySpec

__all__ = ["Q3"]


def _cells(pair: Pairing) -> tuple[Cell, Cell]:
    return Cell(pair.model, pair.regular.id), Cell(pair.model, pair.adaptive.id)


def _words(pair: Pairing) -> str:
    if pair.regular.settings.get("outputs") == "softmax":
        return "the attack that reads the softmax (ours: the variant that defences are shown on)"
    return "the regular attack"


def _judged(spec: StudySpec, model: str) -> tuple[Pairing, ...]:
    """The pairs of a model that have controls; what reads the softmax comes last."""
    found = [p for p in pairings(spec, model) if controlled(p.regular) and controlled(p.adaptive)]
    # What reads the logits is the regular attack; the softmax is a variant of it.
    return tuple(sorted(found, key=lambda p: p.regular.settings.get("outputs") == "softmax"))


def _pairs(spec: StudySpec) -> tuple[Pairing, ...]:
    """Every defended model with a regular and an adaptive attack."""
    found = [pair for model in defended_models(spec) for pair in _judged(spec, model)]
    if not found and not defended_models(spec):
        raise lacking(
            "Q3 needs a defended model with a regular and an adaptive attack on it (role: "
            "adaptive, or settings: {adaptive: true}), each"
        )
    return tuple(found)


def _defence(spec: StudySpec, model: str) -> str:
    """What a model's defence is called."""
    known = defence_of(spec, model)
    return "the defence" if known is None else known.words


def _first(words: str) -> str:
    """The words with a capital; ``MagNet`` keeps its own."""
    return words[:1].upper() + words[1:]


@dataclass(frozen=True, slots=True)
class _Q3:
    id: str = "q3"
    words: str = "How are existing defence mechanisms often vulnerable to adaptive attacks?"

    def cells(self, spec: StudySpec) -> tuple[Cell, ...]:
        return tuple(
            dict.fromkeys(
                Cell(pair.model, name)
                for pair in _pairs(spec)
                for name in (BENIGN, *named(pair.regular), *named(pair.adaptive))
            )
        )

    def claims(self, results: Results, rng: np.random.Generator) -> tuple[Claim, ...]:
        spec, pairs = results.spec, _pairs(results.spec)
        own = {_cells(pair)[1]: pair for pair in pairs}.values()
        fallen = [_fallen(results, pair) for pair in pairs]
        return (
            *_often(spec, pairs, fallen),
            *(_further(results, pair, rng) for pair in pairs),
            *(_hindered(results, pair, told) for pair, told in zip(pairs, fallen, strict=True)),
            *(_beyond_control(results, pair) for pair in own),
            *(_unjudged(spec, m) for m in defended_models(spec) if not _judged(spec, m)),
        )


Q3 = _Q3()


def _further(results: Results, pair: Pairing, rng: np.random.Generator) -> Claim:
    regular, adaptive = _cells(pair)
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
        claim=f"Under {_defence(results.spec, pair.model)} ({pair.model}), inputs of the adaptive "
        "attack (successful and failed ones) deviate much further from benign ones than those of "
        f"{_words(pair)}.",
        verdict=told.verdict, reason=told.reason, rule="much",
        sentence=f"On {pair.model}, {adaptive.attack} is {sizes[0].value or 0:.2f} benign standard "
        f"deviations from benign and its {DECIDES} {sizes[1].value or 0:.2f}, {regular.attack} "
        f"{sizes[2].value or 0:.2f} and its {DECIDES} {sizes[3].value or 0:.2f}: paired by input, "
        f"what is beyond the {DECIDES} differs by {told.shown} d_z (n = {told.first.n}).",
        numbers=(*told.numbers, *sizes),
    )  # fmt: skip


def _fallen(results: Results, pair: Pairing) -> Ruled:
    """What the rule says; that a defence holds is not said of an attack that fails a check."""
    regular, adaptive = _cells(pair)
    told = gets_around(results.success(adaptive), results.success(regular))
    doubt = _doubts(results, pair)
    if told.verdict != "contradicted" or not doubt:
        return told
    reason = f"{told.reason}, but the attack is not to be trusted: {doubt}"
    return replace(told, verdict="inconclusive", reason=reason)


def _hindered(results: Results, pair: Pairing, told: Ruled) -> Claim:
    """Fooled, rejected and correct under both, and what betrays an attack that does not work."""
    regular, adaptive = _cells(pair)
    refused = {cell: results.rejected(cell) for cell in (regular, adaptive)}
    stalled = results.attacks(regular)["stalled"].values.astype(bool)
    rates = (
        rate(f"success, {regular.attack}", results.success(regular)),
        rate(f"success, {adaptive.attack}", results.success(adaptive)),
        rate(f"stalled, {regular.attack}", stalled),
        *(rate(f"rejected, {c.attack}", r) for c, r in refused.items() if r.any()),
    )
    controls = tuple(
        rate(f"fooled, {c.attack}", results.fooled(c)) for c in results.controls(adaptive)
    )
    seen = "".join(
        f" ({percent(x)} rejected)" for x in rates if x.name == f"rejected, {regular.attack}"
    )
    return Claim(
        claim=f"{_first(_defence(results.spec, pair.model))} ({pair.model}) hinders "
        f"{_words(pair)}, and the adaptive attack gets around it.",
        verdict=told.verdict, reason=told.reason, rule="gets around",
        sentence=f"On {pair.model}, {regular.attack} succeeds on {percent(rates[0])} of the inputs"
        f"{seen} (on {percent(rates[2])} its gradients vanish), {adaptive.attack} on "
        f"{percent(rates[1])}.{_checked(results, pair)}",
        numbers=(
            number("adaptive − regular, success", _more(results, pair), unit="share", n=told.n),
            *rates,
            *_sanity_numbers(results, pair),
        ),
        control=Control(
            sentence="Of the adaptive attack's norm, "
            + ", ".join(f"{x.name.removeprefix('fooled, ')} fools {percent(x)}" for x in controls)
            + " of the inputs.",
            numbers=controls,
        ) if controls else None,
    )  # fmt: skip


def _more(results: Results, pair: Pairing) -> Ruled:
    regular, adaptive = _cells(pair)
    return more_often(results.success(adaptive), results.success(regular))


def _doubts(results: Results, pair: Pairing) -> str:
    """The checks that an attack failed, in words."""
    rows = results.sanity(pair.model, pair.adaptive.id)
    return ", ".join(
        f"{row['check']} {row['value']:.0%} (held against {row['against']:.0%})"
        for row in rows
        if not row["holds"]
    ).replace("%", " %")


def _checked(results: Results, pair: Pairing) -> str:
    rows = results.sanity(pair.model, pair.adaptive.id)
    if not rows:
        return ""
    doubt = _doubts(results, pair)
    passed = sum(bool(row["holds"]) for row in rows)
    return f" It passes {passed} of {len(rows)} checks of its soundness" + (
        f"; not: {doubt}." if doubt else "."
    )


def _sanity_numbers(results: Results, pair: Pairing) -> tuple[Number, ...]:
    rows = results.sanity(pair.model, pair.adaptive.id)
    return tuple(
        number(f"{pair.adaptive.id}, {row['check']}", _alone(row["value"]), unit="share")
        for row in rows
    )


def _alone(value: float) -> Interval:
    """A number without an interval."""
    return Interval(value, float("nan"), float("nan"))


def _beyond_control(results: Results, pair: Pairing) -> Claim:
    cell = _cells(pair)[1]
    rows = results.fair(cell)
    told = ruled(
        results, f"{cell.attack} − {DECIDES}", beyond,
        lambda seen: apart(seen, cell, Results.difference, rows), oip=True,
    )  # fmt: skip
    return Claim(
        claim=f"The adaptive attack on {pair.model} deviates further than its {DECIDES} does "
        "(ours).",
        verdict=told.verdict, reason=told.reason, rule="beyond",
        sentence=f"On {pair.model}, {cell.attack} is further from benign than its {DECIDES} by "
        f"{told.shown} d_z (n = {told.first.n}).",
        numbers=told.numbers,
        control=beside(results, cell, Results.difference, rows),
    )  # fmt: skip


def _unjudged(spec: StudySpec, model: str) -> Claim:
    """A defence that nothing adapted was tried on: nothing is said of it, least that it is safe."""
    known = defence_of(spec, model)
    words = _defence(spec, model)
    if known is not None and not known.adaptive:
        why = "the registry knows no adaptive attack for it"
        hint = "write one, and give it role: adaptive"
    else:
        why = "this study has no regular and adaptive attack on it, each with its " + DECIDES
        hint = "add " + " or ".join(known.adaptive if known else ("one with role: adaptive",))
    return Claim(
        claim=f"{_first(words)} ({model}) falls to an adaptive attack.",
        verdict="inconclusive", rule="gets around", reason=why,
        sentence=f"{model} is not judged: {why}. It is not called safe by that; {hint}.",
    )  # fmt: skip


def _often(spec: StudySpec, pairs: tuple[Pairing, ...], fallen: list[Ruled]) -> tuple[Claim, ...]:
    """The study's sentence: existing defences are *often* vulnerable. Each counts once."""
    found: dict[str, list[tuple[Pairing, Ruled]]] = {}
    for pair, told in zip(pairs, fallen, strict=True):
        found.setdefault(pair.model, []).append((pair, told))
    models = defended_models(spec)
    if len(models) < 2 or not found:
        return ()
    fell, held, parts = 0, 0, []
    for model, rows in found.items():
        # A defence falls if any of the attacks made for it gets around it.
        pair, told = max(rows, key=lambda row: (row[1].verdict == "supported", row[1].value))
        fell += told.verdict == "supported"
        held += told.verdict == "contradicted"
        attack = attack_name(pair.adaptive.id)
        parts.append(
            f"{_defence(spec, model)} ({model}): {told.value:.0%} by {attack}".replace("%", " %")
        )
    n = len(models)
    verdict: Ruling = "contradicted" if held > n / 2 else "inconclusive"
    verdict = "supported" if fell > n / 2 else verdict
    return (
        Claim(
            claim="Existing defences are often vulnerable to adaptive attacks.",
            verdict=verdict,
            reason=f"{fell} of {n} defences fall, {held} do not at this budget",
            rule="gets around",
            sentence="Fooled by the strongest attack made for each: " + "; ".join(parts) + ".",
            numbers=(number("defences that fall", _alone(fell / n), unit="share", n=n),),
        ),
    )
