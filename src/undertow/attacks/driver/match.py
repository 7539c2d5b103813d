"""Matching magnitudes: the strength at which successful inputs lie at a given distance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
from typing import Any, Final, TypedDict

from torch import nn

from undertow.attacks.driver.contract import check_attack
from undertow.attacks.driver.craft import Target, craft
from undertow.attacks.driver.record import Record
from undertow.errors import BadInput
from undertow.progress import SILENT, Progress
from undertow.types import Attack, Draws, Images, Labels, Precision

__all__ = ["Matched", "Reached", "match", "match_success"]

RANGES: Final = {
    "epsilon": (1e-4, 1.0),
    "overshoot": (1e-3, 20.0),
    "confidence": (1e-2, 100.0),
    "theta": (1e-2, 1.0),
    "l2": (1e-3, 100.0),
}
"""Where a strength is looked for."""
FINEST: Final = 5e-4
"""Strengths nearer to each other than this share are the same."""


class Reached(TypedDict):
    """One row of the table: what a strength reached.

    Args:
        strength: value of the setting.
        l2: mean Euclidean distance of the successful inputs; NaN where there is none.
        l0: their mean number of changed components.
        linf: their mean largest change.
        success: share of inputs that succeeded.
    """

    strength: float
    l2: float
    l0: float
    linf: float
    success: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """An attack with the strength that was found.

    Args:
        attack: the attack with its settings.
        setting: the name of the setting that was searched.
        asked: the mean L2 distance, or the share of successes, asked for.
        reached: what the chosen strength reaches.
        matched: whether that is within the tolerance.
        table: every strength that was tried, in order of strength.
    """

    attack: Attack
    setting: str
    asked: float
    reached: Reached
    matched: bool
    table: tuple[Reached, ...]


def match(
    attack: Attack,
    model: nn.Module | Sequence[nn.Module],
    x: Images,
    y: Labels,
    *,
    l2: float | int,
    target: Target = None,
    seed: int | Draws = 0,
    batch_size: int | None = None,
    precision: Precision = "float32",
    tolerance: float = 0.05,
    probes: int = 16,
    progress: Progress = SILENT,
) -> Matched:
    """Find the strength at which the mean L2 distance over successful inputs is ``l2``.

    A search on the attack's own strength (ε, overshoot, confidence, θ; of an ensemble that of its
    inner attack) in logarithms: by secants as long as each halves the miss, by bisection where it
    does not. Where no strength reaches ``l2``, the nearest that was found is returned, with
    ``matched=False``.

    Args:
        attack: the attack; its other settings stay.
        model: as in :func:`undertow.craft`.
        x: benign images; some hundred are enough.
        y: their labels.
        l2: the mean Euclidean distance to reach, above 0.
        target: as in :func:`undertow.craft`.
        seed: as in :func:`undertow.craft`.
        batch_size: as in :func:`undertow.craft`.
        precision: as in :func:`undertow.craft`.
        tolerance: relative deviation that is near enough.
        probes: at most so many strengths are tried.
        progress: told of strengths tried.

    Raises:
        BadInput: if ``l2`` is not positive, or the attack has no strength to search.
    """
    if not (isinstance(l2, int | float) and math.isfinite(l2) and l2 > 0):
        raise BadInput(f"match: l2 is {l2!r}; it must be a number above 0")
    check_attack(attack)
    setting = _setting(attack)

    probe = _Probe(attack, model, x, y, target, seed, batch_size, precision)

    def too_weak(found: Reached) -> bool:
        if math.isnan(found["l2"]):  # too small a step, or more confidence than can be had
            return setting not in ("confidence", "overshoot")
        return found["l2"] < l2

    with progress(f"match {attack.name} to {l2:g}", probes, "strengths") as advance:
        table = _search(
            probe, too_weak, l2, _limits(attack, setting),
            _first(attack, setting, l2, x[0].numel() if len(x) else 1),
            _Scale(1.0 if setting == "overshoot" else 0.0), tolerance, probes, advance,
        )  # fmt: skip
    reached = min(table, key=lambda p: _miss(p, l2))
    return Matched(
        attack=with_strength(attack, reached["strength"]),
        setting=setting,
        asked=float(l2),
        reached=reached,
        matched=_miss(reached, l2) <= tolerance,
        table=tuple(sorted(table, key=lambda p: p["strength"])),
    )


def match_success(
    attack: Attack,
    model: nn.Module | Sequence[nn.Module],
    x: Images,
    y: Labels,
    *,
    success: float,
    target: Target = None,
    seed: int | Draws = 0,
    batch_size: int | None = None,
    precision: Precision = "float32",
    tolerance: float = 0.02,
    probes: int = 12,
    progress: Progress = SILENT,
) -> Matched:
    """Find the strength at which this share of inputs succeeds, by bisection in logarithms.

    So that networks can be compared that give way at very different sizes. Where no strength
    reaches it, the nearest that was found is returned, with ``matched=False``.

    Args:
        attack: the attack; its other settings stay.
        model: as in :func:`undertow.craft`.
        x: benign images, classified correctly; their number bounds how near a share can be told.
        y: their labels.
        success: the share to reach, between 0 and 1.
        target: as in :func:`undertow.craft`.
        seed: as in :func:`undertow.craft`.
        batch_size: as in :func:`undertow.craft`.
        precision: as in :func:`undertow.craft`.
        tolerance: how far from it is near enough.
        probes: at most so many strengths are tried.
        progress: told of strengths tried.

    Raises:
        BadInput: if ``success`` is no such share, or the attack has no strength to search.
    """
    if not (isinstance(success, float) and 0 < success < 1):
        raise BadInput(f"match: success is {success!r}; it must be a number between 0 and 1")
    check_attack(attack)
    setting = _setting(attack)
    probe = _Probe(attack, model, x, y, target, seed, batch_size, precision)
    low, high = map(math.log, _limits(attack, setting))
    table: list[Reached] = []
    with progress(f"match {attack.name} to {success:.0%}", probes, "strengths") as advance:
        while len(table) < probes and high - low > 2 * FINEST:
            middle = (low + high) / 2
            table.append(found := probe(math.exp(middle)))
            advance()
            if abs(found["success"] - success) <= tolerance:
                break
            low, high = (middle, high) if found["success"] < success else (low, middle)
    reached = min(table, key=lambda p: abs(p["success"] - success))
    return Matched(
        attack=with_strength(attack, reached["strength"]),
        setting=setting,
        asked=success,
        reached=reached,
        matched=abs(reached["success"] - success) <= tolerance,
        table=tuple(sorted(table, key=lambda p: p["strength"])),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Probe:
    """What an attack reaches at a strength."""

    attack: Attack
    model: nn.Module | Sequence[nn.Module]
    x: Images
    y: Labels
    target: Target
    seed: int | Draws
    batch_size: int | None
    precision: Precision

    def __call__(self, strength: float) -> Reached:
        nothing = Record(every=None, endpoints=False)
        t = craft(
            with_strength(self.attack, strength), self.model, self.x, self.y, target=self.target,
            record=nothing, seed=self.seed, batch_size=self.batch_size, precision=self.precision,
        )  # fmt: skip
        won = t.success & (t.l2 > 0)
        mean = [float(d[won].double().mean()) for d in (t.l2, t.l0, t.linf)]
        share = float(t.success.double().mean())
        return Reached(strength=strength, l2=mean[0], l0=mean[1], linf=mean[2], success=share)


def with_strength(attack: Attack, strength: float) -> Attack:
    """The attack with its strength set; of an ensemble the inner attack's."""
    if attack.inner is not None:
        return replace(attack, attack=with_strength(attack.inner, strength))  # type: ignore[type-var]
    changed: dict[str, Any] = {_setting(attack): strength}
    if attack.name == "noise":
        changed = {"l2": strength, "linf": None}
    return replace(attack, **changed)  # type: ignore[type-var]


