"""Q5: how are transferable adversarial inputs different from non-transferable ones?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from undertow.errors import BadInput
from undertow.statistics.effects import Interval, bootstrap
from undertow.store import Cell, Claim, Control, Number
from undertow.store.answers import Verdict
from undertow.studies.answered.questions.crossing import Crossing, crossing
from undertow.studies.answered.questions.paired import (
    as_control,
    percent,
    rate,
    resampled,
    show,
    under_all,
)
from undertow.studies.answered.questions.verdicts import agree, number, sided
from undertow.studies.answered.results import Results
from undertow.studies.asked.plan import NOISE, cells_of
from undertow.studies.asked.spec import AttackSpec, StudySpec

__all__ = ["Q5"]

NEGLIGIBLE: Final = 0.05
"""Transfer that exceeds noise by less than this share is called none."""
NAMED: Final = "deep_conv"
"""The model on which the paper's JSMA makes no transferable inputs."""


def _case(spec: StudySpec) -> Crossing:
    """The models that an ensemble attack is aimed at; without one, all that are no compression."""
    together = [spec.aims(attack)[0] for attack in spec.attacks if attack.ensemble]
    original = tuple(m for m in spec.models if m not in spec.compressed.values())
    case = crossing(spec, max(together, key=len, default=original))
    if case is None:
        raise BadInput(
            "Q5 needs two models or more, and an attack on all of them, read_by all "
            "of them, with its control"
        )
    return case


def _ensembles(spec: StudySpec, case: Crossing) -> tuple[AttackSpec, ...]:
    """The attacks on several of these models at once that have their control."""
    return tuple(
        attack
        for attack in spec.attacks
        if attack.ensemble and attack.control and set(spec.aims(attack)[0]) <= set(case.models)
    )


def _ensemble_cells(spec: StudySpec, case: Crossing) -> tuple[Cell, ...]:
    names = {name for e in _ensembles(spec, case) for name in (e.id, NOISE + e.id)}
    return tuple(c for c in cells_of(spec) if c.attack in names and c.model in case.models)


@dataclass(frozen=True, slots=True)
class _Q5:
    id: str = "q5"
    words: str = "How are transferable adversarial inputs different from non-transferable ones?"

    def cells(self, spec: StudySpec) -> tuple[Cell, ...]:
        case = _case(spec)
        return (*case.cells, *_ensemble_cells(spec, case))

    def claims(self, results: Results, rng: np.random.Generator) -> tuple[Claim, ...]:
        case = _case(results.spec)
        out = [_aimed_further(results, case, rng), _transferable_further(results, case, rng)]
        if NAMED in case.models:
            out.append(_none_from(results, case, NAMED, rng))
        out += [
            _together(results, case, attack.id, rng)
            for attack in _ensembles(results.spec, case)
            if set(results.spec.aims(attack)[0]) == set(case.models)
        ]
        out += [
            _unseen(results, case, cell, rng)
            for cell in _ensemble_cells(results.spec, case)
            if cell.source is not None and cell.control_of is None
        ]
        return tuple(out)


Q5 = _Q5()


def _aimed_further(results: Results, case: Crossing, rng: np.random.Generator) -> Claim:
    rows = np.logical_and.reduce([results.success(case.cell(m, m)) for m in case.models])

    def gap(seen: Results, model: str, *, noise: bool = False) -> np.ndarray:
        here, *others = (
            seen.difference(case.cell(model, source, noise=noise), ("oip",))[rows]
            for source in (model, *(s for s in case.models if s != model))
        )
        return np.asarray(here - np.mean(others, axis=0))

    verdicts: list[Verdict] = []
    numbers: list[Number] = []
    for model in case.models:
        verdict, effects = under_all(
            results, f"{model}: aimed at it − at another", partial(gap, model=model), rng
        )
        verdicts.append(verdict)
        numbers += effects
    main = numbers[:: len(results.estimators)]
    noise = np.mean([gap(results, m, noise=True) for m in case.models], axis=0)
    return Claim(
        claim="The OIPs of adversarial inputs deviate further from benign on the model that they "
        "are aimed at than on another one.",
        verdict=agree(verdicts),
        sentence=f"{case.attack} inputs aimed at the model that infers against those aimed at "
        "another: " + ", ".join(
            f"{show(x)} d_z on {m}" for m, x in zip(case.models, main, strict=True)
        ) + f" (n = {main[0].n}).",
        numbers=tuple(numbers),
        control=as_control(
            "Noise of the norms of the one and of the others, over all models: {}.",
            "noise: aimed at it − at another", noise, rng,
        ),
    )  # fmt: skip


