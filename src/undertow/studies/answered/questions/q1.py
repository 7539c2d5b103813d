"""Q1: how are adversarial inputs crafted to trigger networks to misbehave?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from undertow.information.profiles import turn
from undertow.statistics.association import trend
from undertow.statistics.verdicts import beyond, exists
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
    show,
)
from undertow.studies.answered.results import DECIDES, FAIR, Followed, Results
from undertow.studies.asked.plan import named
from undertow.studies.asked.spec import StudySpec

__all__ = ["Q1", "growth", "turning"]

FEWEST_STEPS = 3


def growth(attack: tuple[Followed, ...], control: tuple[Followed, ...] | None = None) -> np.ndarray:
    """Spearman's ρ of step and overall difference, one a trajectory.

    Step 0, where nothing differs yet, is left out: with it anything that differs at all grows.
    Trajectories of fewer than three steps are left out, and so are those whose control falls short
    of a step's norm.

    Args:
        attack: the trajectories.
        control: those whose difference is taken off, step by step.
    """
    rho = []
    for place, followed in enumerate(attack):
        values = followed.difference[followed.step > 0]
        if control is not None:
            if (control[place].l2 < FAIR * followed.l2).any():
                continue
            values = values - control[place].difference[followed.step > 0]
        if len(values) >= FEWEST_STEPS:
            rho.append(float(trend(values)))
    return np.array(rho, dtype=np.float64)


def turning(followed: tuple[Followed, ...]) -> np.ndarray:
    """The share of the path from which drift at the last tap is positive for good; NaN if never."""
    shares = []
    for f in followed:
        first, last = int(turn(torch.from_numpy(f.drift)[None])), float(f.step[-1])
        shares.append(f.step[first] / last if first >= 0 and last else np.nan)
    return np.array(shares, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Q1:
    id: str = "q1"
    words: str = "How are adversarial inputs crafted to trigger networks to misbehave?"

    def cells(self, spec: StudySpec) -> tuple[Cell, ...]:
        attack = spec.traced
        if attack is None or not controlled(spec.attack(attack)):
            raise lacking("Q1 needs an attack to follow")
        names = (BENIGN, *named(spec.attack(attack)))
        return tuple(Cell(model, name) for model in spec.followed for name in names)

    def claims(self, results: Results, rng: np.random.Generator) -> tuple[Claim, ...]:
        return tuple(
            claim
            for model in results.spec.followed
            for claim in (
                _deviates(results, model),
                _grows(results, model, rng),
                _turns(results, model, rng),
            )
        )


Q1 = _Q1()


def _deviates(results: Results, model: str) -> Claim:
    cell = Cell(model, results.traced)
    rows = results.success(cell) & results.fair(cell)
    columns = results.column_names(model)
    told = ruled(
        results, f"{cell.attack} − {DECIDES}", exists,
        lambda seen: apart(seen, cell, Results.columns, rows), columns=columns, oip=True,
    )  # fmt: skip
    at = "" if told.first.column is None else f" {columns[told.first.column]}"
    return Claim(
        claim="The information flows of adversarial inputs deviate from those of benign ones.",
        verdict=told.verdict, reason=told.reason, rule="exists",
        sentence=f"On {model}, {cell.attack} moves{at} by {told.shown} d_z beyond its {DECIDES} "
        f"(the strongest of all taps and profiles, chosen on one half of {int(rows.sum())} inputs "
        "and told of the other).",
        numbers=told.numbers,
        control=beside(results, cell, Results.columns, rows, told.first),
    )  # fmt: skip


def _grows(results: Results, model: str, rng: np.random.Generator) -> Claim:
    def beyond_control(seen: Results) -> np.ndarray:
        return growth(seen.followed(model), seen.followed(model, DECIDES))

    told = ruled(results, "Spearman's ρ of step and excess", beyond, beyond_control)
    alone = {
        f"mean ρ beyond its {DECIDES}": beyond_control(results),
        "mean ρ of the attack alone": growth(results.followed(model)),
        f"mean ρ of its {DECIDES} alone": growth(results.followed(model, DECIDES)),
    }
    rho = means(alone, "ρ", rng)
    return Claim(
        claim="The overall difference from the benign IPs grows with the attack's step.",
        verdict=told.verdict, reason=told.reason, rule="growth",
        sentence=f"On {model}, the difference by which {results.traced} exceeds its {DECIDES} of "
        f"each step's norm goes with the step by ρ = {show(rho[0])} on average over {rho[0].n} "
        "trajectories, step 0 left out.",
        numbers=(*told.numbers, *rho),
        control=Control(
            sentence=f"Alone, the attack's difference goes with the step by {show(rho[1])}, its "
            f"{DECIDES}'s by {show(rho[2])}: a growing norm alone makes any difference grow.",
            numbers=rho[1:],
        ),
    )  # fmt: skip


def _turns(results: Results, model: str, rng: np.random.Generator) -> Claim:
    cell = Cell(model, results.traced)
    rows = results.success(cell) & results.fair(cell)
    taps = results.taps(model)
    told = ruled(
        results, f"drift, {cell.attack} − {DECIDES}", lambda x: exists(x, positive=True),
        lambda seen: apart(seen, cell, Results.drift, rows), columns=taps,
    )  # fmt: skip
    tap = told.first.column or 0
    parts = _parts(results, cell, rows, tap)
    share = turning(results.followed(model))
    turned = rate("trajectories whose flow turns", np.isfinite(share))
    path = means({"share of the path at which it turns": share[np.isfinite(share)]}, "share", rng)
    return Claim(
        claim="An attack shifts the flow away from the true class and towards the adversarial one.",
        verdict=told.verdict, reason=told.reason, rule="exists upwards",
        sentence=f"On {model}, drift towards the adversarial class under {cell.attack} exceeds "
        f"that of its {DECIDES} by {told.shown} d_z at {taps[tap]} (chosen on one half, told of "
        f"the other; n = {told.first.n}): there the flow towards the true class changes by "
        f"{show(parts[0])} and towards the adversarial one by {show(parts[1])}. At the last tap "
        f"it turns for good in {turned.n and round(100 * (turned.value or 0))} % of {turned.n} "
        f"trajectories, after {percent(path[0])} of the path.",
        numbers=(*told.numbers, *parts, turned, *path),
        control=beside(results, cell, Results.drift, rows, told.first),
    )  # fmt: skip


def _parts(results: Results, cell: Cell, rows: np.ndarray, tap: int) -> tuple[Number, ...]:
    """Flow towards the true and the adversarial class beyond the control, at one tap."""
    other = results.control(cell)
    classes = {"true": results.label(cell), "adversarial": results.rival(cell)}
    return tuple(
        number(
            f"flow towards the {name} class at {results.taps(cell.model)[tap]}", beyond(x),
            unit="d_z", n=len(x),
        )
        for name, towards in classes.items()
        for x in [(results.flow(cell, towards) - results.flow(other, towards))[rows, tap]]
    )  # fmt: skip
