"""Q6 (ours): do few maps carry the attack?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from undertow.errors import BadInput
from undertow.measuring.carriers import label_of
from undertow.statistics.effects import Interval
from undertow.statistics.restoration import area, quarter_place, share
from undertow.statistics.verdicts import AREA, RESTORES, Ruled, beyond, everywhere
from undertow.store import BENIGN, Cell, Claim, Number
from undertow.studies.answered.contrasts import points
from undertow.studies.answered.questions.claims import agree, number, show
from undertow.studies.answered.results import Results
from undertow.studies.asked.plan import carries, cells_of
from undertow.studies.asked.spec import StudySpec

__all__ = ["Q6"]

Array = NDArray[np.float64]
Differs = Callable[[xr.Dataset], Array]
"""Paired differences of every input of a cell, (sample, tap) or (sample,)."""


@dataclass(frozen=True, slots=True)
class _Q6:
    id: str = "q6"
    words: str = "Do few maps carry the attack?"

    def cells(self, spec: StudySpec) -> tuple[Cell, ...]:
        found = tuple(cell for cell in cells_of(spec) if carries(cell))
        if not spec.rankings or not found:
            raise BadInput("Q6 needs a study with carriers: true and an attack on one model")
        return (*(Cell(model, BENIGN) for model in spec.models), *found)

    def claims(self, results: Results, rng: np.random.Generator) -> tuple[Claim, ...]:
        cells = [cell for cell in self.cells(results.spec) if not cell.benign]
        models = dict.fromkeys(cell.model for cell in cells)
        return tuple(
            claim
            for model in models
            for claim in _claims(results, [cell for cell in cells if cell.model == model])
        )


Q6 = _Q6()


_BEYOND: Final = {
    "random": "than as many random maps do",
    "matched": "than random maps do that changed as much",
}
_BETTER: Final = (
    ("attribution", "change", "The ranking by attribution restores more than that by size"),
    ("integrated", "change", "Integrated along the way, attribution restores more than size"),
    ("integrated", "attribution", "Integrated along the way, attribution restores more than as it "
     "is at the end"),
)  # fmt: skip


def _claims(results: Results, cells: Sequence[Cell]) -> Iterable[Claim]:
    """What is claimed of one model, over all attacks on it."""
    ranked, best = results.spec.rankings, results.spec.rankings[0]
    for control, words in _BEYOND.items():
        yield _claim(
            results, cells, rule="everywhere", unit="share", among=(best, control),
            claim=f"At every tap, the quarter of the maps that {label_of(best)} names first "
            f"returns the true label more often {words} (ours).",
            decide=partial(everywhere, size=RESTORES), differs=partial(_quarter, best, control),
        )  # fmt: skip
    for better, worse, words in _BETTER:
        if {better, worse} <= set(ranked):
            yield _claim(
                results, cells, rule="beyond", unit="d_z", among=(better, worse),
                claim=f"{words}, on average over the taps (ours).",
                decide=beyond, differs=partial(_mean_area, better, worse),
            )  # fmt: skip
    if "drift" in ranked:
        yield _claim(
            results, cells, rule="nowhere", unit="area", among=("drift", "random"),
            claim="Maps that hold most information about the rival restore no more than random "
            "maps do, at any tap (ours).",
            decide=_nowhere, differs=partial(_areas, "drift", "random"),
        )  # fmt: skip


def _nowhere(x: Array) -> Ruled:
    """Whether nowhere the area is larger by what matters; effects as they are, not negated."""
    x = x[:, np.isfinite(x).all(axis=0)]
    if x.shape[1] == 0:
        return everywhere(np.full((len(x), 1), np.nan), -AREA)
    told = everywhere(-x, -AREA)
    reason = {
        "supported": f"everywhere the interval lies below {AREA:g}",
        "contradicted": f"somewhere the interval lies above {AREA:g}",
    }.get(told.verdict, told.reason.replace(f"{-AREA:g}", f"{AREA:g}"))
    return Ruled(told.verdict, -told.value, -told.high, -told.low, told.n, told.column, reason)


def _claim(
    results: Results,
    cells: Sequence[Cell],
    *,
    rule: str,
    unit: str,
    decide: Callable[[Array], Ruled],
    claim: str,
    differs: Differs,
    among: tuple[str, str],
) -> Claim:
    """One rule told of every attack on a model."""
    rulings: list[Ruled] = []
    found: list[Number] = []
    levels: list[Number] = []
    said: list[str] = []
    for cell in cells:
        data = results.carried(cell)
        told = decide(differs(data))
        at = "" if told.column is None else f" at {data['tap'].values[told.column]}"
        rulings.append(told)
        found.append(number(f"{cell.attack}{at}", told, unit=unit, n=told.n))
        own = list(
            _levels(cell, data, among) if unit == "share" else _areas_told(cell, data, among)
        )
        spans = f" {_span(own[::2])} against {_span(own[1::2])}," if own else ""
        said.append(f"{cell.attack}{spans} {_LEAST[rule]}{at} {show(found[-1])}")
        levels += own
    words = [told.verdict for told in rulings]
    counts = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
    return Claim(
        claim=claim, rule=rule, verdict=agree(words), numbers=(*found, *levels),
        reason=counts if len(words) > 1 else rulings[0].reason,
        sentence=f"On {cells[0].model}, {label_of(among[0])} against {label_of(among[1])}, "
        f"{_UNITS[rule]}: {'; '.join(said)}.",
    )  # fmt: skip


def _span(numbers: Sequence[Number]) -> str:
    """``5 to 82 %``, or ``38 %`` of a single number."""
    values = [100 * (x.value or 0) for x in numbers]
    low, high = min(values), max(values)
    return f"{low:.0f} %" if round(low) == round(high) else f"{low:.0f} to {high:.0f} %"


_LEAST: Final = {
    "everywhere": "least apart", "beyond": "apart by d_z", "nowhere": "the first ahead most",
}  # fmt: skip
_UNITS: Final = {
    "everywhere": "share of inputs whose label returns, from the lowest tap to the highest",
    "beyond": "area under the restoration curve, mean over the taps",
    "nowhere": "area under the restoration curve, mean over the taps; then tap by tap",
}


def _levels(cell: Cell, data: xr.Dataset, among: tuple[str, str]) -> Iterable[Number]:
    """Shares that return with a quarter of the maps at every tap, beside the control."""
    for k, tap in enumerate(data["tap"].values):
        place = quarter_place(data["count"].values[k])
        for name in among:
            x = data["restored"].sel(ranking=name).values[:, k, place]
            middle, low, high = (float(part[0]) for part in share(x[:, None]))
            yield number(
                f"{cell.attack}, {label_of(name)} of {tap}", Interval(middle, low, high),
                unit="share", n=len(x),
            )  # fmt: skip


def _areas_told(cell: Cell, data: xr.Dataset, among: tuple[str, str]) -> Iterable[Number]:
    """Mean areas under the curves, over taps and inputs."""
    if data.sizes["sample"] < 2:
        return
    for name in among:
        found = points(np.nanmean(_area(name, data), axis=1)[:, None])
        yield number(
            f"{cell.attack}, mean area, {label_of(name)}",
            Interval(*(float(v[0] or 0) for v in (found.mean, found.low, found.high))),
            unit="area", n=int(data.sizes["sample"]),
        )  # fmt: skip


def _quarter(one: str, other: str, data: xr.Dataset) -> Array:
    """With a quarter of the maps, (sample, tap)."""
    a, b = (data["restored"].sel(ranking=name).values for name in (one, other))
    places = [quarter_place(count) for count in data["count"].values]
    taps = np.arange(len(places))
    return np.asarray((a - b)[:, taps, places], dtype=np.float64)


def _areas(one: str, other: str, data: xr.Dataset) -> Array:
    """Areas under the restoration curves, (sample, tap)."""
    return np.asarray(_area(one, data) - _area(other, data))


def _area(name: str, data: xr.Dataset) -> Array:
    return np.asarray(area(data["restored"].sel(ranking=name).values, data["count"].values))


def _mean_area(one: str, other: str, data: xr.Dataset) -> Array:
    """Their mean over the taps, (sample,): it does not grow with the number of taps."""
    return np.asarray(_areas(one, other, data).mean(axis=1))
