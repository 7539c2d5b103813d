"""Names and numbers as people read and write them: one mapping for figures, reports and pages."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from undertow.axes import CONTROLS, split_control
from undertow.registry import registry

__all__ = ["attack_name", "prose", "told_number"]


def attack_name(attack: str) -> str:
    """An attack as a legend or a table names it; ``noise:igsm`` is ``noise, IGSM norm``."""
    kind, of = split_control(attack)
    if kind:
        return f"{kind}, {_controlled(kind, of)}"
    look = registry("attack").look(attack)
    return (look and look.label) or attack


def _controlled(kind: str, of: str) -> str:
    """What a control has of its attack: noise the norm alone."""
    return f"{attack_name(of)} norm" if kind == "noise" else attack_name(of)


def _mention(key: str) -> str:
    """An attack in the middle of a sentence, where a comma would end a clause."""
    return re.sub(r", (\w+)$", r" (\1)", attack_name(key))


_MINUS: Final = re.compile(r"(?<![\w.)\]-])-(?=\.?\d)")
_TIED: Final = re.compile(r"(?<=\d) (?=%)|(?<=\bn) (?== \d)|(?<=\bn =) (?=\d)")
_PARTED: Final = re.compile(r"(?<=\bn\N{NO-BREAK SPACE}=) (?=\d)")


def _attacks() -> re.Pattern[str]:
    return _pattern(registry("attack").names())


@lru_cache(maxsize=4)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    keys = "|".join(re.escape(k) for k in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![\w./:@-])(?:({'|'.join(CONTROLS)}):)?({keys})(?![\w/@(-]|[.:]\S)")


def prose(sentence: str) -> str:
    """A sentence with attacks by their names, true minus signs, and numbers kept together.

    ``"jsma by -1.4 d_z (n = 6)"`` reads ``"JSMA by −1.4 d_z (n = 6)"``. Names of models, taps and
    files stay as they are; a second time changes nothing.
    """
    named = _attacks().sub(
        lambda m: (
            f"{m[1]} ({_controlled(m[1], m[2]).replace(',', '')})" if m[1] else _mention(m[2])
        ),
        sentence,
    )
    tied = _TIED.sub("\N{NO-BREAK SPACE}", _MINUS.sub("\N{MINUS SIGN}", named))
    return _PARTED.sub("\N{NO-BREAK SPACE}", tied)


def told_number(text: str) -> int | float | None:
    """``8/255``, ``1e-1`` and ``7`` as numbers; ``None`` for what is none."""
    above, slash, below = text.partition("/")
    try:
        if not slash:
            return int(text) if re.fullmatch(r"\s*[+-]?\d+\s*", text) else float(text)
        return float(above) / float(below)
    except (ValueError, ZeroDivisionError):
        return None
