"""What a study names, loaded: its inputs, its training data and its models."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, get_args

import torch
from torch import Tensor, nn

from undertow.attacks.driver.inputs import Rule
from undertow.data import DATASETS, UNLABELLED, ImageSet, load_data
from undertow.data.folder import numbers_are_classes
from undertow.errors import BadInput, UnknownName
from undertow.models import MODELS, check_output, class_names, known_card, load_model
from undertow.models.asking import ask
from undertow.models.steady import announce
from undertow.progress import SILENT, Progress
from undertow.studies.asked.matching import matched, names_in
from undertow.studies.asked.spec import StudySpec

__all__ = [
    "answered", "check_fit", "class_number", "inputs_of", "models_of", "suited", "target_of",
    "training_of", "with_targets", "without_readers",
]  # fmt: skip

_SEEN: Final = 64
"""Inputs on which a model's accuracy is looked at before the work."""


def inputs_of(
    spec: StudySpec,
    data_dir: str | Path | None = None,
    progress: Progress = SILENT,
    given: ImageSet | None = None,
) -> ImageSet:
    """The inputs that a study draws from: its data, and those beside them.

    Args:
        spec: the study.
        data_dir: where a named set's files lie.
        progress: told about downloads and decoding.
        given: the data, where they are no file.

    Raises:
        UndertowError: if they are not here, do not fit together, or a label is no class.
    """
    asked = spec.data
    with numbers_are_classes():
        own = given or load_data(
            asked.name, asked.split, data_dir=data_dir, size=asked.size, progress=progress
        )
    if asked.beside is not None:
        own = own.before(load_data(asked.beside, asked.split, data_dir=data_dir, progress=progress))
    _check_enough(spec, own)
    return own


def _check_enough(spec: StudySpec, data: ImageSet) -> None:
    """Told before models are asked for, which may take minutes."""
    first, wanted, which = spec.data.first, spec.data.inputs, f"{data.name} ({data.split})"
    if first and max(first) >= len(data):
        raise BadInput(f"there is no input {max(first)} in {which}: 0 to {len(data) - 1}")
    if wanted > len(data):
        raise BadInput(f"{wanted} inputs were asked for, but {which} has {len(data)}")


def with_labels(data: ImageSet, spec: StudySpec) -> ImageSet:
    """The labels that the spec tells, in place of those that the data tell."""
    labels = data.labels.clone()
    for place, label in spec.data.labels.items():
        if not 0 <= place < len(data):
            raise BadInput(f"labels: there is no input {place} (0 to {len(data) - 1})")
        labels[place] = class_number(label, data.classes)
    return replace(data, labels=labels)


def class_number(told: int | str, classes: tuple[str, ...]) -> int:
    """A class by its number or name.

    Raises:
        UnknownName: with the nearest name.
    """
    text = str(told).strip()
    if text in classes:
        return classes.index(text)
    lower = [name.lower() for name in classes]
    if lower.count(text.lower()) == 1:
        return lower.index(text.lower())
    if text.isdecimal() and int(text) < len(classes):
        return int(text)
    raise UnknownName("class", told, _few(text, classes))


def _few(given: str, classes: tuple[str, ...]) -> list[str]:
    """Of very many classes the nearest."""
    from difflib import get_close_matches

    if len(classes) <= 24:
        return list(classes)
    near = get_close_matches(given, classes, n=5, cutoff=0.3)
    return [*near, f"or a number from 0 to {len(classes) - 1}"]


def training_of(
    spec: StudySpec, data: ImageSet, data_dir: str | Path | None, progress: Progress = SILENT
) -> ImageSet:
    """Benign inputs for references and readers: training data, or the inputs themselves."""
    if spec.data.references == "beside":
        return data
    name, size = spec.data.name, spec.data.size
    if spec.data.beside is not None:
        return load_data(spec.data.beside, "fit", data_dir=data_dir, progress=progress)
    with numbers_are_classes():
        if name not in DATASETS and not spec.readers:
            own = load_data(name, "train", data_dir=data_dir, size=size, progress=progress)
            if bool((own.labels == UNLABELLED).any()):
                return data
        return load_data(name, "fit", data_dir=data_dir, size=size, progress=progress)


def without_readers(spec: StudySpec, data: ImageSet) -> StudySpec:
    """A study of inputs that nobody labelled has no class readers; a warning says so."""
    own = spec.data.beside is None and bool((data.labels == UNLABELLED).all())
    if not (own and spec.readers):
        return spec
    warnings.warn(f"{data.name} has no labels: class information is left out", stacklevel=2)
    return spec.model_copy(update={"readers": 0})


