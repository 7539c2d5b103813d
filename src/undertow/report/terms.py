"""Terms that explain themselves: on hover where they stand, and together in the glossary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from markupsafe import Markup, escape

from undertow.prose import prose

__all__ = ["SIGNS", "TERMS", "VERDICTS", "glossed"]

VERDICTS: Final = {
    "supported": "the numbers show it, and by more than the smallest effect that matters",
    "contradicted": "the numbers show the opposite, or that there is no such effect",
    "inconclusive": "these inputs cannot tell: it may be so or not",
}
"""Each verdict in plain words."""
SIGNS: Final = {"supported": "●", "contradicted": "✕", "inconclusive": "○"}
"""Each verdict's sign, so that colour is not needed."""
TERMS: Final = {
    "drift": "flow towards the wrong class less flow towards the true one, in bits; above 0 the "
    "layer says more of the wrong class",
    "flow": "how much a layer's maps share, position by position, with the evidence for one class",
    "transplant": "a control: the same attack's change made for another input, at the same size",
    "spectrum": "a control: the attack's own change with its phases shuffled",
    "d_z": "effect size: the mean change over its standard deviation across inputs; 0.2 is small, "
    "0.8 large",
    "put back": "given its benign values again, while all else stays attacked",
    "carriers": "the maps that must be put back for the true answer to return",
    "restoration curve": "whose true label returns, against how many maps are put back",
    "IIP": "input information profile: how much a layer's maps tell of the input, layer by layer",
    "OIP": "output information profile: how much they tell of the evidence for all classes; for "
    "16 drawn by lot, where a network has more than 64",
    "IOC": "input-output coupling: whether the maps that read the input also feed the output",
    "IPs": "information profiles: IIP, OIP and IOC, one number a layer each",
    "benign s.d.": "in units of how much unattacked inputs differ from one another",
    "JSMA": "the Jacobian-based saliency map attack, which changes few pixels by much",
    "AUC": "how well a number tells two groups apart: 0.5 not at all, 1 perfectly",
}
"""What readers outside the field cannot know."""

_AFTER: Final = r"(?![\w@/-]|[.:]\w)"
_TERM: Final = "|".join(
    rf"(?<![\w.:@/-]){re.escape(t)}{_AFTER}" for t in sorted(TERMS, key=len)[::-1]
)


def _pattern(places: Mapping[str, str]) -> re.Pattern[str]:
    taps = "|".join(re.escape(tap) for tap in sorted(places, key=len)[::-1])
    # A place that the sentence tells itself is not told twice.
    told = r"(?! \(|, (?:at|an?|half|two|three) )"
    own = rf"|(?P<tap>(?<![\w./-])(?:{taps})){_AFTER}{told}" if taps else ""
    return re.compile(f"(?P<term>{_TERM}){own}")


def glossed(value: object, places: Mapping[str, str] | None = None) -> Markup:
    """Words as they are printed; the first mention of a term explains itself on hover.

    Args:
        value: a sentence.
        places: where each layer lies, in words; told at its first mention.
    """
    text, seen, at = prose(str(value)), set[str](), 0
    found: list[str] = []
    for match in _pattern(places or {}).finditer(text):
        word = match[0]
        found.append(str(escape(text[at : match.start()])))
        at, first = match.end(), word not in seen
        seen.add(word)
        if match["term"]:
            shown = "<i>d</i><sub>z</sub>" if word == "d_z" else str(escape(word))
            why = escape(TERMS[word])
            found.append(f'<abbr title="{why}">{shown}</abbr>' if first else shown)
        else:
            place = f' <span class="unit">({escape((places or {})[word])})</span>' if first else ""
            found.append(f"{escape(word)}{place}")
    return Markup("".join([*found, str(escape(text[at:]))]))
