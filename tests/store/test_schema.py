from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from undertow.errors import BadInput, UnknownName
from undertow.store import GROUPS, Cell, template, validate
from undertow.store.schema import describe

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)


@given(NAMES, NAMES, st.none() | NAMES)
def test_the_slug_of_a_cell_gives_the_cell_back_and_is_one_file_name(
    model: str, attack: str, source: str | None
) -> None:
    cell = Cell(model, attack, source)
    assert Cell.from_slug(cell.slug) == cell
    assert not set(cell.slug) & set("/\\<>:\"'|?* \0")
    assert cell.slug not in (".", "..")


@given(st.lists(st.tuples(NAMES, NAMES, st.none() | NAMES), unique=True, max_size=6))
def test_different_cells_have_different_slugs(triples: list[tuple[str, str, str | None]]) -> None:
    cells = {Cell(*t) for t in triples}
    assert len({c.slug for c in cells}) == len(cells)


def test_a_cell_aimed_at_its_own_model_is_the_plain_cell() -> None:
    assert Cell("a", "jsma", "a") == Cell("a", "jsma")
    assert Cell("a", "noise:igsm").control_of == "igsm"
    assert Cell("a", "noise").control_of is None
    assert Cell("a", "jsma", "b").name == "a · jsma from b"


@pytest.mark.parametrize("names", [("", "x"), ("x", ""), ("x", "y", ""), ("x" * 300, "y")])
def test_a_cell_without_usable_names_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(BadInput):
        Cell(*names)


@pytest.mark.parametrize("slug", ["one", "a+b+c+d", "a+", "../x+y", "a%2fb+c"])
def test_what_is_no_slug_is_refused(slug: str) -> None:
    with pytest.raises(BadInput):
        Cell.from_slug(slug)


def test_every_variable_says_its_unit_and_meaning() -> None:
    for group in GROUPS.values():
        for variable in group.variables.values():
            assert variable.unit, variable.name
            assert variable.doc, variable.name


def test_a_template_takes_no_memory_whatever_its_size() -> None:
    huge = template(
        "class_information", samples=10**9, taps=["a", "b"], depth=[0.5, 1], classes=1000
    )
    assert huge["bits"].shape == (10**9, 2, 1000)


def test_other_estimators_and_tap_numbers_follow_the_schema_of_their_variable() -> None:
    assert describe("profiles", "iip_raw@binned").dims == ("sample", "tap")
    assert describe("exemplars", "T_null.3").dims == ("chosen", "map.3", "class")
    assert "oip@ksg" in template("profiles", samples=2, taps=["a"], depth=[1], estimators=["ksg"])
    for wrong in ("T_null", "logits.3", "nonsense", "iip_"):
        with pytest.raises(UnknownName):
            describe("exemplars", wrong)


def _attacks() -> xr.Dataset:
    return template("attacks", samples=3, classes=2)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (_attacks().drop_vars("success"), "success missing"),
        (_attacks().assign(success=("sample", np.zeros(3))), "float64"),
        (_attacks().assign(success=("class", np.zeros(2, bool))), "axes"),
    ],
)
def test_a_dataset_that_breaks_the_schema_is_refused(broken: xr.Dataset, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        validate("attacks", broken)
