"""Each attack beside its benign inputs and its controls: levels and paired changes, tap by tap."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from undertow.axes import PROFILES
from undertow.store import BENIGN, Cell, Contrast, Points
from undertow.studies.answered.results import Results

__all__ = ["contrasts", "known", "points"]

Array = NDArray[np.float64]

LEVEL: Final = 0.95
SHOWN: Final = ("drift", *PROFILES)
_DIGITS: Final = 6


def contrasts(results: Results) -> dict[str, dict[str, dict[str, Contrast]]]:
    """``found[model][attack][quantity]``, of the inputs that an attack on a model succeeds on.

    Where there is a transplant, of those whose transplant has their norm; controls have the same
    inputs and, for drift, the same rivals.
    """
    return {model: _of(results, model) for model in results.spec.models}


def _of(results: Results, model: str) -> dict[str, dict[str, Contrast]]:
    found: dict[str, dict[str, Contrast]] = {}
    benign = Cell(model, BENIGN)
    for attack in results.spec.attacks:
        cell = Cell(model, attack.id)
        if cell not in results.run.cells or not results.complete(cell, benign):
            continue
        controls = {c.control: c for c in results.controls(cell) if results.complete(c)}
        kept = results.success(cell)
        if results.control(cell) in controls.values():
            kept = kept & results.fair(cell)
        if kept.sum() < 2:
            continue
        who = {"benign": benign, "attack": cell, **{str(k): c for k, c in controls.items()}}
        told = {
            quantity: _contrast(results, model, quantity, who, kept)
            for quantity in SHOWN
            if quantity != "drift" or results.holds(cell, "flow")
        }
        found[attack.id] = {quantity: each for quantity, each in told.items() if each is not None}
    return found


def _contrast(
    results: Results, model: str, quantity: str, who: dict[str, Cell], kept: NDArray[np.bool_]
) -> Contrast | None:
    if quantity == "drift":
        rival = results.rival(who["attack"])
        values = {name: results.drift(cell, rival=rival)[kept] for name, cell in who.items()}
        told = known(*values.values())
        if told.sum() < 2:
            return None
        values = {name: x[told] for name, x in values.items()}
    else:
        values = {name: results.profile(cell, quantity)[kept] for name, cell in who.items()}
    base = values["benign"]
    return Contrast(
        tap=results.taps(model),
        depth=tuple(results.depth(model).tolist()),
        n=len(base),
        level={name: points(x) for name, x in values.items()},
        change={name: points(x - base) for name, x in values.items() if name != "benign"},
    )


def known(*drifts: Array) -> NDArray[np.bool_]:
    """Inputs whose drift is known in all of them, (sample,), from (sample, tap) each.

    With very many classes a benign input's flow is not measured towards a rival far from its
    likeliest ones.
    """
    found = [np.isfinite(x).any(axis=1) for x in drifts]
    return np.asarray(np.logical_and.reduce(found))


def points(values: Array) -> Points:
    """Mean over inputs at each tap with Student's interval, from (sample, tap)."""
    n = len(values)
    mean = values.mean(axis=0)
    half = student.ppf((1 + LEVEL) / 2, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)
    told = (np.round(v, _DIGITS) for v in (mean, mean - half, mean + half))
    return Points.model_validate(
        dict(zip(("mean", "low", "high"), (v.tolist() for v in told), strict=True))
    )
