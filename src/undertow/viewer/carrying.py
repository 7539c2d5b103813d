"""Maps put back live: what the model answers when some of a tap's maps have benign values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from undertow.errors import BadInput
from undertow.figures.from_run import ends_of
from undertow.figures.perturbation import unit_interval
from undertow.store import Cell
from undertow.viewer.compute import check_weights, computable, load
from undertow.viewer.selection import values
from undertow.viewer.source import Source

if TYPE_CHECKING:
    from undertow.measuring.carriers.compared import Compared
    from undertow.measuring.carriers.putting import Sides

__all__ = ["answer", "carried"]

SHOWN: Final = 3
"""Classes that an answer names."""
_BUSY: Final = Lock()
"""Hooks of two passes at once would meet in one model."""


def carried(source: Source, cell: Cell, index: int, tap: str) -> dict[str, Any]:
    """What each map of a tap carries, the smallest set found, and the answers to start from.

    Returns:
        ``scores`` (by map) and ``smallest`` (maps), with :func:`answer` of no maps; or ``words``
        on why there is nothing to put back.
    """
    from undertow.measuring.carriers import DEFAULT_RANKINGS, RANKINGS, label_of
    from undertow.measuring.carriers.smallest import smallest

    try:
        with _BUSY:
            pair, sides = _ready(source, cell, index, tap)
            ranking = DEFAULT_RANKINGS[0]
            scores = RANKINGS[ranking](pair, sides.tap).float().cpu()
            few = smallest(sides, scores)[0].nonzero().flatten().tolist()
    except BadInput as problem:
        return {"words": str(problem)}
    numbers = [float(f"{v:.4g}") for v in scores[0].tolist()]
    told = answer(source, cell, index, tap, [], back=True)
    return {"scores": numbers, "smallest": few, "ranking": label_of(ranking), **told}


def answer(
    source: Source, cell: Cell, index: int, tap: str, maps: Sequence[int], *, back: bool
) -> dict[str, Any]:
    """The model's answer with some maps of a tap put in from the other input.

    Args:
        source: the run.
        cell: an attack's.
        index: a recorded input.
        tap: the tap's name.
        maps: numbers of the maps.
        back: benign maps into the attacked run; else attacked ones into the benign run.

    Raises:
        BadInput: where there is nothing to put back, the model may not be loaded, or a map is none.
    """
    import torch

    with _BUSY:
        pair, sides = _ready(source, cell, index, tap)
        count = sides.tap.shape[0]
        if any(not 0 <= k < count for k in maps):
            raise BadInput(f"tap '{tap}' has maps 0 to {count - 1}")
        mask = torch.zeros(1, count, dtype=torch.bool)
        mask[0, list(maps)] = True
        logits = sides.logits(mask, torch.zeros(1, dtype=torch.int64), back=back)[0]
    names = source.class_names(len(logits))
    chances = torch.softmax(logits, dim=0).tolist()
    label, rival = int(pair.label[0]), int(pair.rival[0])
    order = sorted(range(len(chances)), key=lambda m: -chances[m])
    shown = [*order[:SHOWN], *(m for m in (label, rival) if m not in order[:SHOWN])]
    return {
        "bars": [
            {"name": names[m], "chance": round(chances[m], 4), "is": _role(m, label, rival)}
            for m in shown
        ],
        "answer": names[order[0]],
        "reached": order[0] == (label if back else rival),
        "label": names[label],
        "rival": names[rival],
        "count": len(maps),
        "maps": count,
    }


def _role(m: int, label: int, rival: int) -> str:
    return "true" if m == label else "rival" if m == rival else ""


def _ready(source: Source, cell: Cell, index: int, tap: str) -> tuple[Compared, Sides]:
    """The input from both sides, and the tap where maps are put in; the last few are kept."""
    if cell.benign or cell.source is not None:
        raise BadInput("maps are put back on the model that was attacked")
    if not computable(source, cell):
        raise BadInput(f"'{cell.model}' is no shipped model; name it with --model if you trust it")
    pair = _compared(source, source.stamp, cell, index)
    return pair, _sides(pair, tap)


@lru_cache(maxsize=8)
def _compared(source: Source, stamp: Any, cell: Cell, index: int) -> Compared:
    import torch

    from undertow.measuring.carriers.compared import Compared
    from undertow.taps import choose
    from undertow.taps.replace import outputs

    data = source.exemplar(cell, index)
    if data is None:
        raise BadInput(f"input {index} of {cell.name} cannot be read")
    model = _own(source, cell.model)
    check_weights(source, cell, model)
    images = unit_interval(values(data, "images")[list(ends_of(data))]).astype(np.float32)
    x = torch.from_numpy(images)
    try:
        answers = outputs(model, x, ()).logits.argmax(dim=1)
    except RuntimeError as problem:  # made by another network, or invented
        what = f"{tuple(x.shape[1:])} ({type(problem).__name__})"
        raise BadInput(f"'{cell.model}' does not take inputs of shape {what}") from None
    label = int(_attributes(data).get("label", int(answers[0])))
    if int(answers[0]) != label:
        raise BadInput("The model gets this input wrong unattacked: there is nothing to restore.")
    if int(answers[1]) == label:
        raise BadInput("The attack did not change the answer: there is nothing to put back.")
    taps = choose(model, x[:1], [str(t) for t in data["tap"].values])
    return Compared(model, taps, x[:1], x[1:], torch.tensor([label]), answers[1:])


def _attributes(data: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = data.attrs
    return found


@lru_cache(maxsize=2)
def _own(source: Source, name: str) -> Any:
    """A copy of a model that nobody else runs."""
    return deepcopy(load(source, name))


@lru_cache(maxsize=16)
def _sides(pair: Compared, tap: str) -> Sides:
    from undertow.measuring.carriers.putting import Sides

    found = next((t for t in pair.taps if t.name == tap), None)
    if found is None:
        raise BadInput(f"the model has no tap '{tap}'")
    return Sides.of(pair, found)
