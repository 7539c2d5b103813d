"""Q4: how are complicated models more vulnerable to adversarial inputs?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from undertow.statistics.verdicts import beyond, more_often
from undertow.store import Cell, Claim, Control
from undertow.studies.answered.questions.claims import (
    apart,
    lacking,
    means,
    number,
    percent,
    rate,
    ruled,
    show,
)
from undertow.studies.answered.questions.crossing import Crossing, crossing, transfers
from undertow.studies.answered.results import DECIDES, Results
from undertow.studies.asked.spec import StudySpec

__all__ = ["Q4"]


def _cases(spec: StudySpec) -> tuple[Crossing, ...]:
    """Each model with its compression, as an attack crosses them."""
    found = [crossing(spec, pair) for pair in spec.compressed.items()]
    cases = tuple(case for case in found if case is not None)
    if not cases:
        raise lacking(
            "Q4 needs compressed: {MODEL: ITS COMPRESSION} and an attack on both, read_by both"
        )
    return cases


@dataclass(frozen=True, slots=True)
class _Q4:
    id: str = "q4"
    words: str = "How are complicated models more vulnerable to adversarial inputs?"

    def cells(self, spec: StudySpec) -> tuple[Cell, ...]:
        return tuple(cell for case in _cases(spec) for cell in case.cells)

    def claims(self, results: Results, rng: np.random.Generator) -> tuple[Claim, ...]:
        return tuple(
            claim
            for case in _cases(results.spec)
            for claim in (
                _shifts(results, case, rng, crosswise=False),
                _shifts(results, case, rng, crosswise=True),
                _transfers(results, case, onto=False),
                _transfers(results, case, onto=True),
            )
        )


Q4 = _Q4()


def _shifts(
    results: Results, case: Crossing, rng: np.random.Generator, *, crosswise: bool
) -> Claim:
    """Shift of the original minus shift of the compression, by the inputs aimed at each.

    With ``crosswise`` by the inputs aimed at the respective other model (dashed in Figure 3).
    """
    one, other = case.models
    sources = {one: other, other: one} if crosswise else {one: one, other: other}
    aims = case.cell(one, one), case.cell(other, other)
    rows = results.success(aims[0]) & results.success(aims[1]) & results.fair(*aims)
    cells = {model: case.cell(model, source) for model, source in sources.items()}

    def gap(seen: Results) -> np.ndarray:
        a, b = (apart(seen, cells[m], Results.difference, rows) for m in (one, other))
        return np.asarray(a - b)

    told = ruled(results, f"{one} − {other}, beyond {DECIDES}", beyond, gap, oip=True)
    sizes = means(
        {
            f"shift of {m} by {c.attack}": results.difference(c)[rows]
            for m in (one, other)
            for c in (cells[m], *results.controls(cells[m]))
        },
        "benign s.d.", rng,
    )  # fmt: skip
    norms = {f"L2 on {m}": results.attacks(c)["l2"].values[rows] for m, c in cells.items()}
    own = {m: [x for x in sizes if x.name.startswith(f"shift of {m} by")] for m in (one, other)}
    aimed = "aimed at the other one" if crosswise else "aimed at each"
    return Claim(
        claim="Inputs aimed at the other model shift the flow of the more complicated model "
        "further, too." if crosswise
        else "It is easier to shift the information flow of the more complicated model than of "
        "its compression.",
        verdict=told.verdict, reason=told.reason, rule="beyond",
        sentence=f"{case.attack} inputs {aimed} shift the IPs of {one} by {show(own[one][0])} "
        f"benign standard deviations (root mean square over its taps) and those of {other} by "
        f"{show(own[other][0])}; what is beyond each one's {DECIDES} differs by {told.shown} d_z "
        f"(n = {told.first.n}).",
        numbers=(*told.numbers, *sizes, *means(norms, "1", rng)),
        control=Control(
            sentence="The controls shift "
            + " and ".join(
                f"{m} by "
                + ", ".join(
                    f"{x.value or 0:.2f} ({x.name.rpartition(' ')[2].partition(':')[0]})"
                    for x in own[m][1:]
                )
                for m in (one, other)
            ) + ".",
            numbers=tuple(x for m in (one, other) for x in own[m][1:]),
        ),
    )  # fmt: skip


def _transfers(results: Results, case: Crossing, *, onto: bool) -> Claim:
    """Transfer from the original to its compression against that the other way round.

    The claim that complicated models are the more vulnerable can mean either: that what is made on
    them transfers more, or (``onto``) that they are fooled more by what is made elsewhere.
    """
    one, other = case.models
    there, back = case.cell(other, one), case.cell(one, other)
    rows = results.success(there) & results.success(back)
    hits = {cell: results.fooled(cell)[rows] for cell in (there, back)}
    first, second = (back, there) if onto else (there, back)
    told = more_often(hits[first], hits[second])
    rates = (
        rate(f"{one} to {other}", transfers(results, there)),
        rate(f"{other} to {one}", transfers(results, back)),
    )
    noise = tuple(
        rate(f"{c.attack}: {name}", results.fooled(c)[results.success(cell)])
        for name, cell in ((f"{one} to {other}", there), (f"{other} to {one}", back))
        for c in (results.control(cell),)
    )
    return Claim(
        claim="The more complicated model is fooled more by inputs made on its compression than "
        "the other way round (the second reading)." if onto
        else "Inputs made on the more complicated model transfer more.",
        verdict=told.verdict, reason=told.reason, rule="more often",
        sentence=f"Of the {case.attack} inputs made on {one}, {percent(rates[0])} fool {other}; "
        f"of those made on {other}, {percent(rates[1])} fool {one}; paired, over the "
        f"{told.n} inputs made on both, a difference of {100 * told.value:+.0f} points "
        f"[{100 * told.low:.0f}, {100 * told.high:.0f}].",
        numbers=(number("difference of rates", told, unit="share", n=told.n), *rates),
        control=Control(
            sentence=f"Their {DECIDES}s fool {other} on {percent(noise[0])} of the inputs and "
            f"{one} on {percent(noise[1])}.",
            numbers=noise,
        ),
    )  # fmt: skip
