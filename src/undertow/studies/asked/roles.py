"""Which models of a study have a defence, and which attacks are made for it."""

from __future__ import annotations

from dataclasses import dataclass

from undertow.models.defences import DEFENCES, Defence, defence_name
from undertow.studies.asked.spec import AttackSpec, StudySpec

__all__ = ["Pairing", "adapted", "defence_of", "defended_models", "pairings"]


@dataclass(frozen=True, slots=True)
class Pairing:
    """A defended model, an attack that is not adapted to its defence, and one that is."""

    model: str
    regular: AttackSpec
    adaptive: AttackSpec


def defence_of(spec: StudySpec, model: str) -> Defence | None:
    """The defence of a model: as the study says, else as the zoo knows.

    Raises:
        UnknownName: if the study names a defence that there is not.
    """
    name = spec.defences.get(model) or defence_name(model)
    return None if name is None else DEFENCES[name]


def defended_models(spec: StudySpec) -> tuple[str, ...]:
    """The models with a defence that is known, or with an attack adapted to them."""
    return tuple(
        model
        for model in spec.models
        if defence_of(spec, model) or any(adapted(spec, a, model) for a in spec.attacks_on(model))
    )


def adapted(spec: StudySpec, attack: AttackSpec, model: str) -> bool:
    """Whether an attack on a model is made for its defence."""
    if attack.role is not None:
        return attack.role == "adaptive"
    if attack.unaware:
        return False
    defence = defence_of(spec, model)
    return bool(attack.settings.get("adaptive")) or (defence is not None and defence.detects)


def pairings(spec: StudySpec, model: str) -> tuple[Pairing, ...]:
    """Every adaptive attack on a model with the regular ones of its name, or else the first one."""
    there = spec.attacks_on(model)
    regular = [a for a in there if not adapted(spec, a, model)]
    found = []
    for adaptive in (a for a in there if adapted(spec, a, model)):
        same = [a for a in regular if a.name == adaptive.name]
        found += [Pairing(model, a, adaptive) for a in same or regular[:1]]
    return tuple(found)
