"""Q7: does adversarial training move the depth at which an attack turns the flow?

At equal success: a robust network gives way at several times the size of perturbation, and at
equal size it is fooled on other, easier inputs. Paired by input, over those that fool both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from undertow.prose import attack_name
from undertow.statistics.verdicts import Ruling, moved
from undertow.store import BENIGN, Cell, Claim, Control, Number
from undertow.studies.answered.questions.claims import (
    Told,
    controlled,
    lacking,
    means,
    percent,
    rate,
    ruled,
    show,
)
from undertow.studies.answered.results import DECIDES, Results
from undertow.studies.asked.plan import named
from undertow.studies.asked.spec import AttackSpec, StudySpec

__all__ = ["Q7"]

Depth = Callable[[Results, Cell], np.ndarray]

WORDS = {
    "turn": "the flow turns (drift is positive for good)",
    "takeover": "the readers name the rival for good",
}


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """A network, its adversarially trained twin, and an attack on each."""

    plain: str
    robust: str
    attack: AttackSpec

    @property
    def cells(self) -> tuple[Cell, Cell]:
        return Cell(self.plain, self.attack.id), Cell(self.robust, self.attack.id)

    @property
    def equal(self) -> str:
        return "equal success" if self.attack.match_success is not None else "equal settings"


def _pairs(spec: StudySpec) -> tuple[_Pair, ...]:
    """Every pair of networks with every attack on both; those at equal success come first."""
    found = [
        _Pair(plain, robust, attack)
        for plain, robust in spec.hardened.items()
        for attack in spec.attacks_on(plain)
        if attack in spec.attacks_on(robust) and controlled(attack)
    ]
    if not any(pair.attack.match_success is not None for pair in found):
        raise lacking(
            "Q7 needs a network and its twin (hardened: {plain: robust}) and an attack on both at "
            "equal success (match_success: 0.5)"
        )
    return tuple(sorted(found, key=lambda p: p.attack.match_success is None))


@dataclass(frozen=True, slots=True)
class _Q7:
    id: str = "q7"
    words: str = "Does adversarial training move the depth at which an attack turns the flow?"

    def cells(self, spec: StudySpec) -> tuple[Cell, ...]:
        return tuple(
            dict.fromkeys(
                Cell(model, name)
                for pair in _pairs(spec)
                for model in (pair.plain, pair.robust)
                for name in (BENIGN, *named(pair.attack))
            )
        )

    def claims(self, results: Results, rng: np.random.Generator) -> tuple[Claim, ...]:
        pairs = _pairs(results.spec)
        judged = [p for p in pairs if p.attack.match_success is not None]
        quantities: dict[str, Depth] = {"turn": Results.turn_depth}
        if all(results.run.has("class_information", c) for p in judged for c in p.cells):
            quantities["takeover"] = Results.taken_over
        out: list[Claim] = []
        for key, what in quantities.items():
            told = {pair: _told(results, pair, what) for pair in pairs}
            out += [_of_pair(results, p, key, what, told, rng) for p in judged]
            out += _everywhere(judged, key, told)
        return tuple(out)


Q7 = _Q7()


def _rows(results: Results, pair: _Pair) -> np.ndarray:
    """Inputs that fool both, each with a transplant of its norm."""
    return np.asarray(
        np.logical_and.reduce([results.success(c) & results.fair(c) for c in pair.cells])
    )


def _gap(pair: _Pair, what: Depth, rows: np.ndarray, seen: Results) -> np.ndarray:
    plain, robust = pair.cells
    return np.asarray((what(seen, robust) - what(seen, plain))[rows])


def _told(results: Results, pair: _Pair, what: Depth) -> Told:
    rows = _rows(results, pair)
    return ruled(
        results, f"{pair.robust} − {pair.plain}, {pair.attack.id}", moved,
        partial(_gap, pair, what, rows),
    )  # fmt: skip


def _of_pair(
    results: Results,
    pair: _Pair,
    key: str,
    what: Depth,
    told: dict[_Pair, Told],
    rng: np.random.Generator,
) -> Claim:
    rows, own = _rows(results, pair), told[pair]
    plain, robust = pair.cells
    depth = means({c.model: what(results, c)[rows] for c in (plain, robust)}, "depth", rng)
    rates = tuple(rate(f"success, {c.model}", results.success(c)) for c in pair.cells)
    size = [float(results.attacks(c)["l2"].values[rows].mean()) for c in pair.cells]
    return Claim(
        claim=f"Adversarial training moves the depth from which {WORDS[key]}: {pair.plain}, "
        f"{attack_name(pair.attack.name)} at {pair.equal} (ours).",
        verdict=own.verdict, reason=own.reason, rule="moved",
        sentence=f"At {pair.equal} ({percent(rates[0])} on {pair.plain}, {percent(rates[1])} on "
        f"{pair.robust}; mean L2 {size[0]:.2f} and {size[1]:.2f}) {WORDS[key]} from a mean depth "
        f"of {_at(depth[0])} on {pair.plain} and {_at(depth[1])} on {pair.robust}: {own.shown} "
        f"d_z over the {int(rows.sum())} inputs that fool both.",
        numbers=(*own.numbers, *depth, *rates),
        control=_beside(results, pair, key, what, told, rows),
    )  # fmt: skip


def _at(x: Number) -> str:
    return "unknown" if x.value is None else f"{x.value:.2f}"


def _beside(
    results: Results,
    pair: _Pair,
    key: str,
    what: Depth,
    told: dict[_Pair, Told],
    rows: np.ndarray,
) -> Control:
    """What the networks differ in without the attack, and what the other way to compare says."""
    numbers: list[Number] = []
    parts: list[str] = []
    for words, gap in _without(results, pair, key, what, rows).items():
        found = ruled(results, words, moved, gap)
        numbers += found.numbers[:1]
        parts.append(f"{words} {found.shown} d_z")
    for other, found in told.items():
        same = (other.plain, other.robust) == (pair.plain, pair.robust)
        if same and other.attack.match_success is None:
            name = f"at {other.equal}, {attack_name(other.attack.id)}"
            numbers.append(found.numbers[0].model_copy(update={"name": name}))
            parts.append(f"{name} {show(found.numbers[0])} d_z (n = {found.first.n})")
    return Control(
        sentence="The same difference of the twins: " + ", ".join(parts) + ".",
        numbers=tuple(numbers),
    )


def _without(
    results: Results, pair: _Pair, key: str, what: Depth, rows: np.ndarray
) -> dict[str, Callable[[Results], np.ndarray]]:
    """Differences of the twins that no attack on this input makes."""
    plain, robust = pair.cells

    def transplanted(seen: Results) -> np.ndarray:
        there = (what(seen, seen.control(c)) for c in (robust, plain))
        return np.asarray(np.subtract(*there)[rows])

    def benign(seen: Results) -> np.ndarray:
        there = (
            seen.turn_depth(Cell(c.model, BENIGN), rival=seen.rival(c)) for c in (robust, plain)
        )
        return np.asarray(np.subtract(*there)[rows])

    found: dict[str, Callable[[Results], np.ndarray]] = {
        f"under the {DECIDES}, which fools neither by aim": transplanted
    }
    return found | ({"unattacked, towards the same rivals": benign} if key == "turn" else {})


def _everywhere(judged: list[_Pair], key: str, told: dict[_Pair, Told]) -> list[Claim]:
    """One sentence over all networks, where there are several."""
    if len(judged) < 2:
        return []
    verdicts = [told[pair].verdict for pair in judged]
    signs = {np.sign(told[pair].first.value) for pair in judged}
    verdict: Ruling = "inconclusive"
    if set(verdicts) == {"supported"} and len(signs) == 1:
        verdict = "supported"
    elif "contradicted" in verdicts or (set(verdicts) == {"supported"} and len(signs) > 1):
        verdict = "contradicted"
    n = verdicts.count("supported")
    way = "the same way" if len(signs) == 1 else "not all the same way"
    said = "; ".join(f"{p.plain} {told[p].shown}" for p in judged)
    return [
        Claim(
            claim=f"Adversarial training moves the depth from which {WORDS[key]}, the same way in "
            "every network (ours).",
            verdict=verdict, rule="moved",
            reason=f"it moves in {n} of {len(judged)}, {way}",
            sentence=f"At equal success, robust − plain, in d_z: {said}.",
            numbers=tuple(told[p].numbers[0] for p in judged),
        )
    ]  # fmt: skip
