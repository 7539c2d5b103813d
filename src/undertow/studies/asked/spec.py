"""A study, declared: what is attacked, how it is measured and what is asked.

A spec is plain data (pydantic), written as YAML, checked as a whole before anything runs. Unknown
keys and impossible values are refused with the line they stand on and what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from undertow.axes import CONTROLS, ControlName
from undertow.errors import BadInput, UnknownName, shown
from undertow.loading import is_file, there
from undertow.measuring.carriers import DEFAULT_RANKINGS
from undertow.prose import told_number
from undertow.registry import registry
from undertow.store.plain_yaml import read_yaml
from undertow.types import Precision

__all__ = ["AttackSpec", "DataSpec", "StudySpec", "example", "load_spec", "presets"]

Count = Annotated[int, Field(ge=1)]


def _number(told: Any) -> Any:
    """``16/255`` and ``1e-1`` are numbers, in whatever way YAML reads them."""
    number = told_number(told) if isinstance(told, str) else None
    return told if number is None else number


Told = BeforeValidator(_number)
Real = Annotated[float, Told]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AttackSpec(_Strict):
    """One attack of a study.

    Args:
        name: a name from the attack registry.
        settings: its settings, as its constructor takes them; ``8/255`` and ``1e-1`` are numbers.
        target: ``untargeted``, ``easiest`` (the wrong class that needs the least perturbation, of
            the 8 likeliest where there are more than 64),
            ``least_likely``, ``second``, or a class by its number or name; null for the attack's
            own rule, which is ``easiest`` where an attack needs a target. Inputs of that class
            are skipped.
        match_l2: find the strength at which the mean L2 distance of successful inputs is this.
        match_success: find the strength at which this share of inputs succeeds, on each model.
        control: whether to add controls of the same L2 norm, input by input: all three (true), none
            (false), or some of ``noise`` (random signs), ``spectrum`` (its own power spectrum,
            other phases) and ``transplant`` (the perturbation made for another input).
        models: those it is aimed at, one after the other (``ensemble``: all of them at once); all
            models of the study where none is named.
        read_by: models that read its inputs, too, whichever model these are aimed at.
        label: what cells and figures call it, where one attack stands twice.
        role: what it is to a defence, for Q3: ``regular`` (made without a thought of it) or
            ``adaptive`` (made for it). Null: adaptive where its settings say so or where it sees
            a defended network's detectors, else regular.
        unaware: of a defended network (MagNet, feature squeezing) attack what is behind the
            defence; the whole then judges what came of it.
    """

    name: str
    settings: dict[str, Any] = {}
    target: int | str | None = None
    match_l2: Annotated[float, Told, Field(gt=0)] | None = None
    match_success: Annotated[float, Told, Field(gt=0, lt=1)] | None = None
    control: bool | tuple[ControlName, ...] = True
    models: tuple[str, ...] = ()
    read_by: tuple[str, ...] = ()
    label: str | None = None
    role: Literal["regular", "adaptive"] | None = None
    unaware: bool = False

    @model_validator(mode="after")
    def _one_match(self) -> AttackSpec:
        if self.match_l2 is not None and self.match_success is not None:
            raise ValueError(f"attack '{self.id}': match_l2 or match_success, not both")
        return self

    @field_validator("control", mode="before")
    @classmethod
    def _known_controls(cls, given: Any) -> Any:
        listed = isinstance(given, list | tuple) and set(map(str, given)) <= set(CONTROLS)
        if not (isinstance(given, bool) or listed):
            allowed = f"true, false, or a list of some of {', '.join(CONTROLS)}"
            raise ValueError(f"{shown(given)} is no choice of controls (allowed: {allowed})")
        return given

    @property
    def id(self) -> str:
        """What cells call it."""
        return self.label or self.name

    @property
    def aim(self) -> Any:
        """The target as ``craft`` takes it, once its class is a number."""
        return self.target

    @property
    def controls(self) -> tuple[str, ...]:
        """Its controls, in the order of :data:`~undertow.axes.CONTROLS`."""
        if isinstance(self.control, bool):
            return CONTROLS if self.control else ()
        return tuple(kind for kind in CONTROLS if kind in self.control)

    @property
    def ensemble(self) -> bool:
        """Whether it is aimed at several models at once."""
        return "models" in registry("attack").needs(self.name)


class DataSpec(_Strict):
    """The inputs of a study.

    Args:
        name: a data set.
        split: which part of it.
        inputs: how many inputs a cell.
        select: ``correct``: those that every model of the study classifies correctly, as in the
            paper; ``all``: as they come.
        first: places in the split whose inputs come first, however they are classified.
        beside: a data set whose inputs stand beside those of ``name``, after them: a benign
            population to compare your own pictures with.
        labels: true classes of inputs by their places, where the data do not tell them.
        size: (row, col) that your own pictures are brought to.
        classes: a file with the name of each class of the models, a line each, in the order of
            their logits, where models of your own do not tell them.
        references: where the null's references come from: ``train``, or ``beside``: this split.
    """

    name: str = "cifar10"
    split: str = "test"
    inputs: Count = 100
    select: Literal["correct", "all"] = "correct"
    first: tuple[Annotated[int, Field(ge=0)], ...] = ()
    beside: str | None = None
    labels: dict[int, int | str] = {}
    size: tuple[Count, Count] | None = None
    classes: str | None = None
    references: Literal["train", "beside"] = "train"


class StudySpec(_Strict):
    """A whole study.

    Args:
        name: its name, shown in reports.
        plugins: files and modules that register attacks, estimators, nulls, rankings, questions
            of your own; wherever such a name stands, ``path/to/mine.py:Class`` may stand as well.
        models: model names, as ``load_model`` takes them.
        mean: subtracted from the inputs of models that do not normalise them, one a channel.
        std: divides them.
        output: which of several things that models of your own put out are their logits: a place,
            counted from 0, or a name.
        compressed: which of them is a compression of which other: ``{original: compressed}``.
        defences: which model has which defence (a name from the registry of defences), where it is
            not one of the zoo, which tell themselves.
        hardened: which of them is which other after adversarial training: ``{plain: robust}``.
        attacks: the attacks; each runs on each model, or on those that it names.
        data: the inputs.
        taps: names or globs of modules; empty for the automatic choice.
        estimator: a mutual information estimator.
        cross_check: a second estimator under which every verdict must hold too; null for none.
        null: how the null is made; a name from the registry of nulls.
        references: how many benign training inputs the mismatch null of an input averages over.
        reference_pool: of how many every input draws its own, the same ones in every condition.
        readers: how many training inputs the class readers are fitted on; 0 for none.
        exemplars: how many inputs get every iterate recorded and measured, for the attack named
            by ``exemplar_attack``.
        exemplar_attack: the attack whose iterates Q1 follows; the first one by default.
        explain: explain the inputs of ``data.first`` one by one, attacked or not.
        carriers: whether to rank the maps of every tap by what they carry of each attack, put them
            back and count whose label returns, by the usual rankings (true), some of them, or not.
        exemplar_models: the models on which it is followed; the first it is aimed at by default.
        iterates: how many iterates of an exemplar are recorded at most; null for all.
        follow_only: measure benign inputs and exemplars, but attack no others.
        matrices: for how many exemplars the S and T matrices are kept.
        precision: ``bf16``: gradients of attacks in half precision, every success verified in
            float32.
        questions: which questions to answer.
        shard: inputs a shard, the unit of work and of resuming.
        seed: the one seed from which every draw is derived.
    """

    name: str
    plugins: tuple[str | dict[str, str], ...] = ()
    models: Annotated[tuple[str, ...], Field(min_length=1)] = ("good_init",)
    mean: tuple[Real, ...] | None = None
    std: tuple[Real, ...] | None = None
    output: int | str | None = None
    compressed: dict[str, str] = {}
    defences: dict[str, str] = {}
    hardened: dict[str, str] = {}
    attacks: tuple[AttackSpec, ...]
    data: DataSpec = DataSpec()
    taps: tuple[str, ...] = ()
    estimator: str = "gaussian_copula"
    cross_check: str | None = "binned"
    null: str = "mismatch"
    references: Count = 8
    reference_pool: Count = 256
    readers: Annotated[int, Field(ge=0)] = 2000
    exemplars: Annotated[int, Field(ge=0)] = 12
    exemplar_attack: str | None = None
    exemplar_models: tuple[str, ...] = ()
    iterates: Annotated[int, Field(ge=3)] | None = None
    follow_only: bool = False
    explain: bool = False
    carriers: bool | tuple[str, ...] = False
    matrices: Annotated[int, Field(ge=0)] = 1
    precision: Precision = "float32"
    questions: tuple[str, ...] = ("q1", "q2")
    shard: Count = 50
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @field_validator("name")
    @classmethod
    def _one_folder(cls, given: str) -> str:
        """The run goes to ``runs/NAME``, and nowhere else."""
        fits = given.isprintable() and 0 < len(given) <= 100 and given == given.strip()
        if not fits or given.startswith(".") or any(c in given for c in "/\\:"):
            raise ValueError(
                f"{given!r:.60} is no name (allowed: up to 100 printable characters without "
                "'/', '\\' and ':', not beginning with '.')"
            )
        return given

    @model_validator(mode="after")
    def _fits_together(self) -> StudySpec:
        ids = [attack.id for attack in self.attacks]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise ValueError(f"attacks '{', '.join(twice)}' stand twice; give each its own label")
        single = [attack.id for attack in self.attacks if not attack.ensemble]
        if self.exemplar_attack is not None and self.exemplar_attack not in single:
            raise ValueError(
                f"exemplar_attack '{shown(self.exemplar_attack)}' is not among the attacks on one "
                f"model (allowed: {', '.join(single)})"
            )
        if len(set(self.models)) < len(self.models):
            raise ValueError("a model stands twice in models")
        self._check_models()
        if self.carriers == () or len(set(self.rankings)) < len(self.rankings):
            raise ValueError("carriers: true, false, or rankings, each once")
        if self.cross_check == self.estimator:
            raise ValueError(f"cross_check is the estimator itself ('{self.estimator}')")
        if self.precision != "float32" and not self.attacks:
            raise ValueError("precision is of attacks' gradients, and there is no attack")
        return self

    def _check_models(self) -> None:
        """Every model that is named somewhere must be among the models."""
        places = {f"attack '{a.id}', models": a.models for a in self.attacks}
        places |= {f"attack '{a.id}', read_by": a.read_by for a in self.attacks}
        places |= {"defences": tuple(self.defences)}
        places |= {"hardened": (*self.hardened, *self.hardened.values())}
        places |= {"compressed": (*self.compressed, *self.compressed.values())}
        places |= {"exemplar_models": self.exemplar_models}
        for place, named in places.items():
            if strange := [model for model in named if model not in self.models]:
                raise ValueError(
                    f"{place}: '{strange[0]}' is not among the models "
                    f"(allowed: {', '.join(self.models)})"
                )
        for attack in self.attacks:
            if attack.ensemble and len(self.aims(attack)[0]) < 2:
                raise ValueError(f"attack '{attack.id}' needs two models or more")
        if self.traced is not None:
            aimed = [models[0] for models in self.aims(self.attack(self.traced))]
            if strange := [model for model in self.exemplar_models if model not in aimed]:
                raise ValueError(
                    f"exemplar_models: '{self.traced}' is not aimed at '{strange[0]}' "
                    f"(allowed: {', '.join(aimed)})"
                )

    @property
    def rankings(self) -> tuple[str, ...]:
        """By what maps are ranked; nothing where carriers are not asked for."""
        if isinstance(self.carriers, bool):
            return DEFAULT_RANKINGS if self.carriers else ()
        return self.carriers

    def attack(self, name: str) -> AttackSpec:
        """The attack that cells call so."""
        return next(attack for attack in self.attacks if attack.id == name)

    def aims(self, attack: AttackSpec) -> tuple[tuple[str, ...], ...]:
        """What an attack is aimed at, run by run: the models that are attacked at once."""
        models = attack.models or self.models
        return (models,) if attack.ensemble else tuple((model,) for model in models)

    def attacks_on(self, model: str) -> tuple[AttackSpec, ...]:
        """The attacks that are aimed at this model alone."""
        return tuple(a for a in self.attacks if (model,) in self.aims(a))

    @property
    def traced(self) -> str | None:
        """The attack whose iterates are followed; ``None`` where there is none."""
        single = [attack.id for attack in self.attacks if not attack.ensemble]
        return self.exemplar_attack or (single[0] if single else None)

    @property
    def followed(self) -> tuple[str, ...]:
        """The models on which iterates are followed."""
        if self.traced is None:
            return ()
        return self.exemplar_models or self.aims(self.attack(self.traced))[0]

    def plain(self) -> dict[str, Any]:
        """The spec as numbers and words, ready for YAML and JSON."""
        return self.model_dump(mode="json")


def presets() -> tuple[str, ...]:
    """The names of the studies that ship with Undertow."""
    folder = files("undertow.studies.asked") / "presets"
    return tuple(sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".yaml")))


def example() -> str:
    """A study with a comment on every key, as ``undertow study --init`` prints it."""
    found = files("undertow.studies.asked") / "presets" / "example.txt"
    return found.read_text(encoding="utf-8")


def load_spec(source: str | Path | Mapping[str, Any]) -> StudySpec:
    """A preset by name, a YAML file by path, or what such a file would say, as a mapping.

    Raises:
        UnknownName: for a name that is neither a preset nor a file.
        BadInput: for YAML that does not parse, unknown keys and impossible values, with the line.
    """
    if isinstance(source, Mapping):
        return _checked(source, None, "the study")
    if not isinstance(source, str | Path):
        raise BadInput(
            f"a study cannot be a {type(source).__name__} (allowed: a preset, a YAML file, a "
            "mapping, a StudySpec)"
        )
    path = Path(source)
    if path.suffix in {".yaml", ".yml"} or is_file(source):
        if there(source) and not is_file(source):
            raise BadInput(f"cannot read the study '{source}': it is no plain file")
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as problem:
            told = f"cannot read the study '{shown(str(source))}': {problem.strerror}"
            raise BadInput(told) from None
        except UnicodeDecodeError:
            raise BadInput(f"the study '{source}' is not a UTF-8 text file") from None
        return _parse(text, str(source))
    if str(source) not in presets():
        raise UnknownName("study (a preset or a .yaml file)", source, presets())
    found = files("undertow.studies.asked") / "presets" / f"{source}.yaml"
    return _parse(found.read_text(encoding="utf-8"), f"{source}.yaml")


def _parse(text: str, where: str) -> StudySpec:
    content, tree = read_yaml(text, where)
    # YAML reads the bare key null as no key at all; here it is the name of one.
    named = {"null" if key is None else str(key): value for key, value in content.items()}
    return _checked(named, tree, where)


def _checked(named: Mapping[str, Any], tree: yaml.Node | None, where: str) -> StudySpec:
    try:
        return StudySpec.model_validate(dict(named))
    except ValidationError as problem:
        # A misspelt key explains a missing one, so it is named first.
        errors = sorted(problem.errors(), key=lambda e: e["type"] != "extra_forbidden")
        raise BadInput(_explain(errors[0], tree, where)) from None


def _explain(error: Any, tree: yaml.Node | None, where: str) -> str:
    """One line for one pydantic error: file, line, key, what is wrong, what is allowed."""
    location = tuple(part for part in error["loc"] if not str(part).startswith(("literal", "int")))
    place = f", line {_line(tree, location)}" if tree is not None else ""
    key = ".".join(str(part) for part in location)
    reason = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        owner = _owner(location)
        return str(UnknownName(f"key in {where}{place}:", key, owner.model_fields))
    given = (
        ""
        if error["type"] in {"missing", "value_error"}
        else f", got {shown(repr(error['input']))}"
    )
    return f"{where}{place}: {key + ': ' if key else ''}{reason}{given}"


def _owner(location: tuple[Any, ...]) -> type[BaseModel]:
    owners: dict[str, type[BaseModel]] = {"attacks": AttackSpec, "data": DataSpec}
    return owners.get(str(location[0]), StudySpec) if len(location) > 1 else StudySpec


def _line(node: yaml.Node | None, location: tuple[Any, ...]) -> int:
    line = node.start_mark.line + 1 if node else 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
