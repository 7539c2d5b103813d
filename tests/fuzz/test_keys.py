"""Every key of a study file with values of every wrong kind: accepted, or refused in one line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.errors import UndertowError
from undertow.studies.asked.spec import AttackSpec, DataSpec, StudySpec, load_spec
from undertow.studies.names import settled

BASE: dict[str, Any] = {
    "name": "fuzz",
    "models": ["digits_cnn"],
    "data": {"name": "digits", "inputs": 4},
    "attacks": [{"name": "fgsm"}, {"name": "jsma"}],
}
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**64, -(2**64), 0.5, float("nan"), float("inf"), 1e300,
    "", " ", "nan", "1e-1", "8/0", "8/255", "none", "../x", "/abs", "a\nb", "a\0b", "x" * 3000, "☃",
    "fgsm", "good_init", "nowhere.py:thing", "os:nothing", "!!python/object", [], [None], [[]],
    [1, 2], ["fgsm", "fgsm"], [{}], {}, {"name": "x"}, {None: 1}, {"a": {"b": {"c": []}}},
    [True, "x", 3.5],
)  # fmt: skip


def _keys() -> Iterator[tuple[str, ...]]:
    yield from ((key,) for key in StudySpec.model_fields)
    yield from (("data", key) for key in DataSpec.model_fields)
    yield from (("attacks", key) for key in AttackSpec.model_fields)


def _with(key: tuple[str, ...], value: Any) -> dict[str, Any]:
    told = {**BASE, "data": dict(BASE["data"]), "attacks": [dict(a) for a in BASE["attacks"]]}
    place: Any = told
    for step in key[:-1]:
        place = place[step]
    (place[0] if isinstance(place, list) else place)[key[-1]] = value
    return told


def wrong(told: Any) -> str:
    """What is wrong with how a study is refused; empty: nothing."""
    try:
        settled(load_spec(told))
    except UndertowError as error:
        lines = str(error).splitlines()
        if not 0 < len(lines) <= 2:
            return f"{len(lines)} lines: {str(error)[:200]!r}"
        return "" if len(str(error)) < 1500 else f"{len(str(error))} characters"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", list(_keys()), ids=".".join)
def test_a_key_with_any_value(key: tuple[str, ...]) -> None:
    faults = [(value, said) for value in VALUES if (said := wrong(_with(key, value)))]
    assert faults == []


def test_there_are_enough() -> None:
    assert len(VALUES) * len(list(_keys())) >= 1500


words = st.text(max_size=12)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200, deadline=None)
@given(st.sampled_from(list(_keys())), plain)
def test_a_key_with_anything(key: tuple[str, ...], value: Any) -> None:
    assert wrong(_with(key, value)) == ""


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_file_of_anything(data: st.DataObject) -> None:
    """A valid file, one stretch of which is replaced; and anything at all."""
    from undertow.studies.asked.spec import _parse

    text = yaml.safe_dump(BASE)
    a = data.draw(st.integers(0, len(text)))
    b = data.draw(st.integers(a, len(text)))
    text = text[:a] + data.draw(st.text(max_size=30)) + text[b:]
    try:
        _parse(text, "file.yaml")
        lines = 1
    except UndertowError as error:
        lines = len(str(error).splitlines())
    assert 0 < lines <= 2
