"""What an attack must be, checked before it runs: members that are declared, of the right kind."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any, Final, get_args

from undertow.errors import BadInput
from undertow.types import Attack, Norm

__all__ = ["check_attack", "check_kind"]

MEMBERS: Final = tuple(n for n in dir(Attack) if not n.startswith("_"))
"""All that the driver may ask of an attack."""


def check_kind(kind: Any) -> None:
    """Refuse a class that is no attack, or has a member that looks like a misspelt one.

    Raises:
        BadInput: says what is wrong, and what is allowed.
    """
    name = getattr(kind, "__name__", repr(kind))
    if not isinstance(kind, type) or not issubclass(kind, Attack):
        raise BadInput(f"{name} is no attack; derive a class from undertow.types.Attack")
    if missing := sorted(getattr(kind, "__abstractmethods__", ())):
        raise BadInput(f"attack {name} has no {missing[0]}; every attack needs one")
    if not is_dataclass(kind):
        raise BadInput(f"attack {name} is no dataclass; its settings are the fields of one")
    if not isinstance(kind.name, str) or not kind.name:
        raise BadInput(f"attack {name} has no name; give it one: name: ClassVar[str] = 'mine'")
    known = {*MEMBERS, *(f.name for f in fields(kind))}
    for member in dir(kind):
        if member.startswith("_") or member in known:
            continue
        if meant := get_close_matches(member, MEMBERS, n=1, cutoff=0.75):
            raise BadInput(
                f"attack {name} has a member '{member}', which nothing asks for; did you mean "
                f"'{meant[0]}'? (asked for: {', '.join(MEMBERS)})"
            )


def check_attack(attack: Any) -> None:
    """Refuse an object that is no attack, or whose members are of another kind than declared.

    Raises:
        BadInput: says which, what it is and what is allowed.
    """
    if not isinstance(attack, Attack):
        raise BadInput(
            f"the attack is {attack!r}; give an object such as undertow.attacks.IGSM() "
            "(attacks of other libraries: undertow.attacks.listen)"
        )
    check_kind(type(attack))
    rules = ("untargeted", "easiest", "least_likely", "second")
    settings = [f.name for f in fields(attack)]  # type: ignore[arg-type]
    allowed: dict[str, tuple[Any, ...]] = {
        "norm": get_args(Norm),
        "stops_at_success": (True, False),
        "spends": (True, False),
        "default_target": rules,
        "strength": (None, *settings),
        "combine": ("loss", "logits", "probability"),
    }
    for member, words in allowed.items():
        given = getattr(attack, member)
        if not any(type(given) is type(word) and given == word for word in words):
            raise BadInput(
                f"attack {attack.name}: {member} is {given!r} "
                f"(allowed: {', '.join(map(str, words))})"
            )
    if not isinstance(attack.confidence, int | float):
        raise BadInput(f"attack {attack.name}: confidence is {attack.confidence!r}, not a number")
