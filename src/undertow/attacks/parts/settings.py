"""Settings of attacks: their ranges stand beside their defaults and are checked on construction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, field, fields, is_dataclass
from typing import Any, Final, Literal, TypeAlias, cast, get_args, get_origin, get_type_hints

from torch import Tensor

from undertow.errors import BadInput, suggestion
from undertow.prose import told_number
from undertow.types import Attack

__all__ = ["check", "choice", "count", "flag", "make", "number", "settings_of"]

Real: TypeAlias = float | int


def number(default: float | None, low: Real, high: Real = math.inf, *, above: bool = False) -> Any:
    """A real setting in [low, high] or, with ``above``, (low, high]; or ``None`` if so hinted."""
    return field(default=default, metadata={"range": (low, high, above)})


def count(default: int | None, low: int = 1) -> Any:
    """A whole number of at least ``low``; or ``None`` if so hinted."""
    return field(default=default, metadata={"range": (low, math.inf, False), "whole": True})


def choice(default: str, words: Any) -> Any:
    """One of the words of a ``Literal``."""
    return field(default=default, metadata={"words": get_args(words)})


def flag(default: bool) -> Any:
    """True or false."""
    return field(default=default, metadata={"words": (True, False)})


def check(attack: Any) -> None:
    """Check settings declared by the functions above, as a ``Literal`` or as ``bool``.

    Whole numbers given for reals become reals.

    Raises:
        BadInput: names the setting, what was given and what is allowed.
    """
    hints = get_type_hints(type(attack))
    for f in fields(attack):
        given = getattr(attack, f.name)
        if "range" in f.metadata:
            if given is not None or type(None) not in get_args(hints[f.name]):
                whole = f.metadata.get("whole", False)
                _check_number(attack, f.name, given, f.metadata["range"], whole=whole)
            continue
        words = f.metadata.get("words") or _words(hints[f.name])
        if words and not any(type(given) is type(w) and given == w for w in words):
            allowed = ", ".join(map(str, words))
            raise BadInput(f"{attack.name}: {f.name} is '{given}' (allowed: {allowed})")


def _words(hint: Any) -> tuple[Any, ...]:
    """The words of a ``Literal`` or of ``bool``; none of anything else."""
    return (True, False) if hint is bool else get_args(hint) if get_origin(hint) is Literal else ()


def _check_number(
    attack: Any, name: str, given: Any, limits: tuple[Real, Real, bool], *, whole: bool
) -> None:
    low, high, above = limits
    right = isinstance(given, int if whole else (int, float)) and not isinstance(given, bool)
    inside = right and (given > low if above else given >= low) and given <= high
    if not inside or not math.isfinite(given):
        kind = "a whole number" if whole else "a number"
        least = f"above {low:g}" if above else f"at least {low:g}"
        most = "" if high == math.inf else f" and at most {high:g}"
        raise BadInput(f"{attack.name}: {name} is {given!r}; it must be {kind} {least}{most}")
    if not whole:
        object.__setattr__(attack, name, float(given))


def make(name: str, /, **settings: Any) -> Attack:
    """An attack by name.

    Args:
        name: a name from the registry ``ATTACKS``.
        settings: its settings; ``ensemble`` takes its inner attack as ``{"name": ..., ...}`` too.

    Raises:
        UnknownName: for a name that no attack has.
        BadInput: for a setting that the attack does not have, or a value out of its range.
    """
    from undertow.attacks import ATTACKS

    kind = ATTACKS[name]
    hints = get_type_hints(kind)
    known = [f for f in fields(cast(Any, kind)) if f.init]
    unknown = sorted(set(settings) - {f.name for f in known})
    if unknown:
        names = [f.name for f in known]
        allowed = ", ".join(names) or "none"
        hint = suggestion(unknown[0], names)
        raise BadInput(f"{name} has no setting '{unknown[0]}'{hint} (allowed: {allowed})")
    missing = [
        f.name
        for f in known
        if f.default is MISSING and f.default_factory is MISSING and f.name not in settings
    ]
    if missing:
        raise BadInput(f"{name} needs the setting '{missing[0]}'")
    settings = {key: _fitting(value, hints[key]) for key, value in settings.items()}
    inner = settings.get("attack")
    if isinstance(inner, Mapping):
        if "name" not in inner:
            raise BadInput(f"{name}: attack needs a name (allowed: {', '.join(ATTACKS)})")
        told = {str(key): value for key, value in inner.items() if key != "name"}
        settings = {**settings, "attack": make(inner["name"], **told)}
    elif isinstance(inner, str):
        settings = {**settings, "attack": make(inner)}
    return kind(**settings)


_TRUTH: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def _fitting(value: Any, hint: Any) -> Any:
    """Files know no difference between 1 and 1.0, lists and tuples; words may tell numbers."""
    kinds = (hint, *get_args(hint))
    if isinstance(value, str):
        value = _from_words(value, kinds)
    if type(value) is int and int not in kinds:
        return float(value)
    return tuple(_fitting(v, float) for v in value) if isinstance(value, list) else value


def _from_words(text: str, kinds: tuple[Any, ...]) -> Any:
    """A word as the setting's kind has it: a truth, nothing, a number or several."""
    plain = text.strip().lower()
    if plain in _TRUTH and (bool in kinds or True in kinds):
        return _TRUTH[plain]
    if plain in ("none", "null") and type(None) in kinds:
        return None
    number = told_number(text)
    if number is not None and {int, float} & {k for k in kinds if isinstance(k, type)}:
        return number
    parts = [told_number(part) for part in text.split(",")]
    return parts if len(parts) > 1 and None not in parts else text


def settings_of(attack: Any) -> dict[str, Any]:
    """The settings of an attack as numbers and words; an inner attack becomes a mapping."""
    kept = (f for f in fields(attack) if f.init and f.metadata.get("stored", True))
    return {f.name: _plain(getattr(attack, f.name)) for f in kept}


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if is_dataclass(value) and hasattr(value, "name"):
        return {"name": value.name, **settings_of(value)}
    return value
