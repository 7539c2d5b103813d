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

    An attack *pulls* the flow where the interval of its change of drift lies above 0 and above that
    of its transplant; the flow *ends* with the wrong class where the interval of drift itself lies
    above 0. Empty where there is neither drift nor a claim.

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
    layer = next(iter(drift.values())).tap[-1]
    pulled = [a for a, c in drift.items() if _pulls(c)]
    held = all(DECIDES in c.change for c in drift.values())
    than = "further than the same changes made for other inputs" if held else "no control was made"
    if not pulled:
        what = (
            "the attack does not pull" if len(drift) == 1 else f"none of {len(drift)} attacks pulls"
        )
        beyond = " further than the same change made for other inputs does" if held else ""
        return f"On {model}, {what} the flow towards the wrong class at {layer}{beyond}."
    verb = "pulls" if len(pulled) == 1 else "pull"
    told = f"On {model}, {_names(pulled)} {verb} the flow towards the wrong class at {layer}, by "
    told += f"{_reach([_last(drift[a], 'attack') for a in pulled])}, {than}"
    if held:
        told += f" ({_reach([_last(drift[a], DECIDES) for a in pulled])})"
    rest = [a for a in drift if a not in pulled]
    told += f"; {_names(rest)} do{'es' if len(rest) == 1 else ''} not" if rest else ""
    ends = [a for a in pulled if (drift[a].level["attack"].low[-1] or 0) > 0]
    where = f"ends with the wrong class under {_names(ends)}" if ends else "ends with neither class"
    short = [a for a in pulled if (drift[a].level["attack"].high[-1] or 0) < 0]
    if short:
        where = f"{where if ends else ''}{', ' if ends else ''}stays with the true class under "
        where += _names(short)
    return f"{told}. On average it {where}."


def _pulls(contrast: Contrast) -> bool:
    low = contrast.change["attack"].low[-1]
    other = contrast.change[DECIDES].high[-1] if DECIDES in contrast.change else None
    return low is not None and low > max(0.0, other or 0.0)


def _reach(values: list[float]) -> str:
    low, high = (f"{v:+.2f}" for v in (min(values), max(values)))
    return f"{low} bit" if low == high else f"{low} to {high} bit"


def _names(attacks: list[str]) -> str:
    names = [attack_name(a) for a in attacks]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _last(contrast: Contrast, who: str) -> float:
    return float(contrast.change[who].mean[-1] or 0.0)
