"""What the maps carry of an attack, for one shard: the store's group ``carriers``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow.measuring.carriers import CONTROLS
from undertow.measuring.carriers.carry import Carried, carry, places, rows_at_once
from undertow.models.asking import ask
from undertow.models.defended import fooled, rejected
from undertow.models.devices import even_parts
from undertow.studies.done.probe import Probe
from undertow.types import Draws, Images, Labels

__all__ = ["carried", "carried_at_end", "restorable"]


def restorable(probe: Probe, x: Images, end: Images, predicted: Tensor, label: Labels) -> Tensor:
    """Inputs that the model gets right, and wrong when attacked, and rejects neither, (sample,)."""
    with torch.no_grad():
        parts = [ask(probe.model, x[a:b]).argmax(1) for a, b in even_parts(0, len(x), 64)]
    right = (torch.cat(parts) == label) & ~rejected(probe.model, x)
    wrong = fooled(predicted.to(label.device), label, rejected(probe.model, end))
    return (right & wrong).cpu()


def carried(
    probe: Probe,
    x: Images,
    end: Images,
    label: Labels,
    predicted: Tensor,
    rankings: Sequence[str],
    draws: Draws,
) -> dict[str, NDArray[Any]]:
    """Arrays of one shard, one row an input; those that have nothing to restore are empty.

    Args:
        probe: the model, at whose taps maps are put back.
        x: benign inputs.
        end: what an attack made of them.
        label: true classes.
        predicted: the model's answers to the attacked ones.
        rankings: by what maps are ranked.
        draws: random numbers of the inputs.
    """
    taps, count = probe.taps, places(probe.taps)
    shape = (len(x), len(taps), len(rankings) + len(CONTROLS), count.shape[1])
    arrays: dict[str, NDArray[Any]] = {
        "restored": np.full(shape, np.nan, np.float32),
        "implanted": np.full(shape, np.nan, np.float32),
        "smallest": np.zeros((*shape[:2], int(count.max())), dtype=np.bool_),
        "smallest_random": np.full(shape[:2], -1, dtype=np.int64),
        "cut": np.zeros(shape[:2], dtype=np.bool_),
        "rival": np.full(len(x), -1, dtype=np.int64),
    }
    rows = torch.nonzero(restorable(probe, x, end, predicted, label)).flatten()
    predicted = predicted.to(label.device)
    for start, stop in even_parts(0, len(rows), rows_at_once(taps)) if len(rows) else ():
        part = rows[start:stop]
        there = part.to(label.device)
        found = carry(
            probe.model, taps, x[there], end[there], label[there], predicted[there],
            rankings=rankings, draws=draws[part],
        )  # fmt: skip
        _put(arrays, part.numpy(), found, predicted[there].cpu().numpy())
    return arrays


def carried_at_end(
    probe: Probe,
    x: Images,
    end: Images,
    label: Labels,
    rankings: Sequence[str],
    draws: Draws,
) -> dict[str, Any]:
    """Variables of an exemplar: what the maps carry of one attacked input, at its end.

    Nothing where there is nothing to restore.

    Raises:
        BadInput: where what maps carry cannot be told of a model.
    """
    with torch.no_grad():
        predicted = ask(probe.model, end).argmax(1)
    if not rankings or not bool(restorable(probe, x, end, predicted, label).all()):
        return {}
    found = carry(probe.model, probe.taps, x, end, label, predicted, rankings=rankings, draws=draws)
    scores = np.full(
        (len(probe.taps), len(rankings) + len(CONTROLS), found.scores.shape[3]), np.nan, np.float32
    )
    scores[:, : len(rankings)] = found.scores[0]
    return {
        "restored": (("tap", "ranking", "place"), found.restored[0]),
        "implanted": (("tap", "ranking", "place"), found.implanted[0]),
        "count": (("tap", "place"), found.count),
        "score": (("tap", "ranking", "map"), scores),
        "smallest": (("tap", "map"), found.smallest[0]),
        "smallest_random": ("tap", found.smallest_random[0]),
        "ranking": [*rankings, *CONTROLS],
    }


def _put(
    arrays: dict[str, NDArray[Any]], rows: NDArray[Any], found: Carried, rival: NDArray[Any]
) -> None:
    for name in ("restored", "implanted", "smallest", "smallest_random"):
        arrays[name][rows] = getattr(found, name)
    arrays["cut"][rows] = found.cut
    arrays["rival"][rows] = rival
