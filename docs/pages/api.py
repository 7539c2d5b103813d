"""The reference of public names: a page a room, made from what the rooms name as theirs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from importlib import import_module
from inspect import getdoc
from typing import Any

import undertow
from undertow.registry import Registry

ROOMS = {
    "undertow": ("undertow", "What most need: `import undertow as ut`."),
    "attacks": ("undertow.attacks", "Attacks, their controls, and what is made of them."),
    "types": ("undertow.types", "The records and protocols that rooms hand to each other."),
    "models": ("undertow.models", "Networks, their cards, and what stands around them."),
    "defences": ("undertow.models.defences", "Defences by name."),
    "data": ("undertow.data", "Images with labels, verified and cached."),
    "taps": ("undertow.taps", "Where a network is read."),
    "information": ("undertow.information", "Estimators and nulls, by name."),
    "estimators": ("undertow.information.estimators", "Mutual information, in bits."),
    "losses": ("undertow.losses", "What attacks descend."),
    "carriers": ("undertow.measuring.carriers", "Which maps carry an attack."),
    "studies": ("undertow.studies.asked.spec", "A study, as data."),
    "store": ("undertow.store", "A run on disk; needs no torch."),
    "figures": ("undertow.figures", "Data, then ink; needs no torch."),
    "report": ("undertow.report", "A run as one page."),
    "viewer": ("undertow.viewer", "A run in the browser."),
    "registry": ("undertow.registry", "Named things, open to yours."),
    "errors": ("undertow.errors", "What goes wrong, in one or two lines."),
    "axes": ("undertow.axes", "The words for axes, units and conditions."),
    "testing": ("undertow.testing", "Contract suites for what you register."),
}
"""Pages: their room and what is in it."""


def _names(room: str) -> list[str]:
    found = import_module(room)
    names = getattr(found, "__all__", None)
    if names is None:
        names = [n for n, v in vars(found).items() if not n.startswith("_") and _of(v, room)]
    return [name for name in names if not name.startswith("__")]


def _of(value: Any, room: str) -> bool:
    return getattr(value, "__module__", room) == room and not inspect.ismodule(value)


def _entries(room: str) -> Iterator[tuple[str, Any]]:
    found = import_module(room)
    for name in _names(room):
        value = getattr(found, name)
        if not inspect.ismodule(value) and (room == "undertow" or not _above(value)):
            yield name, value


def _above(value: Any) -> bool:
    """Whether it is told of on the first page."""
    return (inspect.isclass(value) or inspect.isroutine(value)) and any(
        value is getattr(undertow, name) for name in undertow.__all__
    )


def page(title: str) -> str:
    """One room: its public names with their docstrings."""
    room, words = ROOMS[title]
    lines = [f"# `{room}`", "", words, "", "```{eval-rst}", f".. py:currentmodule:: {room}", ""]
    for name, value in _entries(room):
        lines += [*_directive(room, name, value), ""]
    return "\n".join([*lines, "```"])


def _directive(room: str, name: str, value: Any) -> list[str]:
    if inspect.isclass(value):
        return [f".. autoclass:: {room}.{name}", "   :members:"]
    if inspect.isroutine(value) or hasattr(value, "__wrapped__"):
        return [f".. autofunction:: {room}.{name}"]
    return [f".. py:data:: {room}.{name}", "", f"   {_words(value)}"]


def _words(value: Any) -> str:
    """What a name that is neither a class nor a function stands for, in a line."""
    if isinstance(value, Registry):
        return f"Every {value.kind} by name; a :class:`~undertow.registry.Registry`."
    if isinstance(value, str | int | float | tuple):
        return f"``{value!r}``"
    if isinstance(value, Mapping):
        return f"A mapping of {', '.join(f'``{key}``' for key in value)}."
    told = str(value).replace("typing.", "").replace("jaxtyping.", "")
    return f"``{told}``"


def index() -> str:
    """The list of rooms."""
    lines = [
        "# Public names",
        "",
        'Shapes are jaxtyping annotations, `Float[Tensor, "sample channel row col"]`; information '
        "is in bits; errors that a call may raise stand beneath it.",
        "",
        "```{toctree}",
        ":maxdepth: 1",
        "",
        *ROOMS,
        "```",
    ]
    return "\n".join(lines)


def undocumented() -> list[str]:
    """Public names that say nothing of themselves."""
    faults = []
    for title, (room, _) in ROOMS.items():
        for name, value in _entries(room):
            if (inspect.isclass(value) or inspect.isroutine(value)) and not getdoc(value):
                faults.append(f"reference/api/{title}.md: '{room}.{name}' has no docstring")
    return faults
