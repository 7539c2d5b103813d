"""Names and numbers as people read them: one mapping for figures, reports, pages and notebooks."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["ATTACK_NAMES", "attack_name", "prose"]

ATTACK_NAMES: Final = {
    "fgsm": "FGSM",
    "igsm": "IGSM",
    "pgd": "PGD",
    "deepfool": "DeepFool",
    "cw": "C&W",
    "jsma": "JSMA",
    "jsma(adaptive)": "JSMA, adaptive",
    "jsma(softmax)": "JSMA, softmax",
    "jsma(gradient)": "JSMA, gradient",
    "ensemble": "ensemble",
}
"""What each attack is called where it is written about."""


def attack_name(attack: str) -> str:
    """An attack as a legend or a table names it; ``noise:igsm`` is ``noise, IGSM norm``."""
    kind, _, of = attack.partition(":")
    if kind == "noise" and of:
        return f"noise, {attack_name(of)} norm"
    return ATTACK_NAMES.get(attack, attack)


def _mention(key: str) -> str:
    """An attack in the middle of a sentence, where a comma would end a clause."""
    return re.sub(r", (\w+)$", r" (\1)", attack_name(key))


_KEYS: Final = "|".join(re.escape(k) for k in sorted(ATTACK_NAMES, key=len, reverse=True))
_ATTACK: Final = re.compile(rf"(?<![\w./:@-])(noise:)?({_KEYS})(?![\w/@(-]|[.:]\S)")
_MINUS: Final = re.compile(r"(?<![\w.)\]-])-(?=\.?\d)")
_TIED: Final = re.compile(r"(?<=\d) (?=%)|(?<=\bn) (?== \d)|(?<=\bn =) (?=\d)")
_PARTED: Final = re.compile(r"(?<=\bn\N{NO-BREAK SPACE}=) (?=\d)")


def prose(sentence: str) -> str:
    """A sentence with attacks by their names, true minus signs, and numbers kept together.

    ``"jsma by -1.4 d_z (n = 6)"`` reads ``"JSMA by −1.4 d_z (n = 6)"``. Names of models, taps and
    files stay as they are; a second time changes nothing.
    """
    named = _ATTACK.sub(
        lambda m: f"noise ({attack_name(m[2]).replace(',', '')} norm)" if m[1] else _mention(m[2]),
        sentence,
    )
    tied = _TIED.sub("\N{NO-BREAK SPACE}", _MINUS.sub("\N{MINUS SIGN}", named))
    return _PARTED.sub("\N{NO-BREAK SPACE}", tied)
