"""Q4: how are complicated models more vulnerable to adversarial inputs?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from undertow.errors import BadInput
from undertow.store import Cell, Claim, Control
from undertow.studies.answered.questions.crossing import Crossing, crossing, transfers
from undertow.studies.answered.questions.paired import (
    as_control,
    means,
    percent,
    rate,
    resampled,
    show,
    under_all,
)
from undertow.studies.answered.questions.verdicts import number, sided
from undertow.studies.answered.results import Results
from undertow.studies.asked.spec import StudySpec

__all__ = ["Q4"]


def _cases(spec: StudySpec) -> tuple[Crossing, ...]:
    """Each model with its compression, as an attack crosses them."""
    found = [crossing(spec, pair) for pair in spec.compressed.items()]
    cases = tuple(case for case in found if case is not None)
    if not cases:
        raise BadInput(
            "Q4 needs compressed: {MODEL: ITS COMPRESSION} and an attack on both, "
            "read_by both, with its control"
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
                _transfers(results, case, rng),
            )
        )


Q4 = _Q4()


def _shifts(
    results: Results, case: Crossing, rng: np.random.Generator, *, crosswise: bool
) -> Claim:
    """Shift on the original minus shift on the compression, by the inputs aimed at each.

    With ``crosswise`` by the inputs aimed at the respective other model (dashed in Figure 3).
    """
    one, other = case.models
    rows = results.success(case.cell(one, one)) & results.success(case.cell(other, other))
    sources = {one: other, other: one} if crosswise else {one: one, other: other}

    def size(seen: Results, model: str, *, noise: bool = False) -> np.ndarray:
        return seen.difference(case.cell(model, sources[model], noise=noise))[rows]

    verdict, effects = under_all(
        results, f"{one} − {other}", lambda seen: size(seen, one) - size(seen, other), rng
    )
    sizes = means({f"shift of {m}": size(results, m) for m in (one, other)}, "benign s.d.", rng)
    norms = {m: _norm(results, case.cell(m, sources[m]))[rows] for m in (one, other)}
    aimed = "aimed at the other one" if crosswise else "aimed at each"
    return Claim(
        claim="Inputs aimed at the other model shift the flow of the more complicated model "
        "further, too." if crosswise
        else "It is easier to shift the information flow of the more complicated model than of "
        "its compression.",
        verdict=verdict,
        sentence=f"{case.attack} inputs {aimed} shift the IPs of {one} by "
        f"{sizes[0].value or 0:.1f} benign standard deviations and those of {other} by "
        f"{sizes[1].value or 0:.1f}: {show(effects[0])} d_z (n = {effects[0].n}).",
        numbers=(*effects, *sizes, *means({f"L2 on {m}": x for m, x in norms.items()}, "1", rng)),
        control=as_control(
            "Noise of the same norms: {}.", f"noise: {one} − {other}",
            size(results, one, noise=True) - size(results, other, noise=True), rng,
        ),
    )  # fmt: skip


def _norm(results: Results, cell: Cell) -> np.ndarray:
    return results.attacks(cell)["l2"].values.astype(np.float64)


def _transfers(results: Results, case: Crossing, rng: np.random.Generator) -> Claim:
    one, other = case.models
    there, back = case.cell(other, one), case.cell(one, other)
    hits = {cell: results.fooled(cell) for cell in (there, back)}
    made = {cell: results.success(cell) for cell in (there, back)}

    def gap(rows: np.ndarray) -> float:
        shares = [hits[c][rows][made[c][rows]] for c in (there, back)]
        if min(map(len, shares)) == 0:
            return float("nan")
        return float(shares[0].mean() - shares[1].mean())

    found = resampled(gap, len(hits[there]), rng)
    rates = (
        rate(f"{one} to {other}", transfers(results, there)),
        rate(f"{other} to {one}", transfers(results, back)),
    )
    noise = tuple(
        rate(f"noise: {name}", results.fooled(case.cell(m, s, noise=True)))
        for name, m, s in ((f"{one} to {other}", other, one), (f"{other} to {one}", one, other))
    )
    return Claim(
        claim="Inputs made on the more complicated model transfer more.",
        verdict=sided(found),
        sentence=f"Of the {case.attack} inputs made on {one}, {percent(rates[0])} fool {other}; "
        f"of those made on {other}, {percent(rates[1])} fool {one}: a difference of "
        f"{100 * found.value:+.0f} points [{100 * found.low:.0f}, {100 * found.high:.0f}].",
        numbers=(number("difference of rates", found, unit="share", n=len(hits[there])), *rates),
        control=Control(
            sentence=f"Noise of the same norms fools {other} on {percent(noise[0])} of the inputs "
            f"and {one} on {percent(noise[1])}.",
            numbers=noise,
        ),
    )
