"""What the maps of each tap carry, for one batch: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from undertow.errors import BadInput
from undertow.measuring.carriers import CONTROLS, RANKINGS
from undertow.measuring.carriers.compared import Compared
from undertow.measuring.carriers.putting import Sides, counts_of, first, matched
from undertow.measuring.carriers.smallest import smallest
from undertow.taps.replace import close, outputs
from undertow.types import Draws, Images, Labels, Tap

__all__ = ["REPEATS", "Carried", "carry", "places", "rows_at_once"]

REPEATS = 4
"""Random orders of the maps of an input, over which controls are averaged."""
MOST, BYTES = 64, 512 * 2**20
"""Inputs at once, and what their maps, changes and slopes at all taps may take."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Carried:
    """What the maps of every tap carry. Shares are over random orders; 0 or 1 without any.

    Args:
        count: how many maps are put back at each place of a curve, (tap, place); -1 beyond.
        restored: whether the true label returns with the first maps of each ranking, then with
            those of the controls, (sample, tap, ranking, place).
        implanted: whether the rival's label comes when they are put into the benign run, likewise.
        scores: of each ranking, (sample, tap, ranking, map); NaN beyond a tap's maps.
        smallest: the maps of the smallest set that was found to suffice, (sample, tap, map).
        smallest_random: how many maps the same search leaves in a random order, (sample, tap).
        cut: whether all that the logits know of the input passes at a tap, (tap,).
    """

    count: NDArray[np.int64]
    restored: NDArray[np.float32]
    implanted: NDArray[np.float32]
    scores: NDArray[np.float32]
    smallest: NDArray[np.bool_]
    smallest_random: NDArray[np.int64]
    cut: NDArray[np.bool_]


def places(taps: Sequence[Tap]) -> NDArray[np.int64]:
    """How many maps are put back at each place of the curve of each tap, (tap, place)."""
    counts = [counts_of(tap.shape[0]) for tap in taps]
    out = np.full((len(taps), max(map(len, counts))), -1, dtype=np.int64)
    for row, numbers in zip(out, counts, strict=True):
        row[: len(numbers)] = numbers
    return out


