"""What a run was asked, as lines of a page."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from undertow.prose import attack_name
from undertow.report.words import say

__all__ = ["attack_lines", "flat", "pretty"]


def _told(value: Any) -> bool:
    return value is not None and value not in ({}, [], "")


def _line(value: Any) -> str:
    """A value in one line; a mapping with a name as ``name (key value, …)``."""
    if isinstance(value, Mapping):
        rest = {k: v for k, v in value.items() if k != "name" and _told(v)}
        words = ", ".join(f"{k} {_line(v)}" for k, v in rest.items())
        return (
            f"{value['name']} ({words})"
            if "name" in value and words
            else str(value.get("name", words))
        )
    if isinstance(value, list):
        return ", ".join(map(_line, value))
    return say(value) if isinstance(value, bool) else str(value)


def flat(value: Mapping[str, Any], key: str = "") -> list[tuple[str, str]]:
    """What a spec says as lines ``a.b: value``; what it leaves unsaid is left out."""
    lines: list[tuple[str, str]] = []
    for k, v in value.items():
        name = f"{key}.{k}" if key else str(k)
        if isinstance(v, Mapping):
            lines += flat(v, name)
        elif isinstance(v, list) and any(isinstance(item, Mapping) for item in v):
            lines += [(name if i == 0 else "", _line(item)) for i, item in enumerate(v)]
        elif _told(v):
            lines.append((name, _line(v)))
    return lines


def _list(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def attack_lines(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each attack by its name, with what it was aimed at and how; none where a spec tells none."""
    asked = spec.get("attacks")
    lines = []
    for attack in asked if isinstance(asked, list) else ():
        if not isinstance(attack, Mapping) or "name" not in attack:
            continue
        known = {
            "settings": _line(attack["settings"]) if _told(attack.get("settings")) else None,
            "target": attack.get("target"),
            "mean L2 matched to": attack.get("match_l2"),
            "success matched to": attack.get("match_success"),
            "aimed at": _list(attack["models"]) if attack.get("models") else None,
            "read by": _list(attack["read_by"]) if attack.get("read_by") else None,
            "controls": say(attack["control"]) if "control" in attack else None,
        }
        told = "; ".join(f"{k} {v}" for k, v in known.items() if v is not None)
        lines.append((attack_name(str(attack.get("label") or attack["name"])), told or "as it is"))
    return lines


def pretty(manifest: Mapping[str, Any]) -> str:
    """JSON with plain lists on one line."""
    text = json.dumps(dict(manifest), indent=2, ensure_ascii=False)

    def one_line(found: re.Match[str]) -> str:
        return "[" + re.sub(r"\n\s*", " ", found[1]) + "]"

    return re.sub(r"\[\n\s*([^\[\]{}]*?)\n\s*\]", one_line, text)
