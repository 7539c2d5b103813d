"""Every defence under the regular and the adaptive attack: what comes out, and what flows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from undertow.statistics.effects import proportion
from undertow.statistics.verdicts import standardised
from undertow.store import BENIGN, Cell, Table
from undertow.studies.answered.contrasts import known
from undertow.studies.answered.results import DECIDES, Results
from undertow.studies.asked.roles import adapted, defence_of, defended_models, pairings
from undertow.studies.asked.spec import AttackSpec

__all__ = ["defence_tables"]

Array = NDArray[np.float64]

_COLUMNS = (
    "defence", "model", "attack", "made for it", "inputs", "fooled", "low", "high", "rejected",
    "correct", "mean L2", "deviation", f"deviation beyond {DECIDES}", f"drift beyond {DECIDES}",
    "takeover depth", "turning depth",
)  # fmt: skip


def defence_tables(results: Results) -> tuple[Table, ...]:
    """One row a defended model and attack; no table where a study has no defence."""
    rows = [
        _row(results, model, attack)
        for model in defended_models(results.spec)
        for attack in _paired(results, model)
        if _finished(results, Cell(model, attack.id))
    ]
    if not rows:
        return ()
    return (
        Table(
            title="Defences under regular and adaptive attacks",
            columns=_COLUMNS,
            rows=tuple(rows),
            caption="Fooled: the model gives another class than the true one and does not reject "
            "the input (Wilson's 95 % interval); correct: the true class, not rejected; rejected: "
            "the rest. Distance, and deviation of the IPs from the benign ones in benign standard "
            f"deviations, are means over all inputs; beyond the {DECIDES} is d_z, paired by input, "
            "of the deviation over all inputs and of drift at the last tap over those fooled. "
            "Takeover: depth from which readers name the rival for good; turning: depth from which "
            "drift is positive for good; means over the fooled inputs, 1 where only the answer "
            "turns.",
        ),
    )


def _paired(results: Results, model: str) -> list[AttackSpec]:
    """The attacks that stand in some pair, in the study's order."""
    ids = {a.id for p in pairings(results.spec, model) for a in (p.regular, p.adaptive)}
    return [a for a in results.spec.attacks_on(model) if a.id in ids]


def _finished(results: Results, cell: Cell) -> bool:
    needed = (cell, Cell(cell.model, BENIGN))
    return set(needed) <= set(results.run.cells) and results.complete(*needed)


def _row(results: Results, model: str, attack: AttackSpec) -> tuple[str | int | float | None, ...]:
    cell, known_defence = Cell(model, attack.id), defence_of(results.spec, model)
    found = results.attacks(cell)
    fooled, refused = results.fooled(cell), results.rejected(cell)
    right = ~fooled & ~refused
    rate = proportion(int(fooled.sum()), len(fooled))
    far = results.difference(cell)
    beyond, drift = _beyond(results, cell)
    return (
        "own" if known_defence is None else known_defence.words, model, attack.id,
        "yes" if adapted(results.spec, attack, model) else "no", len(fooled),
        rate.value, rate.low, rate.high, float(refused.mean()), float(right.mean()),
        float(found["l2"].values.mean()), float(far.mean()), beyond, drift,
        _takeover(results, cell), _turning(results, cell),
    )  # fmt: skip


def _beyond(results: Results, cell: Cell) -> tuple[float | None, float | None]:
    """d_z against the transplant: of the deviation, and of drift at the last tap."""
    control = results.control(cell)
    if control not in results.run.cells or not results.complete(control):
        return None, None
    fair = results.fair(cell)
    gap = (results.difference(cell) - results.difference(control))[fair]
    whole = float(standardised(gap[:, None])[0]) if len(gap) > 1 else None
    if not results.holds(cell, "flow"):
        return whole, None
    rows = fair & results.fooled(cell)
    rival = results.rival(cell)
    own, other = (results.drift(c, rival=rival)[rows] for c in (cell, control))
    there = known(own, other)
    lead = (own - other)[there][:, -1:]
    return whole, float(standardised(lead)[0]) if len(lead) > 1 else None


def _takeover(results: Results, cell: Cell) -> float | None:
    if not results.run.has("class_information", cell):
        return None
    return _mean(results.taken_over(cell)[results.fooled(cell)])


def _turning(results: Results, cell: Cell) -> float | None:
    if not results.holds(cell, "flow"):
        return None
    return _mean(results.turn_depth(cell)[results.fooled(cell)])


def _mean(values: Array) -> float | None:
    return float(values.mean()) if len(values) else None