def _split_gap(
    results: Results, case: Crossing, rng: np.random.Generator, *, noise: bool = False
) -> tuple[Interval, int, int]:
    """Mean OIP shift of transferable minus that of non-transferable inputs.

    Within each pair of models, and averaged over the pairs that have both kinds, since pairs differ
    in how far they shift and in how much they transfer.
    """
    pairs = []
    for model, source in case.pairs:
        aimed = case.cell(model, source)
        shift = results.difference(case.cell(model, source, noise=noise), ("oip",))
        pairs.append((shift, results.fooled(aimed), results.success(aimed)))

    def gap(rows: np.ndarray) -> float:
        gaps = []
        for shift, fooled, made in pairs:
            yes, no = (shift[rows][made[rows] & (fooled[rows] == kind)] for kind in (True, False))
            if len(yes) and len(no):
                gaps.append(yes.mean() - no.mean())
        return float(np.mean(gaps)) if gaps else float("nan")

    yes = sum(int((f & m).sum()) for _, f, m in pairs)
    no = sum(int((~f & m).sum()) for _, f, m in pairs)
    return resampled(gap, results.spec.data.inputs, rng), yes, no


def _transferable_further(results: Results, case: Crossing, rng: np.random.Generator) -> Claim:
    verdicts: list[Verdict] = []
    numbers: list[Number] = []
    for estimator in results.estimators:
        found, yes, no = _split_gap(results.under(estimator), case, rng)
        # An interval from a handful of transferable inputs would look surer than it is.
        verdicts.append(sided(found) if min(yes, no) >= 10 else "inconclusive")
        name = f"transferable − non-transferable, {estimator}"
        numbers.append(number(name, found, unit="benign s.d.", n=yes + no))
    noise, _, _ = _split_gap(results, case, rng, noise=True)
    control = number("noise: on the same inputs", noise, unit="benign s.d.", n=yes + no)
    return Claim(
        claim="The OIPs of transferable inputs deviate further from benign than those of "
        "non-transferable ones.",
        verdict=agree(verdicts),
        sentence=f"On a model that they were not aimed at, {yes} transferable {case.attack} inputs "
        f"shift the OIP further than {no} non-transferable ones by {show(numbers[0])} benign "
        "standard deviations.",
        numbers=tuple(numbers),
        control=Control(
            sentence=f"Noise of the same norms on the same inputs: {show(control)}; what is left "
            "there is a property of the inputs, not of the attack.",
            numbers=(control,),
        ),
    )


def _none_from(results: Results, case: Crossing, source: str, rng: np.random.Generator) -> Claim:
    readers = [m for m in case.models if m != source]
    made = results.success(case.cell(source, source))
    hits = {m: results.fooled(case.cell(m, source))[made] for m in readers}
    noisy = {m: results.fooled(case.cell(m, source, noise=True))[made] for m in readers}
    rates = {m: rate(f"{source} to {m}", hits[m]) for m in readers}
    noise = {m: rate(f"noise: {source} to {m}", noisy[m]) for m in readers}
    excess = {m: bootstrap(hits[m].astype(float) - noisy[m], rng=rng) for m in readers}
    return Claim(
        claim=f"JSMA yields no transferable inputs from {source}.",
        verdict="supported" if all(x.high < NEGLIGIBLE for x in excess.values())
        else "contradicted" if any(x.low > NEGLIGIBLE for x in excess.values())
        else "inconclusive",
        sentence=f"Of the {case.attack} inputs made on {source}, "
        + " and ".join(f"{percent(rates[m])} fool {m}" for m in readers)
        + "; more than noise of the same norms by "
        + " and ".join(
            f"{100 * x.value:.0f} [{100 * x.low:.0f}, {100 * x.high:.0f}]" for x in excess.values()
        )
        + f" points, of which {100 * NEGLIGIBLE:.0f} count as none.",
        numbers=(
            *rates.values(),
            *(number(f"{source} to {m}, beyond noise", x, unit="share", n=int(made.sum()))
              for m, x in excess.items()),
        ),
        control=Control(
            sentence="Noise of the same norms fools "
            + " and ".join(f"{m} on {percent(x)}" for m, x in noise.items())
            + " of the same inputs.",
            numbers=tuple(noise.values()),
        ),
    )  # fmt: skip


