"""``ut.carriers``: which maps carried an attack, and what proves it, as a labelled dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
import xarray as xr
from jaxtyping import Int64
from torch import Tensor, nn

from undertow.errors import BadInput, of_kind
from undertow.measuring.carriers import CONTROLS, DEFAULT_RANKINGS, RANKINGS
from undertow.measuring.carriers.carry import REPEATS, Carried, carry, places, rows_at_once
from undertow.measuring.measure import taps_of
from undertow.measuring.meter import by_row
from undertow.models.asking import plainly
from undertow.models.defended import fooled, rejected
from undertow.models.devices import even_parts
from undertow.progress import SILENT, Progress
from undertow.statistics.restoration import area, share
from undertow.taps.replace import outputs
from undertow.types import Images, Tap, Trajectory

__all__ = ["carriers"]

Pair: TypeAlias = tuple[Images, Images]
"""Benign inputs and what became of them."""


@plainly
def carriers(
    model: nn.Module,
    attacked: Trajectory | Pair,
    y: Int64[Tensor, " _"] | None = None,
    *,
    taps: Sequence[Tap] | Sequence[str] | str | None = None,
    rankings: Sequence[str] = DEFAULT_RANKINGS,
    repeats: int = REPEATS,
    seed: int = 0,
    progress: Progress = SILENT,
) -> xr.Dataset:
    """Which maps of each tap carried an attack: those whose benign values take it back.

    At every tap the maps that a ranking puts first are put back to their benign values and the
    model runs on: the share of inputs whose true label returns, as a function of their number, is
    the *restoration curve*. Its mirror image *implants* the same maps into the benign run, which
    must bring the rival's label. Both stand beside random maps, as many, and as large a change.

    Args:
        model: any module from images in [0, 1] to logits, in evaluation mode.
        attacked: a trajectory, of which the end is taken, or (benign, adversarial) inputs.
        y: true classes; a trajectory has its own.
        taps: patterns for :func:`undertow.taps.choose`, taps, or ``None`` for every block.
        rankings: names, or ``"mine.py:ranking"``; of the first the smallest sets are searched, and
            random maps are matched to its change.
        repeats: random orders of each input.
        seed: of the random orders.
        progress: told how far it is.

    Returns:
        A dataset of the inputs that the model gets right and, attacked, wrong, none of both
        rejected by a defence (``sample`` is their place in the batch; of a run into which maps were
        put no detector is asked, as it has no input), with axes ``tap``, ``ranking`` (the
        rankings, then ``random`` and ``matched``) and ``place`` (of a curve):

        - ``count`` (tap, place): how many maps are put back there; -1 beyond the last;
        - ``restored`` and ``implanted`` (sample, tap, ranking, place): whether the true label
          returns, the rival's comes; of controls the share of their random orders;
        - ``share``, ``share_low``, ``share_high`` (tap, ranking, place): of inputs restored, with
          Wilson's 95 % interval; ``implanted_share`` and so on likewise;
        - ``area`` and ``implanted_area`` (sample, tap, ranking): under the curve over log2 of the
          number of maps, from one to all, in [0, 1];
        - ``score`` (sample, tap, ranking, map): what each ranking says;
        - ``smallest`` (sample, tap, map): the smallest set found to suffice; ``smallest_size``
          and ``smallest_random``, what the same search leaves in a random order (sample, tap);
        - ``maps`` (tap), ``cut`` (tap): whether all that the logits know passes there;
        - ``label``, ``rival`` (sample). What a ranking has no answer for is NaN.

    Raises:
        BadInput: if there is nothing to restore, the answer to an input depends on its batch, or
            inputs and labels do not fit together.
        UnknownName: for an unknown ranking.
    """
    of_kind(model, nn.Module, "the model", "a torch.nn.Module")
    benign, adversarial, label = _given(attacked, y)
    names = _ranked(rankings)
    chosen = taps_of(model, benign, taps)
    rival, rows = _restorable(model, benign, adversarial, label)
    parts, draws = [], by_row(seed, seed + len(label))
    with progress("Putting maps back", len(rows), "inputs") as advance:
        for start, stop in even_parts(0, len(rows), rows_at_once(chosen)):
            part = rows[start:stop]
            parts.append(
                carry(
                    model, chosen, benign[part], adversarial[part], label[part], rival[part],
                    rankings=names, draws=draws[part.cpu()], repeats=repeats,
                )
            )  # fmt: skip
            advance(stop - start)
    found = _dataset(parts, chosen, names, rows, label, rival)
    left = len(label) - len(rows)
    return found.assign_attrs(inputs=len(label), left_out=left, repeats=repeats)


def _given(attacked: Any, y: Any) -> tuple[Tensor, Tensor, Tensor]:
    if isinstance(attacked, Trajectory):
        return attacked.benign, attacked.end, attacked.label if y is None else y
    pair = tuple(attacked) if isinstance(attacked, list | tuple) else ()
    if len(pair) != 2 or not all(isinstance(part, Tensor) for part in pair):
        raise BadInput(
            "carriers are told of a trajectory, as craft gives it, or of two tensors (benign, "
            f"adversarial); got {type(attacked).__name__}"
        )
    benign, adversarial = pair
    if benign.shape != adversarial.shape:
        raise BadInput(
            f"benign inputs are {tuple(benign.shape)}, adversarial {tuple(adversarial.shape)}"
        )
    if y is None or len(y) != len(benign):
        raise BadInput(
            f"{len(benign)} inputs need as many true classes, got {'none' if y is None else len(y)}"
        )
    return benign, adversarial, y


def _ranked(rankings: Sequence[str]) -> tuple[str, ...]:
    """Their names in the registry.

    Raises:
        BadInput: for none, or one twice.
        UnknownName: for one that there is not.
    """
    given = [rankings] if isinstance(rankings, str) else list(rankings)
    names = tuple(RANKINGS.entry(name).name for name in given)
    if not names or len(set(names)) < len(names):
        raise BadInput(f"rankings {given}: name at least one, each once")
    return names


def _restorable(
    model: nn.Module, benign: Tensor, adversarial: Tensor, label: Tensor
) -> tuple[Tensor, Tensor]:
    """The answers to the adversarial inputs, and the rows that have something to restore."""
    answers, refused = [], []
    for x in (benign, adversarial):
        parts = [outputs(model, x[a:b], ()).logits for a, b in even_parts(0, len(x), 64)]
        answers.append(torch.cat(parts).argmax(dim=1).to(label.device))
        refused.append(rejected(model, x).to(label.device))
    before, after = answers
    right = (before == label) & ~refused[0]
    rows = torch.nonzero(right & fooled(after, label, refused[1])).flatten()
    if len(rows) == 0:
        held, caught = int(right.sum()), int((right & refused[1]).sum())
        also = f" (its defence rejects {caught} of them, attacked)" if caught else ""
        raise BadInput(
            f"nothing to restore: of {len(label)} inputs the model gets {len(label) - held} wrong "
            f"unattacked, and the attack fools it with none of the other {held}{also}"
        )
    return after, rows


def _dataset(
    parts: Sequence[Carried],
    taps: Sequence[Tap],
    names: Sequence[str],
    rows: Tensor,
    label: Tensor,
    rival: Tensor,
) -> xr.Dataset:
    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    curve, each = ("sample", "tap", "ranking", "place"), ("sample", "tap")
    counts, few = places(taps), joined("smallest")
    variables: dict[str, Any] = {
        "restored": (curve, joined("restored")),
        "implanted": (curve, joined("implanted")),
        "count": (("tap", "place"), counts),
        "smallest": ((*each, "map"), few),
        "smallest_size": (each, few.sum(axis=2)),
        "smallest_random": (each, joined("smallest_random")),
        "label": ("sample", label[rows].cpu().numpy()),
        "rival": ("sample", rival[rows].cpu().numpy()),
    }
    # Controls rank nothing; their scores are missing.
    scores = np.full((*few.shape[:2], len(names) + len(CONTROLS), few.shape[2]), np.nan, np.float32)
    scores[:, :, : len(names)] = joined("scores")
    variables["score"] = ((*curve[:3], "map"), scores)
    for name, prefix in (("restored", ""), ("implanted", "implanted_")):
        values = joined(name)
        variables[f"{prefix}area"] = (curve[:3], area(values, counts[None, :, None]))
        middle, low, high = share(values)
        for word, part in (("share", middle), ("share_low", low), ("share_high", high)):
            variables[f"{prefix}{word}"] = (curve[1:], part)
    coords = {
        "sample": rows.cpu().numpy(),
        "tap": [tap.name for tap in taps],
        "ranking": [*names, *CONTROLS],
        "depth": ("tap", [tap.depth for tap in taps]),
        "maps": ("tap", [tap.shape[0] for tap in taps]),
        "cut": ("tap", np.all([part.cut for part in parts], axis=0)),
    }
    return xr.Dataset(variables, coords)
