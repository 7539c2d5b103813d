"""The names in a study, looked up before anything runs; files that they name are loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from pydantic import ValidationError

from undertow.attacks import make
from undertow.errors import BadInput
from undertow.loading import is_source, there
from undertow.registry import Entry, load_plugins, registry
from undertow.studies.asked.spec import StudySpec

__all__ = ["code_named", "plugins_told", "settled"]


def settled(
    spec: StudySpec, *, data_given: bool = False, models_given: Collection[str] = ()
) -> StudySpec:
    """A spec whose every name is in its registry.

    ``data_given``: the data are an object, whatever their name; ``models_given``: and so are these
    models. What ``plugins`` lists is loaded.
    Where ``path/to/mine.py:Class`` stands, the registered name stands afterwards, and the file
    among the plugins, as ``{kind: source}``.

    Raises:
        UnknownName: with the nearest and all allowed names.
        BadInput: for a plugin that cannot be used, settings that an attack does not take, or a
            question that this study cannot answer.
    """
    load_plugins(spec.plugins)
    found = _again(_Settling(spec, data_given, models_given).plain())
    for attack in found.attacks:
        make(attack.name, **attack.settings)
    for question in found.questions:
        registry("question")[question].cells(found)
    return found


class _Settling:
    """A spec as plain data, file names on the way to names."""

    def __init__(self, spec: StudySpec, data_given: bool, models_given: Collection[str]) -> None:
        self.spec, self.data_given, self.models_given = spec, data_given, models_given
        self.plugins: list[str | dict[str, str]] = list(spec.plugins)

    def plain(self) -> dict[str, Any]:
        spec, plain = self.spec, self.spec.plain()
        for one in plain["attacks"]:
            one["name"] = self.attack(one["name"])
            if "attack" in one["settings"]:
                one["settings"]["attack"] = self.attack(one["settings"]["attack"])
        followed = spec.exemplar_attack
        if followed is not None and followed not in {a.label for a in spec.attacks}:
            plain["exemplar_attack"] = self.named("attack", followed)
        plain["estimator"] = self.named("estimator", spec.estimator)
        plain["cross_check"] = spec.cross_check and self.named("estimator", spec.cross_check)
        plain["null"] = self.named("null", spec.null)
        if not isinstance(spec.carriers, bool):
            plain["carriers"] = [self.named("ranking", ranking) for ranking in spec.carriers]
        plain["questions"] = [self.named("question", q) for q in spec.questions]
        if not (self.data_given or there(spec.data.name)):
            plain["data"]["name"] = self.named("data set", spec.data.name)
        for model in (m for m in spec.models if m not in self.models_given):
            if ":" not in model.removeprefix("zoo:") and not model.endswith(".py"):
                self.named("model", model.removeprefix("zoo:"))
        return plain | {"plugins": self.plugins}

    def named(self, kind: str, given: str) -> str:
        """The registered name; where a file was named, the file is among the plugins."""
        entries = registry(kind)
        if not is_source(given) or given in entries:
            return entries.entry(given).name
        if {kind: given} not in self.plugins:
            self.plugins.append({kind: given})
        return entries.named(given)

    def attack(self, given: Any) -> Any:
        """An attack by name, or as a mapping with settings; an inner one alike."""
        if isinstance(given, str):
            return self.named("attack", given)
        if not isinstance(given, Mapping) or "name" not in given:
            return given
        plain = {**given, "name": self.named("attack", given["name"])}
        return {**plain, "attack": self.attack(given["attack"])} if "attack" in given else plain


def code_named(told: Any) -> tuple[str, ...]:
    """What a study names that runs code: ``path/to/file.py:thing``, a module, a plugin's file."""
    if isinstance(told, StudySpec):
        plain = told.plain()
        places = [plain[key] for key in _MAY_NAME_CODE]
        places.append([attack["name"] for attack in plain["attacks"]])
        places.append([attack["settings"].get("attack") for attack in plain["attacks"]])
        places.append(plain["data"]["name"])
        return tuple(dict.fromkeys(name for place in places for name in code_named(place)))
    if isinstance(told, Mapping):
        told = list(told.values())
    if isinstance(told, list):
        return tuple(name for one in told for name in code_named(one))
    ours = isinstance(told, str) and not told.startswith(("zoo:", "hf:", "timm:"))
    return (str(told),) if ours and (is_source(told) or str(told).endswith(".py")) else ()


_MAY_NAME_CODE: Final = (
    "plugins", "models", "estimator", "cross_check", "null", "questions", "exemplar_attack",
    "carriers",
)  # fmt: skip


def _again(plain: Mapping[str, Any]) -> StudySpec:
    try:
        return StudySpec(**plain)
    except ValidationError as problem:  # two attacks may have one name only now
        raise BadInput(str(problem.errors()[0]["msg"]).removeprefix("Value error, ")) from None


def plugins_told(spec: StudySpec) -> list[dict[str, str]]:
    """What a run keeps of the plugins it was made with, so that it can be read without them."""
    used = [("attack", a.name) for a in spec.attacks]
    used += [("estimator", e) for e in (spec.estimator, spec.cross_check) if e]
    used += [("ranking", ranking) for ranking in spec.rankings]
    used += [("null", spec.null), *(("question", q) for q in spec.questions)]
    entries: dict[tuple[str, str], Entry] = {
        (kind, name): registry(kind).entry(name) for kind, name in used
    }
    return [
        {
            "kind": kind, "name": name, "summary": entry.summary[:200], "label": entry.look.label,
            "color": entry.look.color, "marker": entry.look.marker,
            "source": entry.source or str(entry.target)[:200],
        }
        for (kind, name), entry in entries.items()
        if not entry.shipped
    ]  # fmt: skip