def rows_at_once(taps: Sequence[Tap]) -> int:
    """How many inputs are looked at at once."""
    each = sum(int(np.prod(tap.shape)) for tap in taps) * 4 * 8
    return max(1, min(MOST, BYTES // each))


def carry(
    model: nn.Module,
    taps: Sequence[Tap],
    benign: Images,
    adversarial: Images,
    label: Labels,
    rival: Labels,
    *,
    rankings: Sequence[str],
    draws: Draws,
    repeats: int = REPEATS,
) -> Carried:
    """Rank the maps of every tap, put the first ones back, and see whose label returns.

    Args:
        model: in evaluation mode.
        taps: where maps are put back.
        benign: inputs that the model gets right.
        adversarial: what an attack made of them, which it gets wrong.
        label: true classes.
        rival: the classes that it gives the adversarial ones.
        rankings: names in :data:`undertow.measuring.carriers.RANKINGS`; the first is the one whose
            smallest sets are searched, and whose change random maps are matched to.
        draws: random numbers of the inputs.
        repeats: random orders of each.

    Raises:
        BadInput: if the answer to an input depends on the others in its batch, or differs from
            call to call; if a ranking gives another shape than (sample, map).
        UnknownName: for a ranking that is not registered.
    """
    functions = [RANKINGS[name] for name in rankings]
    pair = Compared(model, taps, benign, adversarial, label, rival)
    _steady(pair)
    count = places(taps)
    shape = (len(label), len(taps), len(rankings) + len(CONTROLS), count.shape[1])
    widest = max(tap.shape[0] for tap in taps)
    restored, implanted = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    scores = np.full((*shape[:2], len(rankings), widest), np.nan, np.float32)
    few = np.zeros((*shape[:2], widest), dtype=bool)
    few_random, cut = np.zeros(shape[:2], dtype=np.int64), np.zeros(len(taps), dtype=bool)
    for k, tap in enumerate(taps):
        maps, sides = tap.shape[0], Sides.of(pair, tap)
        order = _orders(draws, k, repeats, maps)
        own = [_checked(f(pair, tap), name, pair, tap)
               for f, name in zip(functions, rankings, strict=True)]  # fmt: skip
        curves = _curves(sides, _masks(pair, tap, own, order, count[k][count[k] > 0].tolist()))
        for whole, part in zip((restored, implanted), curves, strict=True):
            whole[:, k, :, : part.shape[2]] = part
        for number, found in enumerate(own):
            scores[:, k, number, :maps] = found.numpy()
        few[:, k, :maps] = smallest(sides, own[0]).numpy()
        few_random[:, k] = smallest(sides, order[0]).sum(dim=1).numpy()
        cut[k] = sides.cut
    return Carried(
        count=count, restored=restored, implanted=implanted, scores=scores, smallest=few,
        smallest_random=few_random, cut=cut,
    )  # fmt: skip


def _steady(pair: Compared) -> None:
    """Refuse a model that gives an input another answer alone than among others."""
    both = torch.cat([pair.adversarial[:1], pair.benign[:1]])
    alone, beside = (outputs(pair.model, x, ()).logits[:1] for x in (both[:1], both))
    if not (close(alone, beside) and close(alone, pair.at_adversarial.logits[:1])):
        raise BadInput(
            "the model's answer to an input depends on the others in its batch, or differs from "
            "call to call; what maps carry cannot be told of it"
        )


def _orders(draws: Draws, tap: int, repeats: int, maps: int) -> Tensor:
    """Random orders, the input's own, other ones at each tap: (draw, sample, map)."""
    own = Draws(draws.seeds ^ (0xCA221E2 + (tap << 32)))
    return own.uniform((repeats, maps)).transpose(0, 1)


def _checked(found: Tensor, name: str, pair: Compared, tap: Tap) -> Tensor:
    wanted = (len(pair.label), tap.shape[0])
    if not isinstance(found, Tensor) or tuple(found.shape) != wanted:
        got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise BadInput(f"ranking '{name}' gives {got} at tap '{tap.name}' (allowed: {wanted})")
    return found.detach().float().cpu()


def _masks(
    pair: Compared, tap: Tap, own: Sequence[Tensor], order: Tensor, counts: Sequence[int]
) -> list[Tensor | None]:
    """The maps of each ranking and control, (draw, sample, count, map); none where it has none."""
    moved = pair.change(tap)
    size = (moved.flatten(2).norm(dim=2) if moved.ndim > 2 else moved.abs()).cpu()
    chosen: list[Tensor | None] = [
        None if bool(scores.isnan().any()) else first(scores, counts)[None] for scores in own
    ]
    like = chosen[0]
    return [
        *chosen,
        first(order, counts),
        None if like is None else matched(like[0], size, order),
    ]


def _curves(
    sides: Sides, masks: Sequence[Tensor | None]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """In which share of its draws each input has the answer asked for, put back and implanted.

    Shape (sample, ranking, count); all maps, the last count, are the same ones in every ranking.
    """
    there = [mask for mask in masks if mask is not None]
    some = torch.cat([mask[:, :, :-1].flatten(0, 2) for mask in there])
    _, samples, counts, maps = there[0].shape
    rows = [torch.arange(samples)[None, :, None].expand(len(m), -1, counts - 1).flatten()
            for m in there]  # fmt: skip
    every = torch.ones(samples, maps, dtype=torch.bool)
    asked, of = torch.cat([some, every]), torch.cat([*rows, torch.arange(samples)])
    curves = []
    for ask in (sides.restored, sides.implanted):
        parts = torch.split(ask(asked, of).float().cpu(), [*map(len, rows), samples])
        curve = np.full((samples, len(masks), counts), np.nan, np.float32)
        for number, mask in enumerate(masks):
            if mask is not None:
                curve[:, number, -1] = parts[-1]
        numbers = [number for number, mask in enumerate(masks) if mask is not None]
        for number, part, mask in zip(numbers, parts[:-1], there, strict=True):
            shares = part.reshape(len(mask), samples, counts - 1).mean(dim=0)
            curve[:, number, :-1] = shares
        curves.append(curve)
    return curves[0], curves[1]
