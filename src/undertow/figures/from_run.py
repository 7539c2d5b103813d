"""From a stored run to a figure: what there is to draw, and the first that fits what was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from undertow.figures.data import Figure, FigureData
from undertow.figures.wording import attack_name, nothing
from undertow.store import BENIGN, Cell, Run, curve_key

__all__ = [
    "by_attack", "class_names", "ends_of", "exemplars", "input_name", "of_input", "of_model",
    "of_recorded", "pick", "recorded",
]  # fmt: skip

Draw = Callable[..., FigureData | None]


def of_input(
    name: str,
    build: Callable[..., FigureData],
    draw: Draw,
    has: Callable[[Any], bool] = lambda data: True,
    what: str = "recorded inputs",
) -> Figure:
    """A figure of one recorded input.

    Args:
        name: its key.
        build: from plain arrays.
        draw: ``draw(run, data, name, **options)``.
        has: whether a recorded input holds what is drawn.
        what: that, in words.
    """

    def from_run(
        run: Run,
        *,
        model: str | None = None,
        attack: str | None = None,
        source: str | None = None,
        index: int | None = None,
        **options: Any,
    ) -> FigureData:
        asked = {"model": model, "attack": attack, "source": source, "index": index}
        cell, at, data = pick(run, asked, has, what)
        drawn = draw(run, data, input_name(cell, at), **options)
        assert drawn is not None
        return drawn

    def choices(run: Run) -> tuple[Mapping[str, Any], ...]:
        return tuple(choice for choice in exemplars(run) if has(pick(run, choice)[2]))

    return Figure(name, build, from_run, choices)


def of_recorded(
    name: str, build: Callable[..., FigureData], draw: Draw, holds: str, what: str
) -> Figure:
    """A figure of one recorded input, attacked or explained as it came; controls left out.

    Args:
        name: its key.
        build: from plain arrays.
        draw: ``draw(run, cell, index)``.
        holds: the variable that a recorded input must hold.
        what: that, in words.
    """

    def choices(run: Run) -> tuple[Mapping[str, Any], ...]:
        return tuple(
            c
            for c in recorded(run)
            if holds in run.exemplar(Cell(c["model"], c["attack"], c["source"]), c["index"])
        )

    def from_run(run: Run, **asked: Any) -> FigureData:
        wanted = {k: v for k, v in asked.items() if v is not None}
        for found in choices(run):
            if all(found.get(k) == v for k, v in wanted.items()):
                cell = Cell(found["model"], found["attack"], found["source"])
                drawn = draw(run, cell, found["index"])
                assert drawn is not None
                return drawn
        raise nothing(what)

    return Figure(name, build, from_run, choices)


def of_model(
    name: str,
    build: Callable[..., FigureData],
    draw: Draw,
    models: Callable[[Run], Iterable[str]],
    what: str,
) -> Figure:
    """A figure of one model; the first there is where none is named.

    Args:
        name: its key.
        build: from plain arrays.
        draw: ``draw(run, model, **options)``; ``None`` where the run has nothing of this model.
        models: those of a run that can be drawn.
        what: what is drawn, in words.
    """

    def from_run(run: Run, *, model: str | None = None, **options: Any) -> FigureData:
        model = model or next(iter(models(run)), None)
        drawn = None if model is None else draw(run, model, **options)
        if drawn is None:
            raise nothing(f"{what} of {model or 'any model'}")
        return drawn

    def choices(run: Run) -> tuple[Mapping[str, Any], ...]:
        return tuple({"model": model} for model in models(run))

    return Figure(name, build, from_run, choices)


def by_attack(
    run: Run, model: str, group: str, take: Callable[[Cell, Any], Any]
) -> tuple[dict[str, Any], tuple[str, ...], np.ndarray]:
    """What ``take`` finds in each cell aimed at a model, by curve; names and depths of the taps."""
    found: dict[str, Any] = {}
    taps: tuple[str, ...] = ()
    depth = np.array([])
    for cell in run.cells:
        if cell.model != model or cell.source is not None or not run.has(group, cell):
            continue
        data = getattr(run, group)(cell)
        values = take(cell, data)
        if values is not None:
            found[curve_key(cell.attack)] = values
            taps, depth = tuple(map(str, data["tap"].values)), data["depth"].values
    return found, taps, depth


def exemplars(run: Run) -> tuple[dict[str, Any], ...]:
    """Every recorded input of a run: model, attack, source and index; attacks before controls."""
    cells = sorted(
        (c for c in run.cells if not c.benign),
        key=lambda c: (c.control_of is not None, c.source or ""),
    )
    return tuple(
        {"model": c.model, "attack": c.attack, "source": c.source, "index": i}
        for c in cells
        for i in run.exemplars(c)
    )


def recorded(run: Run) -> tuple[dict[str, Any], ...]:
    """Recorded inputs that are no controls: attacked ones, then those explained as they came.

    Those that deserve a look sooner come first, where the run's explanations say so.
    """
    found = [c for c in exemplars(run) if Cell(c["model"], c["attack"]).control_of is None]
    found += [
        {"model": m, "attack": BENIGN, "source": None, "index": i}
        for m in run.models
        for i in run.exemplars(Cell(m, BENIGN))
    ]
    told = run.answers.explanations if run.answers else ()
    interest = {(e.model, e.attack or BENIGN, e.index): -(e.interest or 0.0) for e in told}
    own = [c for c in found if c["source"] is None]
    return tuple(
        sorted(own, key=lambda c: interest.get((c["model"], c["attack"], c["index"]), 0.0))
    )


def pick(
    run: Run,
    choice: Mapping[str, Any],
    has: Callable[[Any], bool] = lambda data: True,
    what: str = "recorded inputs",
) -> tuple[Cell, int, Any]:
    """The recorded input that a choice names; what it leaves open, the first that fits decides."""
    wanted = {k: v for k, v in choice.items() if v is not None}
    for found in exemplars(run):
        if all(found[k] == v for k, v in wanted.items()):
            cell = Cell(found["model"], found["attack"], found["source"])
            data = run.exemplar(cell, found["index"])
            if has(data):
                return cell, found["index"], data
    raise nothing(f"{what} with {wanted}" if wanted else what)


def input_name(cell: Cell, index: int) -> str:
    """An input of an attack in words."""
    aimed = f" (aimed at {cell.source})" if cell.source else ""
    return f"input {index}, {attack_name(cell.attack)}{aimed} on {cell.model}"


def ends_of(data: Any) -> tuple[int, int]:
    """Rows of a recorded input: as it came, and where its attack ended (the same without one)."""
    steps: list[int] = data["step"].values.tolist()
    end = int(data.attrs.get("end", steps[-1]))
    return 0, steps.index(end) if end in steps else len(steps) - 1


def class_names(run: Run, data: Any) -> list[str]:
    """Names of the classes, or their numbers where the run does not know them."""
    n = int(data.sizes["class"])
    given = data.attrs.get("classes") or run.manifest.get("classes") or ()
    return [str(c) for c in given] if len(given) == n else [f"class {i}" for i in range(n)]
