"""Write the pages that are generated from the code, or check that they are up to date.

Usage: python docs/build.py [--check]

Every registry key, command option and stored variable gets a line on a page because the page is
made from the registry itself; ``--check`` fails when a page differs from the code, when a registry
entry has no docstring, or when a link in a page leads nowhere.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from inspect import getdoc
from pathlib import Path
from typing import Any

from typer.main import get_command

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
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


def _load(path: str) -> object:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def _first_line(thing: object) -> str:
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


def registries() -> str:
    """One table a registry: every key, what it is and what it takes."""
    out = ["# Names", "", "Every name that a command, a study or a function takes.", ""]
    for title, path in REGISTRIES.items():
        out += [f"## {title}", "", "| name | what it is | settings |", "|---|---|---|"]
        for entry in _load(path).entries():  # type: ignore[attr-defined]
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
        if extra == "export":
            out += [
                'A `.nc` file has one group a cell: `xr.open_dataset("profiles.nc")` shows which, '
                '`xr.open_dataset("profiles.nc", group=GROUP)` opens one.',
                "",
            ]
        out += ["| name | what it is |", "|---|---|"]
        out += [f"| `{name}` | {words} |" for name, words in told.items()] + [""]
    return "\n".join(out)


def models() -> str:
    """The page of the shipped models, from their cards."""
    from undertow.models.page import page

    return page()


def results() -> str:
    """The page of results, from what a run answered."""
    return _beside("results").page()


def detection() -> str:
    """The page on detectors, from what their benchmark kept."""
    return _beside("detection").page()


def _beside(name: str) -> Any:
    """A module in this folder, wherever this one was started from."""
    spec = spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES: dict[str, Callable[[], str]] = {
    "names.md": registries,
    "commands.md": commands,
    "run-directory.md": schema,
    "exports.md": exports,
    "models.md": models,
    "results.md": results,
    "detection.md": detection,
}


def undocumented() -> list[str]:
    """Registry entries without a docstring, and options without help."""
    faults = []
    for title, path in REGISTRIES.items():
        for entry in _load(path).entries():  # type: ignore[attr-defined]
            if not _first_line(entry.load()) and not entry.summary:
                faults.append(f"{title}: '{entry.name}' has no description")
    faults += [
        f"commands.md: {line}" for line in commands().splitlines() if "no description" in line
    ]
    return faults


def broken_links() -> list[str]:
    """Relative links in Markdown pages that lead nowhere."""
    faults = []
    for page in (*ROOT.glob("*.md"), *DOCS.glob("*.md")):
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                faults.append(f"{page.relative_to(ROOT)}: link to {target} leads nowhere")
    return faults


def main(check: bool) -> int:
    faults = []
    for name, make in PAGES.items():
        text, path = make().rstrip() + "\n", DOCS / name
        if check:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                faults.append(f"docs/{name} differs from the code; run `make docs`")
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote docs/{name}")
    faults += undocumented() + broken_links()
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