def _fools_all(results: Results, case: Crossing, source: str, *, noise: bool = False) -> np.ndarray:
    hits = [results.fooled(case.cell(m, source, noise=noise)) for m in case.models]
    return np.asarray(np.logical_and.reduce(hits))


def _together(results: Results, case: Crossing, ensemble: str, rng: np.random.Generator) -> Claim:
    all_at_once = results.success(Cell(case.models[0], ensemble))
    single = {s: _fools_all(results, case, s) for s in case.models}
    gap = bootstrap(all_at_once - np.mean(list(single.values()), axis=0), rng=rng)
    rates = (
        rate(f"fool all models, {ensemble}", all_at_once),
        *(rate(f"fool all models, {case.attack} on {s}", hits) for s, hits in single.items()),
    )
    noisy = [results.fooled(Cell(m, NOISE + ensemble)) for m in case.models]
    noise = rate("noise: fools all models", np.logical_and.reduce(noisy))
    return Claim(
        claim="Attacking the models together yields transferable inputs.",
        verdict=sided(gap),
        sentence=f"{percent(rates[0])} of the {ensemble} inputs fool all of "
        f"{', '.join(case.models)}; of the {case.attack} inputs made on one of them "
        + ", ".join(f"{percent(x)} ({s})" for s, x in zip(single, rates[1:], strict=True)) + ".",
        numbers=(number("ensemble − one model", gap, unit="share", n=len(all_at_once)), *rates),
        control=Control(
            sentence=f"Noise of the ensemble's norm fools all of them on {percent(noise)}.",
            numbers=(noise,),
        ),
    )  # fmt: skip


def _unseen(results: Results, case: Crossing, cell: Cell, rng: np.random.Generator) -> Claim:
    """Whether an ensemble's inputs transfer to a model that was not among its members."""
    made = results.success(cell)
    ours = results.fooled(cell) & made
    members = [m for m in results.aimed(cell) if m in case.models]
    others = [results.fooled(case.cell(cell.model, m)) for m in members]
    gap = bootstrap(ours - np.mean(others, axis=0), rng=rng)
    rates = (
        rate(f"{cell.attack} to {cell.model}", ours),
        *(rate(f"{case.attack} on {m} to {cell.model}", h)
          for m, h in zip(members, others, strict=True)),
    )  # fmt: skip
    noise = rate("noise", results.fooled(Cell(cell.model, NOISE + cell.attack, cell.source)))
    return Claim(
        claim="An ensemble's inputs transfer better than one model's to a model that was not among "
        "its members (ours).",
        verdict=sided(gap),
        sentence=f"{cell.attack} on {' and '.join(members)} fools {cell.model} on "
        f"{percent(rates[0])} of the inputs, {case.attack} on one of them on "
        + " and ".join(f"{percent(x)} ({m})" for m, x in zip(members, rates[1:], strict=True))
        + ".",
        numbers=(number("ensemble − one model", gap, unit="share", n=len(ours)), *rates),
        control=Control(
            sentence=f"Noise of the ensemble's norm fools it on {percent(noise)}.",
            numbers=(noise,),
        ),
    )
