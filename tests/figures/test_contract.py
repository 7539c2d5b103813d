from __future__ import annotations

from collections.abc import Callable

import pytest

from undertow.errors import BadInput
from undertow.figures import FIGURES, FigureData
from undertow.store import Run
from undertow.testing.figures import CONTRACT


@pytest.mark.parametrize("name", list(FIGURES))
@pytest.mark.parametrize("check", CONTRACT, ids=lambda c: c.__name__)
def test_every_figure_keeps_the_contract(
    name: str, check: Callable[[FigureData], None], run: Run
) -> None:
    choices = FIGURES[name].choices(run)
    assert choices, f"a finished run can show {name}"
    check(FIGURES[name].from_run(run, **choices[-1]))


@pytest.mark.parametrize("name", list(FIGURES))
def test_every_figure_says_when_there_is_nothing_to_draw(name: str, half: Run) -> None:
    for choice in FIGURES[name].choices(half):
        assert FIGURES[name].from_run(half, **choice).panels
    if not FIGURES[name].choices(half):
        with pytest.raises(BadInput, match="nothing to draw"):
            FIGURES[name].from_run(half)


@pytest.mark.parametrize("name", list(FIGURES))
def test_every_figure_is_found_without_arguments_and_has_a_summary(name: str, run: Run) -> None:
    assert FIGURES.entry(name).summary
    data = FIGURES[name].from_run(run)
    assert data.name == name
    shown = data._repr_mimebundle_()
    assert len(shown["application/vnd.plotly.v1+json"]["data"]) >= 1
    assert "<svg" in shown["image/svg+xml"]
