"""The figures there are; a figure is one file and one line here."""

from __future__ import annotations

from typing import Final

from undertow.figures.data import Figure
from undertow.registry import Registry

__all__ = ["FIGURES"]

FIGURES: Final[Registry[Figure]] = Registry("figure", members=("choices", "from_run"))
_LINES: Final = {
    "drift": "from which layer the flow goes to the wrong class, attack by attack, beside controls",
    "leaning": "one input's drift over depth, before and after, among inputs read rightly",
    "turning": "where and when one input's flow turned: drift over steps and depth",
    "restoration": "which maps carried an attack: whose label returns when they are put back",
    "carrying": "one input's carriers over depth, and how few maps return its label",
    "trajectory": "Figure 1: IPs of every iterate over depth, and how far they are from benign",
    "aggregate": "Figure 2: IPs of benign inputs and of each attack over depth, with bands",
    "solid_dashed": "Figures 3 and 4: inputs aimed at the inferring model and at others",
    "change": "each profile's paired difference from benign, with the controls behind it",
    "plane": "the input-output curve: IIP against OIP from tap to tap",
    "streams": "bits about each class over depth, and the takeover",
    "takeover": "where the adversarial class takes over, for each attack",
    "transfer": "how often inputs made on one model fool another",
    "perturbation": "benign input, adversarial input and what was changed",
    "evidence": "what was changed, and where in the picture the evidence for two classes lies",
    "matrices": "source and target MI of one input at one tap: raw, null and net",
}
for _name, _summary in _LINES.items():
    FIGURES.add(_name, f"undertow.figures.{_name}:FIGURE", _summary)
