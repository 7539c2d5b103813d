"""The first sentence of a study: what its attacks do to the flow, beside their controls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from undertow.prose import attack_name
from undertow.store import Answer, Contrast
from undertow.store.answers import Verdict
from undertow.studies.answered.results import DECIDES

__all__ = ["headline"]

Contrasts = Mapping[str, Mapping[str, Mapping[str, Contrast]]]


def headline(contrasts: Contrasts, questions: Iterable[Answer]) -> str:
    """What the attacks on each model do at the last layer, and how many claims hold.

    An attack *turns* the flow where the interval of drift lies above 0, and its control does so
    likewise; empty where there is neither drift nor a claim.

    Args:
        contrasts: ``contrasts[model][attack]["drift"]``.
        questions: as they were answered.
    """
    told = [
        sentence
        for model, by in contrasts.items()
        if (sentence := _of_model(model, {a: q["drift"] for a, q in by.items() if "drift" in q}))
    ]
    counts = Counter(claim.verdict for question in questions for claim in question.claims)
    if counts:
        order: tuple[Verdict, ...] = ("supported", "contradicted", "inconclusive")
        parts = [f"{counts[v]} {v}" for v in order if counts[v]]
        total = sum(counts.values())
        told.append(f"Of {total} claim{'' if total == 1 else 's'}: {', '.join(parts)}.")
    return " ".join(told)


def _of_model(model: str, drift: Mapping[str, Contrast]) -> str:
    if not drift:
        return ""
    turned = [a for a, c in drift.items() if _above(c, "attack")]
    layer = next(iter(drift.values())).tap[-1]
    if not turned:
        n = len(drift)
        which = "the attack does" if n == 1 else f"none of {n} attacks does"
        not_ = " not" if n == 1 else ""
        return f"On {model}, {which}{not_} turn the flow to the wrong class at {layer}."
    low, high = (f([_last(drift[a], "attack") for a in turned]) for f in (min, max))
    benign = sum(_last(drift[a], "benign") for a in turned) / len(turned)
    reach = _bits(low) if low == high else f"{low:+.2f} to {_bits(high)}"
    names = _listed([attack_name(a) for a in turned])
    turns = "turns" if len(turned) == 1 else "turn"
    first = f"On {model}, {names} {turns} the flow to the wrong class at {layer}"
    first += f" (drift {reach}, where the same inputs have {_bits(benign)} unattacked)"
    held = [a for a in turned if DECIDES in drift[a].level]
    if not held:
        return f"{first}; no control was made."
    also = [a for a in held if _above(drift[a], DECIDES)]
    rest = [attack_name(a) for a in drift if a not in turned]
    if also:
        whose = _listed([attack_name(a) for a in also])
        second = f"so does the same change made for other inputs, of {whose}"
    else:
        middle = sum(_last(drift[a], DECIDES) for a in held) / len(held)
        second = f"the same changes made for other inputs do not ({_bits(middle)})"
    third = f"; {_listed(rest)} do{'es' if len(rest) == 1 else ''} not" if rest else ""
    return f"{first}; {second}{third}."


def _above(contrast: Contrast, who: str) -> bool:
    low = contrast.level[who].low[-1] if who in contrast.level else None
    return low is not None and low > 0


def _last(contrast: Contrast, who: str) -> float:
    return float(contrast.level[who].mean[-1] or 0.0)


def _bits(value: float) -> str:
    return f"{value:+.2f} bit"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
