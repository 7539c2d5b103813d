"""The libraries whose attacks can be listened to, and which one an attack comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from torch import Tensor

from undertow.errors import BadInput
from undertow.registry import Registry

__all__ = ["LIBRARIES", "library_of", "runner_of"]

LIBRARIES: Final[Registry[Callable[..., Tensor]]] = Registry("attack library")
"""Import name of a library -> ``run(attack, model, x, goal, **options) -> end``."""
LIBRARIES.add("foolbox", "undertow.attacks.adapters.foolbox:run", "Foolbox 3")
LIBRARIES.add("art", "undertow.attacks.adapters.art:run", "Adversarial Robustness Toolbox")
LIBRARIES.add("torchattacks", "undertow.attacks.adapters.torchattacks:run", "Torchattacks 3")
LIBRARIES.add("adv_lib", "undertow.attacks.adapters.adv_lib:run", "adv-lib")


def library_of(attack: Any) -> str | None:
    """Which library an attack comes from, or ``None``.

    A subclass counts as its library's own, and so does a partial application of a function.
    """
    inner = getattr(attack, "func", attack)  # functools.partial
    modules = [inner.__module__] if hasattr(inner, "__name__") else []
    modules += [kind.__module__ for kind in type(inner).__mro__]
    return next((top for m in modules if (top := m.partition(".")[0]) in LIBRARIES), None)


def runner_of(attack: Any) -> tuple[str, Callable[..., Tensor]]:
    """The library's name and how to run its attacks.

    Raises:
        BadInput: for an object of no library known here.
    """
    name = library_of(attack)
    if name is None:
        raise BadInput(
            f"the attack is {attack!r}, of no known library (allowed: {', '.join(LIBRARIES)})"
        )
    return name, LIBRARIES[name]