def _setting(attack: Attack) -> str:
    """The setting that is the attack's strength."""
    attack = attack.inner or attack
    found = attack.strength
    if found not in RANGES:
        allowed = ", ".join(RANGES)
        raise BadInput(f"match: {attack.name} has no strength to search (known: {allowed})")
    return str(found)


def _limits(attack: Attack, setting: str) -> tuple[float, float]:
    """Where the strength is looked for; a length may be as long as the box's diagonal."""
    return RANGES["l2" if _is_length(attack, setting) else setting]


def _is_length(attack: Attack, setting: str) -> bool:
    return setting == "epsilon" and (attack.inner or attack).norm == "l2"


def _first(attack: Attack, setting: str, l2: float, components: int) -> float | None:
    """The strength that uses up its budget at this distance, where it is a budget."""
    if setting == "l2" or _is_length(attack, setting):
        return l2
    return l2 / math.sqrt(components) if setting == "epsilon" else None


def _miss(probe: Reached, l2: float) -> float:
    """Relative deviation from what was asked; infinite without a success."""
    return math.inf if math.isnan(probe["l2"]) else abs(probe["l2"] / l2 - 1)


@dataclass(frozen=True, slots=True)
class _Scale:
    """A strength in logarithms, so that the distance's logarithm is nearly a straight line in it.

    DeepFool goes 1 + overshoot times the way to the boundary; other strengths are lengths.
    """

    offset: float

    def of(self, strength: float) -> float:
        return math.log(self.offset + strength)

    def strength(self, place: float) -> float:
        return math.exp(place) - self.offset


