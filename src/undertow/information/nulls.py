"""Nulls: what an estimate gives where there is nothing to find.

A null replaces the counterpart of the maps (the input for S, the evidence maps for T) by R others
that cannot be related to them. Smooth maps share samples with their neighbours, so two unrelated
smooth images still read above zero; a null that keeps the smoothness (``mismatch``, ``shift``)
measures this, one that destroys it (``shuffle``) does not.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.errors import BadInput
from undertow.types import Draws

__all__ = ["REPEATS", "Null", "mismatch", "shift", "shuffle"]

REPEATS = 8
"""Replacements a sample where no references say how many."""

Counterpart = Float[Tensor, "sample part row col"]
Unrelated = Float[Tensor, "group repeat part row col"]
"""Replacements; ``group`` is the sample, or 1 where all samples share them."""


@runtime_checkable
class Null(Protocol):
    """Makes counterparts that have nothing to do with the maps."""

    def __call__(
        self,
        counterpart: Counterpart,
        references: Float[Tensor, "reference part row col"] | None,
        draws: Draws | None,
    ) -> Unrelated:
        """Replacements of ``counterpart``, as many a sample as there are references."""
        ...


def mismatch(
    counterpart: Counterpart,
    references: Float[Tensor, "reference part row col"] | None,
    draws: Draws | None = None,
) -> Unrelated:
    """The counterparts of other, benign inputs, the same for every sample.

    Raises:
        BadInput: without references.
    """
    if references is None or len(references) == 0:
        raise BadInput("the mismatch null needs reference inputs, got none (8 is usual)")
    return references[None]


def shift(
    counterpart: Counterpart,
    references: Float[Tensor, "reference part row col"] | None,
    draws: Draws | None,
    repeats: int | None = None,
) -> Unrelated:
    """The sample's own counterpart, moved around the torus by random offsets, never by (0, 0)."""
    rows, cols = counterpart.shape[-2:]
    repeats = _repeats(references) if repeats is None else repeats
    uniform = _drawn(draws, counterpart, "shift").uniform((repeats,))
    # Offset 0 is the identity; positions in row-major order name all others.
    offset = 1 + (uniform.double() * (rows * cols - 1)).long().clamp(max=rows * cols - 2)
    down, right = (offset // cols)[..., None], (offset % cols)[..., None]
    row = (torch.arange(rows) - down) % rows
    col = (torch.arange(cols) - right) % cols
    order = (row[..., :, None] * cols + col[..., None, :]).flatten(-2)
    return _reordered(counterpart, order)


def shuffle(
    counterpart: Counterpart,
    references: Float[Tensor, "reference part row col"] | None,
    draws: Draws | None,
) -> Unrelated:
    """The sample's own counterpart, its positions in random order (one order for all parts)."""
    rows, cols = counterpart.shape[-2:]
    repeats = _repeats(references)
    order = _drawn(draws, counterpart, "shuffle").uniform((repeats, rows * cols)).argsort(dim=-1)
    return _reordered(counterpart, order)


def _repeats(references: Tensor | None) -> int:
    return REPEATS if references is None else len(references)


def _drawn(draws: Draws | None, counterpart: Tensor, name: str) -> Draws:
    if draws is None or len(draws) != len(counterpart):
        given = "none" if draws is None else str(len(draws))
        raise BadInput(f"the {name} null needs draws for {len(counterpart)} samples, got {given}")
    return draws


def _reordered(counterpart: Counterpart, order: Tensor) -> Unrelated:
    """``order``: (sample, repeat, position), the source of each position."""
    sample, part, rows, cols = counterpart.shape
    repeats = order.shape[1]
    index = order.to(counterpart.device)[:, :, None].expand(sample, repeats, part, rows * cols)
    flat = counterpart.flatten(2)[:, None].expand(sample, repeats, part, rows * cols)
    return flat.gather(3, index).reshape(sample, repeats, part, rows, cols)
