"""YAML that is plain data: no bombs of aliases, no depths, no key twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import yaml

from undertow.errors import BadInput

__all__ = ["read_yaml"]

LARGEST: Final = 2**20
"""Bytes of a file that are read: a study is some hundred lines."""
NODES: Final = 50_000
"""Values that a file may come to once its aliases are written out."""
DEEPEST: Final = 40


class _Loader(yaml.SafeLoader):
    """Refuses depth while it reads, and a key that stands twice."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        try:
            if self.depth > DEEPEST:
                raise yaml.MarkedYAMLError(problem=f"nested more than {DEEPEST} deep")
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name is not None and name in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(
                    problem=f"the key '{key.value}' stands twice", problem_mark=key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


def read_yaml(data: bytes | str, where: str) -> tuple[Mapping[Any, Any], yaml.Node]:
    """A mapping, and the tree that knows the lines.

    Args:
        data: the text.
        where: what it is called in messages.

    Raises:
        BadInput: says what is wrong with it, and on which line.
    """
    if len(data) > LARGEST:
        raise BadInput(f"{where}: {len(data):,} bytes (allowed: {LARGEST:,})")
    if "\0" in data if isinstance(data, str) else b"\0" in data:
        raise BadInput(f"{where}: not a text file (it holds NUL)")
    try:
        loader = _Loader(data)
        try:
            tree = loader.get_single_node()
            if tree is not None:
                _weigh(tree, {}, set())
            content = None if tree is None else loader.construct_document(tree)
        finally:
            loader.dispose()
    except UnicodeDecodeError:
        raise BadInput(f"{where}: not a UTF-8 text file") from None
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as problem:
        mark = getattr(problem, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = getattr(problem, "problem", None) or "not YAML"
        raise BadInput(f"{where}{line}: {reason}") from None
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise BadInput(f"{where}: a study is a mapping of keys to values, got {kind}")
    assert tree is not None
    return content, tree


def _weigh(node: yaml.Node, known: dict[int, int], above: set[int]) -> int:
    """Values below a node, those behind aliases as often as they stand there."""
    if id(node) in known:
        return known[id(node)]
    if id(node) in above:
        raise yaml.MarkedYAMLError(
            problem="an alias stands inside what it names", problem_mark=node.start_mark
        )
    above.add(id(node))
    below: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        below = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        below = list(node.value)
    total = 1 + sum(_weigh(part, known, above) for part in below)
    above.discard(id(node))
    if total > NODES:
        raise yaml.MarkedYAMLError(
            problem=f"its aliases come to more than {NODES:,} values", problem_mark=node.start_mark
        )
    known[id(node)] = total
    return total
