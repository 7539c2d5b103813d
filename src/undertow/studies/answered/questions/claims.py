"""From arrays to claims: one rule under every estimator and null, and the controls beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from undertow.errors import BadInput
from undertow.statistics.effects import Interval, bootstrap, proportion
from undertow.statistics.verdicts import Ruled, Ruling, beyond
from undertow.store import Cell, Control, Number
from undertow.studies.answered.results import DECIDES, Results
from undertow.studies.asked.spec import AttackSpec

__all__ = [
    "Told",
    "What",
    "agree",
    "apart",
    "beside",
    "controlled",
    "lacking",
    "means",
    "number",
    "percent",
    "rate",
    "ruled",
    "show",
    "together",
]

Array: TypeAlias = NDArray[Any]
What: TypeAlias = Callable[[Results, Cell], Array]
"""A quantity of every input of a cell, (sample,) or (sample, column)."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a rule says under every estimator and null.

    Args:
        verdict: what all of them say; inconclusive where they differ.
        numbers: the effect under each.
        reason: why, in one clause.
        first: under the study's own estimator and null.
    """

    verdict: Ruling
    numbers: tuple[Number, ...]
    reason: str
    first: Ruled

    @property
    def shown(self) -> str:
        """The study's own effect with its interval."""
        return show(self.numbers[0])


def controlled(attack: AttackSpec) -> bool:
    """Whether an attack has the control that decides."""
    return DECIDES in attack.controls


def ruled(
    results: Results,
    name: str,
    rule: Callable[[Array], Ruled],
    values: Callable[[Results], Array],
    *,
    unit: str = "d_z",
    columns: Sequence[str] = (),
    oip: bool = False,
) -> Told:
    """A rule's verdict, which must be the same under every estimator, and on OIP every null.

    Args:
        results: the run.
        name: of the effect.
        rule: of :mod:`undertow.statistics.verdicts`.
        values: what it is told of, as one estimator sees it.
        unit: of the effect.
        columns: what the columns are called, where the rule chooses one.
        oip: whether the values rest on OIP.
    """
    found = {view: rule(values(seen)) for view, seen in results.views(oip=oip).items()}
    numbers = []
    for view, told in found.items():
        at = f": {columns[told.column]}" if columns and told.column is not None else ""
        numbers.append(number(f"{name}{at}, {view}", told, unit=unit, n=told.n))
    first = next(iter(found.values()))
    verdict = agree(told.verdict for told in found.values())
    reason = first.reason
    if len({told.verdict for told in found.values()}) > 1:
        reason = "not the same under all: " + ", ".join(
            f"{t.verdict} ({v})" for v, t in found.items()
        )
    return Told(verdict, tuple(numbers), reason, first)


def agree(verdicts: Iterable[Ruling]) -> Ruling:
    """What all say; inconclusive where they differ, or where there are none."""
    found = set(verdicts)
    return found.pop() if len(found) == 1 else "inconclusive"


def together(found: Mapping[str, Told]) -> tuple[Ruling, str]:
    """The verdict on something that is claimed of all of these, and why."""
    said = [told.verdict for told in found.values()]
    counts = ", ".join(f"{said.count(v)} {v}" for v in dict.fromkeys(said))
    return agree(said), counts if len(found) > 1 else "".join(t.reason for t in found.values())


def apart(seen: Results, cell: Cell, what: What, rows: Array, kind: str = DECIDES) -> Array:
    """An attack minus its control, of some inputs: what the attack does beyond it."""
    return np.asarray(what(seen, cell)[rows] - what(seen, seen.control(cell, kind))[rows])


def beside(
    results: Results, cell: Cell, what: What, rows: Array, told: Ruled | None = None
) -> Control | None:
    """How far the attack is beyond each of its controls, at the column that was told of."""
    numbers = []
    for control in results.controls(cell):
        kind = str(control.control)
        x = apart(results, cell, what, rows, kind)
        if x.ndim == 2:
            x = x[:, (told.column if told else None) or 0]
        numbers.append(number(f"beyond {kind}", beyond(x), unit="d_z", n=len(x)))
    if not numbers:
        return None
    place = "At the same tap, over all inputs" if told and told.column is not None else "The same"
    text = ", ".join(f"{x.name} {show(x)}" for x in numbers)
    return Control(sentence=f"{place}: {text} d_z. The {DECIDES} decides.", numbers=tuple(numbers))


def number(name: str, found: Interval | Ruled, *, unit: str = "", n: int | None = None) -> Number:
    """A named number with its interval."""
    d_z = found.value if unit == "d_z" else None
    return Number(
        name=name, value=found.value, unit=unit, low=found.low, high=found.high, n=n, d_z=d_z,
        p_adjusted=None,
    )  # fmt: skip


def rate(name: str, hits: Array) -> Number:
    """A share of inputs with Wilson's interval."""
    return number(name, proportion(int(hits.sum()), len(hits)), unit="share", n=len(hits))


def means(values: Mapping[str, Array], unit: str, rng: np.random.Generator) -> tuple[Number, ...]:
    """The mean of each named array, (sample,), with its bootstrap interval."""
    nothing = Interval(float("nan"), -np.inf, np.inf)
    return tuple(
        number(name, bootstrap(x, rng=rng) if len(x) else nothing, unit=unit, n=len(x))
        for name, x in values.items()
    )


def show(x: Number) -> str:
    """``+0.52 [0.31, 0.74]``."""
    if x.value is None:
        return "unknown"
    return f"{x.value:+.2f} [{x.low or 0:.2f}, {x.high or 0:.2f}]"


def percent(x: Number) -> str:
    """``12 % [8, 17]``."""
    if x.value is None:
        return "unknown"
    return f"{100 * x.value:.0f} % [{100 * (x.low or 0):.0f}, {100 * (x.high or 0):.0f}]"


def lacking(what: str) -> BadInput:
    """What a study must have for a question, with the control that decides."""
    return BadInput(f"{what}, with its {DECIDES}")