def _search(
    probe: Callable[[float], Reached],
    too_weak: Callable[[Reached], bool],
    l2: float,
    limits: tuple[float, float],
    first: float | None,
    scale: _Scale,
    tolerance: float,
    probes: int,
    advance: Callable[[], None],
) -> list[Reached]:
    """Probes until one is near enough, the bracket is tiny, or there were enough."""
    low, high = map(scale.of, limits)
    known: list[Reached] = []
    sides: set[bool] = set()
    guess = (low + high) / 2 if first is None else min(max(scale.of(first), low), high)
    while len(known) < probes and high - low > 2 * FINEST:
        found = probe(scale.strength(guess))
        known.append(found)
        advance()
        if _miss(found, l2) <= tolerance:
            break
        weak = too_weak(found)
        low, high = (guess, high) if weak else (low, guess)
        sides.add(weak)
        guess = _guess(known, l2, low, high, scale, bracketed=len(sides) > 1)
    return known


def _guess(
    known: Sequence[Reached], l2: float, low: float, high: float, scale: _Scale, *, bracketed: bool
) -> float:
    """The next place to look: the secant's while it halves the miss, else the middle.

    As long as every probe lies on one side, slow secants are lengthened instead, twofold each
    time: the middle may be very far from the only places that are known.
    """
    middle = (low + high) / 2
    points = [(scale.of(p["strength"]), math.log(p["l2"] / l2)) for p in known if p["l2"] > 0]
    off = [abs(math.log(p["l2"] / l2)) if p["l2"] > 0 else math.inf for p in known]
    slow = sum(1 for _ in takewhile(lambda pair: pair[1] > pair[0] / 2, [*pairwise(off)][::-1]))
    if not points or (slow and bracketed):
        return middle
    points.sort(key=lambda point: abs(point[1]))
    (a, fa), slope = points[0], 1.0  # with one point: as if distance were proportional
    if len(points) > 1 and points[1][0] != a:
        slope = (points[1][1] - fa) / (points[1][0] - a)
    guess = a - 2**slow * fa / slope if slope > 0 else middle
    return guess if low + FINEST < guess < high - FINEST else middle