def models_of(
    spec: StudySpec,
    device: str = "cpu",
    given: Mapping[str, nn.Module] | None = None,
    *,
    probe: bool = True,
) -> dict[str, nn.Module]:
    """The models of a study by name; those that are given need no loading.

    ``probe``: whether each is tried on an image, which warns of a missing normalisation.

    Raises:
        UndertowError: if one cannot be loaded, or mean and std have no model to go to.
    """
    given = given or {}
    foreign = [name for name in spec.models if name.removeprefix("zoo:") not in MODELS]
    if spec.mean is not None and not foreign:
        raise BadInput(
            f"'{spec.models[0]}' has its normalisation inside: mean and std cannot be given"
        )
    found = {}
    for name in spec.models:
        own = name in foreign
        found[name] = load_model(
            given.get(name, name), device=device, mean=spec.mean if own else None,
            std=spec.std if own else None, output=spec.output if own else None, probe=probe,
        )  # fmt: skip
    return found


def answered(
    data: ImageSet, spec: StudySpec, models: Mapping[str, nn.Module], device: str = "cpu"
) -> ImageSet:
    """Data with a class and a label for every input.

    Where nobody told the label it is the first model's answer: flow is then told from there.
    """
    name, model = next(iter(models.items()))
    if not data.classes:
        with torch.no_grad():
            count = check_output(model(data[:1][0].to(device)), data[:1][0]).shape[1]
        data = replace(data, classes=class_names(name, model, count))
    data = with_labels(data, spec)
    unknown = torch.nonzero(data.labels == UNLABELLED).flatten()
    if not len(unknown):
        return data
    labels = data.labels.clone()
    labels[unknown] = _answers(model, data, unknown, device)
    return replace(data, labels=labels)


def _answers(model: nn.Module, data: ImageSet, rows: Tensor, device: str) -> Tensor:
    with torch.no_grad():
        return torch.cat(
            [ask(model, data[part][0].to(device)).argmax(1).cpu() for part in torch.split(rows, 64)]
        )


def suited(
    data: ImageSet, spec: StudySpec, models: Mapping[str, nn.Module], device: str = "cpu"
) -> ImageSet:
    """Images of one's own as the first model takes them: three channels, its classes.

    Raises:
        BadInput: if their classes are none of the model's.
    """
    if data.name in DATASETS:
        return data
    name, model = next(iter(models.items()))
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if data.shape[0] == 1 and first is not None and first.in_channels == 3:
        data = data.coloured()
    told = () if spec.data.classes is None else names_in(spec.data.classes)
    return matched(data, name, model, told, device)


def check_fit(models: Mapping[str, nn.Module], data: ImageSet, device: str = "cpu") -> None:
    """A model must take the data's images and give one logit a class; and it should know them.

    Raises:
        BadInput: if it does not take them. Accuracy at the level of chance is announced.
    """
    for name, model in models.items():
        card = known_card(name)
        if card is not None and card.shape[0] != data.shape[0]:
            raise BadInput(
                f"model '{name}' does not fit {data.name}: it takes {card.shape[0]} channels, the "
                f"images have {data.shape[0]}"
            )
        x = data[:2][0].to(device)
        try:
            with torch.no_grad():
                check_output(model(x.clone()), x, len(data.classes) or None)
        except BadInput as problem:
            raise BadInput(f"model '{name}' does not fit {data.name}: {problem}") from None
        except (RuntimeError, ValueError, TypeError) as problem:
            reason = str(problem).strip().splitlines()[0][:160]
            shape = " x ".join(map(str, x.shape[1:]))
            raise BadInput(f"model '{name}' cannot take inputs of {shape}: {reason}") from None
        announce(model, x)
        _announce_chance(name, model, data, device)


def _announce_chance(name: str, model: nn.Module, data: ImageSet, device: str) -> None:
    """Say so where a model knows no more of the labels than chance."""
    known = torch.nonzero(data.labels != UNLABELLED).flatten()
    if len(known) < _SEEN or len(data.classes) < 2:
        return
    rows = known[:: len(known) // _SEEN][:_SEEN]
    right = float((_answers(model, data, rows, device) == data.labels[rows]).float().mean())
    chance = float(data.labels[rows].bincount().max()) / len(rows)
    if right <= chance + 2 * math.sqrt(chance * (1 - chance) / len(rows)):
        warnings.warn(
            f"model '{name}' gets {right:.0%} of {len(rows)} inputs of {data.name} right, where "
            f"one answer for all gets {chance:.0%}: do classes and normalisation (--mean, --std) "
            "fit?",
            stacklevel=2,
        )


def with_targets(spec: StudySpec, classes: tuple[str, ...]) -> StudySpec:
    """The spec with classes that attacks aim at as numbers.

    Raises:
        UnknownName: for a target that is neither a rule nor a class.
    """
    attacks = tuple(
        attack.model_copy(update={"target": target_of(attack.target, classes)})
        for attack in spec.attacks
    )
    return spec.model_copy(update={"attacks": attacks})


def target_of(told: int | str | None, classes: tuple[str, ...]) -> Any:
    """A target as ``craft`` takes it: a rule, a class's number, or ``None``.

    Raises:
        UnknownName: for what is neither a rule nor a class.
    """
    if told is None or told in get_args(Rule):
        return told
    try:
        return class_number(told, classes)
    except UnknownName as problem:
        raise UnknownName("target", told, [*get_args(Rule), *problem.allowed]) from None
