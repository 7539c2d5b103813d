"""Pages of reference that are made from the code: names, commands, study keys, runs, exports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from inspect import getdoc
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from typer.main import get_command

REGISTRIES = {
    "Attacks": "undertow.attacks:ATTACKS",
    "Estimators": "undertow.information:ESTIMATORS",
    "Nulls": "undertow.information:NULLS",
    "Rankings": "undertow.measuring.carriers:RANKINGS",
    "Data sets": "undertow.data:DATASETS",
    "Models": "undertow.models:MODELS",
    "Defences": "undertow.models.defences:DEFENCES",
    "Figures": "undertow.figures:FIGURES",
    "Questions": "undertow.studies.answered.questions:QUESTIONS",
    "Executors": "undertow.studies.done.executors:EXECUTORS",
}


def load(path: str) -> object:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def first_line(thing: object) -> str:
    return (getdoc(thing) or "").strip().splitlines()[0] if getdoc(thing) else ""


def _settings(kind: object) -> Iterable[str]:
    if not isinstance(kind, type) or not is_dataclass(kind):
        return
    for field in fields(kind):
        if field.default is not MISSING:
            default = f"`{field.default}`"
        elif field.default_factory is not MISSING:
            default = f"`{_words(field.default_factory())}`"
        else:
            default = "required"
        yield f"`{field.name}` = {default}"


def _words(value: object) -> str:
    """A default as words: an object by its name, never by its address."""
    name = getattr(value, "name", None) or getattr(value, "__name__", None)
    return str(name) if name else str(value)


def arguments(thing: object) -> dict[str, str]:
    """What the ``Args`` of a docstring say, by name."""
    _, _, told = (getdoc(thing) or "").partition("Args:\n")
    told = re.split(r"\n(?=\S)", told)[0]
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", told, re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in found}


def registries() -> str:
    """One table a registry: every key, what it is and what it takes."""
    out = ["# Names", "", "Every name that a command, a study or a function takes.", ""]
    for title, path in REGISTRIES.items():
        out += [f"## {title}", "", "| name | what it is | settings |", "|---|---|---|"]
        for entry in load(path).entries():  # type: ignore[attr-defined]
            settings = ", ".join(_settings(entry.load()))
            out.append(f"| `{entry.name}` | {entry.summary} | {settings} |")
        out.append("")
    return "\n".join(out)


def _walk(command: Any, path: tuple[str, ...]) -> Iterable[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, child in sorted(command.commands.items()):
            yield from _walk(child, (*path, name))
    else:
        yield " ".join(path), command


def commands() -> str:
    """Every command with every argument and option."""
    from undertow.cli.app import app

    out = ["# Commands", ""]
    for name, command in _walk(get_command(app), ("undertow",)):
        out += [f"## `{name}`", "", (command.help or "").strip(), ""]
        for parameter in command.params:
            label = ", ".join(f"`{o}`" for o in (*parameter.opts, *parameter.secondary_opts))
            text = getattr(parameter, "help", None) or "no description"
            if parameter.param_type_name == "argument":
                label = f"`{parameter.name.upper()}`"
            out.append(f"- {label}: {text}")
        out.append("")
    return "\n".join(out)


def schema() -> str:
    """Every variable of a run directory."""
    from undertow.store.schema import GROUPS, SCHEMA_VERSION

    out = ["# The run directory", "", f"Schema version {SCHEMA_VERSION}.", ""]
    for group in GROUPS.values():
        out += [
            f"## `/{group.name}`",
            "",
            group.doc,
            "",
            "| variable | axes | unit | what it is |",
            "|---|---|---|---|",
        ]
        out += [
            f"| `{v.name}` | {' '.join(v.dims)} | {v.unit} | {v.doc} |"
            for v in group.variables.values()
        ]
        out.append("")
    return "\n".join(out)


def exports() -> str:
    """What `undertow export` writes: columns of the tables, tags of TensorBoard."""
    from undertow.report.tensorboard import TAGS
    from undertow.report.tracking import METRICS
    from undertow.store.export import COLUMNS

    out = ["# Exports", "", "What `undertow export RUN --format FORMAT` writes.", ""]
    for title, extra, told in (
        ("Tables: csv, parquet, netcdf", "export", COLUMNS),
        ("TensorBoard: tensorboard", "tensorboard", TAGS),
        ("MLflow and Weights & Biases: mlflow, wandb", "mlflow", METRICS),
    ):
        needs = "CSV needs nothing more; the others need" if extra == "export" else "It needs"
        also = " or `undertow[wandb]`" if extra == "mlflow" else ""
        out += [f"## {title}", "", f"{needs} `pip install 'undertow[{extra}]'`{also}.", ""]
        if extra == "mlflow":
            out += [
                "MLflow's small client keeps nothing: `MLFLOW_TRACKING_URI=http://HOST:5000` names "
                "a server. Of Weights & Biases `WANDB_MODE=offline` writes a folder.",
                "",
            ]
        if extra == "export":
            out += [
                'A `.nc` file has one group a cell: `xr.open_dataset("profiles.nc")` shows which, '
                '`xr.open_dataset("profiles.nc", group=GROUP)` opens one.',
                "",
            ]
        out += ["| name | what it is |", "|---|---|"]
        out += [f"| `{name}` | {words} |" for name, words in told.items()] + [""]
    return "\n".join(out)


def study() -> str:
    """Every key of a study file, with its type and default."""
    from undertow.studies.asked.spec import AttackSpec, DataSpec, StudySpec, example

    out = ["# Study files", "", *_STUDY.splitlines(), ""]
    for title, kind in (
        ("Keys", StudySpec), ("Keys of `data`", DataSpec), ("Keys of one of `attacks`", AttackSpec)
    ):  # fmt: skip
        told = arguments(kind)
        out += [f"## {title}", "", "| key | type | default | what it is |", "|---|---|---|---|"]
        for name, field in kind.model_fields.items():
            required = field.is_required()
            default = "required" if required else f"`{_yaml(field.get_default())}`"
            words = told.get(name, "no description").replace("``", "`").replace("|", "\\|")
            out.append(f"| `{name}` | {_type(field.annotation)} | {default} | {words} |")
        out.append("")
    return "\n".join([*out, "## All of them in a file", "", "```yaml", example().rstrip(), "```"])


_STUDY = """A study is a YAML file: `undertow study --init > study.yaml` writes one with every
key, and `undertow study study.yaml` runs it. Presets (`quick`, `paper`, …) are such
files. Numbers may be written as `8/255` or `1e-1`; unknown keys and impossible values
are refused with the line they stand on."""


def _type(annotation: Any) -> str:
    """A type as words."""
    from pydantic import BaseModel

    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inner[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, UnionType):
        return " or ".join(_type(part) for part in inner)
    if origin is tuple:
        parts = inner[:1] if inner[-1] is Ellipsis else inner
        return f"list of {' and '.join(dict.fromkeys(_type(part) for part in parts))}"
    if origin is dict:
        return f"mapping from {_type(inner[0])} to {_type(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping, below"
    return _TYPES.get(annotation, str(annotation))


_TYPES = {
    str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null",
    Any: "anything",
}  # fmt: skip


def _yaml(value: Any) -> str:
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return "{}"
    return json.dumps(list(value) if isinstance(value, tuple) else value)
