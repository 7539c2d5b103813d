"""Why a model says of one input what it says: the sentence, and the numbers behind it.

Everything here is read from a run: its recorded inputs (exemplars) and its benign inputs, which are
the population that an input is held against.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from undertow.prose import attack_name
from undertow.store import Explanation, Number
from undertow.store.answers import Kind
from undertow.studies.answered.carrying import carrying_numbers, carrying_told
from undertow.studies.answered.results import DECIDES, Results
from undertow.studies.answered.seen import Seen, recorded

__all__ = ["explanations", "place_in_depth"]

Array = NDArray[np.float64]

MOST: Final = 200
"""Recorded inputs that are told of one by one."""
FEW: Final = 8
"""Fewer inputs than this are no population."""
USUAL: Final = 0.9
"""A drift no larger than in this share of inputs that are read rightly tells nothing."""
_PLACES: Final = (
    (0.0, "at the start"),
    (0.25, "a quarter of the way through"),
    (1 / 3, "a third of the way through"),
    (0.5, "half way through"),
    (2 / 3, "two thirds of the way through"),
    (0.75, "three quarters of the way through"),
    (1.0, "at the end"),
)


def place_in_depth(depth: float) -> str:
    """Where a tap lies, in words: ``two thirds of the way through`` (by multiply-adds)."""
    return min(_PLACES, key=lambda place: abs(place[0] - depth))[1]


def explanations(results: Results) -> tuple[Explanation, ...]:
    """One explanation a recorded input of a run, as far as there are any.

    Args:
        results: what a run holds.
    """
    return tuple(_explained(seen) for seen in recorded(results)[:MOST])


# Sentences ----------------------------------------------------------------------------------------


def _turn(drift: Array) -> int:
    """The first tap from which drift is positive for good; -1 where there is none."""
    held = np.logical_and.accumulate((drift > 0)[::-1])[::-1]
    return int(held.argmax()) if held.any() else -1


def _explained(seen: Seen) -> Explanation:
    answer = int(seen.logits[-1].argmax())
    first = int(seen.logits[0].argmax())
    kind: Kind
    if seen.attack is not None and len(seen.steps) > 1:
        kind = "fooled" if answer != seen.label and not seen.rejected else "held"
    elif not seen.labelled:
        kind = "unlabelled"
    else:
        kind = "error" if first != seen.label else "right"
    told = [
        _says_attacked(seen, answer) if kind in ("fooled", "held") else _says(seen, kind, first),
        *(["The model's defence rejects it."] if seen.rejected and len(seen.steps) == 1 else []),
        _where(seen),
        *_beyond(seen, kind),
        *(carrying_told(seen) if kind == "fooled" else ()),
        *_rare(seen, kind),
        *_cross(seen),
    ]
    return Explanation(
        input=seen.name,
        index=seen.index,
        model=seen.model,
        attack=seen.attack,
        kind=kind,
        sentences=tuple(told),
        classes=(seen.classes[seen.label], seen.classes[answer], seen.classes[seen.rival]),
        numbers=_numbers(seen, answer),
        interest=_interest(seen, kind),
    )


def _says_attacked(seen: Seen, answer: int) -> str:
    """Such as: frog 96 % → cat 50 % after 14 steps of JSMA, 28 of 3,072 values changed."""
    attack = attack_name(str(seen.attack))
    steps = int(seen.steps[-1])
    change = np.abs(seen.images[-1] - seen.images[0])
    changed, total = int((change > 0).sum()), change.size
    size = (
        f"{changed:,} of {total:,} values changed"
        if changed <= 0.1 * total
        else f"no value changed by more than {change.max() * 255:.3g} of 255"
    )
    whose = f"{'step' if steps == 1 else 'steps'} of {attack}"
    start = seen.sure(0, seen.label)
    label = "" if seen.labelled else " (its answer before; nobody told what it is)"
    if seen.rejected:
        size += f", and the defence rejects it (the answer would be {seen.sure(-1, answer)})"
        return f"{start}{label} → rejected after {steps} {whose}, {size}."
    if answer == seen.label:
        return f"{start} → still {seen.sure(-1, answer)}{label} after {steps} {whose}, {size}."
    return f"{start}{label} → {seen.sure(-1, answer)} after {steps} {whose}, {size}."


def _says(seen: Seen, kind: Kind, first: int) -> str:
    order = np.argsort(-seen.logits[0], kind="stable")
    second = int(order[1])
    nothing_done = (
        f" {attack_name(seen.attack)} had nothing to do." if seen.attack and kind == "error" else ""
    )
    if kind == "error":
        own = seen.sure(0, seen.label)
        return f"{seen.sure(0, first)}, but it is: {own}.{nothing_done}"
    if kind == "right":
        return f"{seen.sure(0, first)}, rightly; next comes {seen.sure(0, second)}."
    return f"{seen.sure(0, first)}, next comes {seen.sure(0, second)}; nobody told what it is."


def _unusual(seen: Seen) -> NDArray[np.bool_]:
    """At which taps drift ends higher than in most inputs that the model reads rightly, (tap,)."""
    right = seen.population[~seen.wrong]
    if len(right) < FEW:
        return np.ones(len(seen.taps), dtype=bool)
    return np.asarray(seen.main[-1] > np.quantile(right, USUAL, axis=0))


def _where(seen: Seen) -> str:
    """From which layer, and from which step, the flow goes to the rival."""
    true, rival = seen.classes[seen.label], seen.classes[seen.rival]
    end, start = seen.main[-1], seen.main[0]
    at = _turn(end)
    if at < 0:
        return _not_turned(seen, true, rival)
    if not _unusual(seen)[at:].any():
        return (
            f"Its flow leans to {rival}, but at no layer further than in one of ten pictures that "
            "the model reads rightly: the layers do not tell why."
        )
    # Before this tap the lead is no larger than what pictures read rightly show as well.
    at += int(_unusual(seen)[at:].argmax())
    place = place_in_depth(float(seen.depth[at]))
    if at == 0:
        told = f"From the first layer that is read, {seen.taps[0]}, the flow goes to {rival}"
    else:
        told = f"Up to {seen.taps[at - 1]} the network still reads {true}; "
        told += f"from {seen.taps[at]}, {place}, it reads {rival}"
        if not (end[:at] <= 0).all():
            told = f"From {seen.taps[at]}, {place}, the network reads {rival}, not {true}"
    if int(seen.logits[-1].argmax()) == seen.label:
        # Two numbers near each other may stand either way: a right answer is not misread by that.
        told = f"From {seen.taps[at]}, {place}, its flow leans to {rival} "
        told += f"({_bits(float(end[-1]))} at {seen.taps[-1]}), though it answers {true}"
    if len(seen.steps) > 1:
        if start[at] > 0:
            told += f" (where it leant so before the attack: {_moved(start[at], end[at])})"
        else:
            step = _turn(seen.main[:, at])
            if step >= 0 and seen.steps[-1] > 1:
                told += f", since step {int(seen.steps[step])} of {int(seen.steps[-1])}"
    return f"{told}."


def _not_turned(seen: Seen, true: str, rival: str) -> str:
    """The flow at the last layer is with the true class still."""
    end, start = float(seen.main[-1, -1]), float(seen.main[0, -1])
    fooled = int(seen.logits[-1].argmax()) != seen.label
    last = seen.taps[-1]
    if len(seen.steps) > 1 and abs(end - start) >= 0.005:
        moved = f"({_moved(start, end)})"
        if end > start:
            return f"At {last} the flow moved towards {rival} {moved} but still leans to {true}."
        but = ", whatever the model answers" if fooled else ""
        return f"At {last} the flow even moved away from {rival} {moved}{but}."
    if fooled:
        return f"At its last layer, {last}, the network still reads {true}, whatever it answers."
    led = [seen.taps[k] for k in np.flatnonzero((seen.main[-1] > 0) & _unusual(seen))]
    passing = f" {rival} leads only in passing, at {_listed(led)}." if led else ""
    return f"At its last layer, {last}, the network reads {true}.{passing}"


def _bits(value: float) -> str:
    return f"{value:+.2f} bit"


def _moved(start: float, end: float) -> str:
    # What moved is not to read as if it had stayed.
    digits = 2 if f"{start:+.2f}" != f"{end:+.2f}" else 3
    return f"{start:+.{digits}f} → {end:+.{digits}f} bit"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


_DONE: Final = {
    "transplant": "The same change made for another picture",
    "spectrum": "a change of that size and spectrum",
    "noise": "noise of that size",
}


def _beyond(seen: Seen, kind: Kind) -> list[str]:
    """What the controls do where the attack changed the answer."""
    if kind != "fooled" or DECIDES not in seen.controls:
        return []
    start = float(seen.main[0, -1])
    answer, drift = seen.controls[DECIDES]
    fooled, done = answer != seen.label, _DONE[DECIDES]
    if _turn(seen.main[-1]) < 0:
        also = "fools it as well" if fooled else "does not fool it"
        return [f"{done} {also} (it moves that flow by {_bits(float(drift[-1]) - start)})."]
    rival = seen.classes[seen.rival]
    if drift[-1] > 0 and start <= 0:
        also = "and the answer" if fooled else "though not the answer"
        return [f"{done} turns the flow to {rival}, too, {also}: it is not this picture's own."]
    if fooled:
        return [f"{done} changes the answer, too, but does not turn the flow to {rival}."]
    others = [c for c in seen.controls if c != DECIDES]
    quiet = [
        c for c in others if seen.controls[c][1][-1] <= 0 and seen.controls[c][0] == seen.label
    ]
    nor = f", nor does {' or '.join(_DONE[c] for c in quiet)}" if quiet else ""
    loud = [_DONE[c] for c in others if c not in quiet]
    does = "does" if len(loud) == 1 else "do"
    but = f"; but {' and '.join(loud)} {does}" if loud else ""
    return [f"{done} does not do this{nor}{but}."]


def _rare(seen: Seen, kind: Kind) -> list[str]:
    """Among how many unattacked inputs such a drift is seen, at the last tap that has one."""
    n = len(seen.population)
    if n < FEW:
        return ["How rare that is cannot be told: there are no other pictures to compare with."]
    drift = float(seen.main[-1, -1])
    further = seen.population[:, -1] >= drift
    count, wrong = int(further.sum()), int((further & seen.wrong).sum())
    who = f"{n} other unattacked pictures"
    if drift <= 0:
        return [f"{count} of {who} lean further to their runner-up there."]
    if not count:
        return [f"None of {who} leans so far to a wrong class there."]
    misread = (
        f"; the model misreads {'it' if count == 1 else wrong if wrong < count else 'all of them'}"
    )
    lean = "leans" if count == 1 else "lean"
    return [f"{count} of {who} {lean} so far to a wrong class there{misread if wrong else ''}."]


def _cross(seen: Seen) -> list[str]:
    """Whether the second estimator sees the flow turn as well."""
    others = [d for name, d in seen.drift.items() if name]
    ends = [bool(d[-1, -1] > 0) for d in (seen.main, *others)]
    if len(set(ends)) > 1:
        return ["The two estimators do not agree on where the flow ends: take this with caution."]
    return []


def _interest(seen: Seen, kind: Kind) -> float:
    """Errors first, then doubtful answers; within each, by drift."""
    rank = {"error": 4.0, "fooled": 3.0, "unlabelled": 1.0, "right": 1.0, "held": 0.0}[kind]
    top = np.sort(seen.probabilities[-1])[::-1]
    doubt = 1.0 - float(top[0] - top[1])
    return rank + doubt


def _numbers(seen: Seen, answer: int) -> tuple[Number, ...]:
    last = seen.taps[-1]
    rival = seen.classes[seen.rival]
    start, end = seen.main[0], seen.main[-1]
    at = _turn(end)
    found = [
        _number(
            name=f"drift to {rival} at {last}, before", value=float(start[-1]), unit="bit"
        ),
        _number(name=f"drift to {rival} at {last}", value=float(end[-1]), unit="bit"),
        *(
            _number(name=f"the same by {name}", value=float(d[-1, -1]), unit="bit")
            for name, d in seen.drift.items()
            if name
        ),
        *(
            _number(name=f"the same under {kind}", value=float(drift[-1]), unit="bit")
            for kind, (_, drift) in seen.controls.items()
        ),
        _number(
            name="depth at which the flow turns",
            value=float(seen.depth[at]) if at >= 0 else None, unit="share of multiply-adds",
        ),
        _number(name=f"probability of {seen.classes[answer]}",
               value=float(seen.probabilities[-1, answer])),
        _number(name=f"probability of {seen.classes[seen.label]}",
               value=float(seen.probabilities[-1, seen.label])),
    ]  # fmt: skip
    if len(seen.population) >= FEW:
        share = float((seen.population[:, -1] >= end[-1]).mean())
        found.append(
            _number(name="other unattacked inputs that drift so far", value=share, unit="share",
                   n=len(seen.population))
        )  # fmt: skip
    return (*found, *carrying_numbers(seen.fewest))


def _number(name: str, value: float | None, unit: str = "", n: int | None = None) -> Number:
    return Number.model_validate({"name": name, "value": value, "unit": unit, "n": n})
