"""Classes of one's own images brought to those of a model: by name, by number, at last by order."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from torch import nn

from undertow.data import UNLABELLED, ImageSet
from undertow.errors import BadInput, shown
from undertow.loading import home, is_file, there
from undertow.models import check_output, class_names
from undertow.models.asking import ask

__all__ = ["matched", "names_in"]

LARGEST: Final = 2**20
"""Bytes of a file of class names that are read."""


def names_in(file: str | Path) -> tuple[str, ...]:
    """Names of classes, one a line, in the order of the model's logits.

    Raises:
        BadInput: if it is no such file.
    """
    path = home(file)
    if there(file) and not is_file(file):  # a pipe would be waited for
        raise BadInput(f"cannot read the classes '{shown(str(file), 200)}': it is no plain file")
    try:
        text = path.read_bytes()[: LARGEST + 1]
        names = tuple(line.strip() for line in text.decode("utf-8").splitlines() if line.strip())
    except OSError as problem:
        told = f"cannot read the classes '{shown(str(file), 200)}': {problem.strerror}"
        raise BadInput(told) from None
    except UnicodeDecodeError:
        raise BadInput(f"the classes '{file}' are no UTF-8 text file") from None
    if len(text) > LARGEST or len(set(names)) < max(2, len(names)):
        raise BadInput(f"the classes '{file}': give one name a line, each once, two or more")
    return names


def matched(
    data: ImageSet,
    name: str,
    model: nn.Module,
    told: Sequence[str] = (),
    device: str = "cpu",
) -> ImageSet:
    """Images whose labels are numbers of the model's logits.

    The model's classes are those of its card or its configuration, or what a file tells. Classes
    of the images are found among them by their names (of ``tench, Tinca tinca`` each is one),
    else taken as numbers where all are whole ones. Only then, and where there are as many, they go
    by their order, with a warning.

    Args:
        data: images, of as many classes as they happen to have.
        name: the model's.
        model: gives the logits.
        told: names of all its classes, where a file tells them.
        device: where the model is.

    Raises:
        BadInput: if the classes are none of the model's, or the file has another number of them.
    """
    if not data.classes and not told:
        return data
    x = data[:1][0].to(device)
    with torch.no_grad():
        try:
            count = check_output(ask(model, x), x).shape[1]
        except (RuntimeError, ValueError, TypeError):
            return data  # what does not fit is told where the model is tried on the images
    known = tuple(told) or class_names(name, model, count)
    if told and len(told) != count:
        raise BadInput(f"{len(told)} classes are told, and '{name}' has {count} logits")
    if data.classes in ((), known):
        return replace(data, classes=known)
    places = _by_name(data.classes, known) or _by_number(data.classes, count)
    named = known != tuple(map(str, range(count)))
    if places is None and len(data.classes) == count:
        if named:
            _warn_of_order(data, known)
        return data
    if places is None:
        few = ", ".join(data.classes[:3]) + (", …" if len(data.classes) > 3 else "")
        raise BadInput(
            f"the {len(data.classes)} classes of {data.name} ({few}) are none of the {count} of "
            f"'{name}'; name them by its classes ({', '.join(known[:3])}, …) or their numbers, or "
            "give a file of its class names (data.classes, --classes)"
        )
    to = torch.tensor([*places, UNLABELLED])  # -1 stays what it is
    return replace(data, labels=to[data.labels], classes=known)


def _by_name(own: Sequence[str], known: Sequence[str]) -> list[int] | None:
    """The place of each class among the known ones; ``None`` unless all are there, each once."""
    at: dict[str, set[int]] = {}
    for place, name in enumerate(known):
        for part in (name, *name.split(",")):
            at.setdefault(_plain(part), set()).add(place)
    found = [at.get(_plain(name), set()) for name in own]
    if any(len(places) != 1 for places in found):
        return None
    places = [next(iter(one)) for one in found]
    return places if len(set(places)) == len(places) else None


def _plain(name: str) -> str:
    return name.strip().casefold().replace("_", " ").replace("-", " ")


def _by_number(own: Sequence[str], count: int) -> list[int] | None:
    if not all(name.isdecimal() and int(name) < count for name in own):
        return None
    return [int(name) for name in own]


def _warn_of_order(data: ImageSet, known: Sequence[str]) -> None:
    warnings.warn(
        f"classes of {data.name} are taken in their order: '{data.classes[0]}' for the model's "
        f"'{known[0]}', '{data.classes[-1]}' for '{known[-1]}'; if that is wrong, name the folders "
        "by the model's classes",
        stacklevel=3,
    )
