"""The house stays in order: names that mean one thing, functions that fit on a page."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import undertow

FILES = sorted(Path(undertow.__file__).parent.rglob("*.py"))
PAGE = 60


def trees() -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in FILES]


def test_no_two_public_classes_share_a_name() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path, tree in trees():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(path))
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_every_package_says_what_it_is() -> None:
    for path, tree in trees():
        if path.name == "__init__.py":
            assert len((ast.get_docstring(tree) or "").split()) >= 6, path


def test_functions_fit_on_a_page() -> None:
    """Lines without the docstring; declarations of options count."""
    long = {}
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                words = ast.get_docstring(node, clean=False)
                lines = (node.end_lineno or 0) - node.lineno + 1
                lines -= len(words.splitlines()) if words else 0
                if lines > PAGE:
                    long[f"{path}:{node.name}"] = lines
    assert long == {}
