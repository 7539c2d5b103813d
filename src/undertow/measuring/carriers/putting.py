"""Putting maps back, and into the benign run: which answers return, which come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from undertow.measuring.carriers.compared import Compared
from undertow.models.devices import even_parts
from undertow.taps.replace import Rest
from undertow.types import Labels, Logits, Tap

__all__ = ["Sides", "counts_of", "first", "matched"]

BYTES = 24 * 2**20
"""Of maps put in at once: about what stays in a processor's cache with what is computed of them."""


def counts_of(maps: int) -> tuple[int, ...]:
    """Numbers of maps that are put back: powers of two, a quarter, all of them."""
    powers = {2**k for k in range(maps.bit_length())}
    return tuple(sorted({n for n in powers if n <= maps} | {quarter(maps), maps}))


def quarter(maps: int) -> int:
    """A quarter of the maps, rounded up."""
    return -(-maps // 4)


def first(
    scores: Float[Tensor, "*batch map"], counts: Sequence[int]
) -> Bool[Tensor, "*batch count map"]:
    """The maps with the largest scores, for each number of them; ties go to the first map."""
    place = scores.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    return place[..., None, :] < torch.tensor(counts, device=scores.device)[:, None]


def matched(
    chosen: Bool[Tensor, "sample count map"],
    change: Float[Tensor, "sample map"],
    order: Float[Tensor, "draw sample map"],
) -> Bool[Tensor, "draw sample count map"]:
    """Random maps that together changed as much as the chosen ones, in the Euclidean norm.

    Maps in random order, as many as come nearest to it.

    Args:
        chosen: the maps of a ranking.
        change: the norm of the change of each map.
        order: random numbers, the largest first.
    """
    # In double precision: a map that changed by next to nothing is still one map more.
    squares = change.double().square()
    wanted = (squares[:, None] * chosen).sum(dim=-1)
    by = order.argsort(dim=-1, descending=True, stable=True)
    gone = squares.expand_as(order).gather(-1, by).cumsum(dim=-1)
    gone = torch.cat([torch.zeros_like(gone[..., :1]), gone], dim=-1)
    short = (gone[:, :, None] - wanted[None, :, :, None]).abs()
    number = short.argmin(dim=-1)
    place = by.argsort(dim=-1)
    return place[:, :, None] < number[..., None]


@dataclass(slots=True, eq=False)
class Sides:
    """A tap from both sides: benign maps into the adversarial run, and the other way round.

    Args:
        pair: inputs and adversarial ones.
        tap: where maps are put in.
    """

    pair: Compared
    tap: Tap
    _back: Rest
    _into: Rest

    @classmethod
    def of(cls, pair: Compared, tap: Tap) -> Sides:
        """Get ready to put maps in at a tap."""
        model, x, worse = pair.model, pair.benign, pair.adversarial
        return cls(
            pair, tap,
            Rest(model, tap, worse, pair.at_adversarial, x[:1]),
            Rest(model, tap, x, pair.at_benign, worse[:1]),
        )  # fmt: skip

    @property
    def cut(self) -> bool:
        """Whether all that the logits know of the input passes here."""
        return self._back.cut and self._into.cut

    def restored(
        self, maps: Bool[Tensor, "row map"], rows: Int64[Tensor, " row"]
    ) -> Bool[Tensor, " row"]:
        """Whether the true label returns when these maps are put back."""
        return self._answers(maps, rows, self.pair.label, back=True)

    def implanted(
        self, maps: Bool[Tensor, "row map"], rows: Int64[Tensor, " row"]
    ) -> Bool[Tensor, " row"]:
        """Whether the rival's label comes when these maps are put into the benign run."""
        return self._answers(maps, rows, self.pair.rival, back=False)

    def _answers(self, maps: Tensor, rows: Tensor, wanted: Labels, *, back: bool) -> Tensor:
        found = self.logits(maps, rows, back=back).argmax(dim=1)
        return found == wanted.to(found.device)[rows.to(found.device)]

    def logits(self, maps: Tensor, rows: Tensor, *, back: bool = True) -> Logits:
        """Logits of runs in which some maps are those of the other input.

        Args:
            maps: which ones, (row, map).
            rows: the input of each run.
            back: benign maps into the adversarial run; else the other way round.
        """
        benign = self.pair.at_benign.maps[self.tap.name]
        adversarial = self.pair.at_adversarial.maps[self.tap.name]
        rest, own, other = (
            (self._back, adversarial, benign) if back else (self._into, benign, adversarial)
        )
        some = max(1, BYTES // (own[0].numel() * own.element_size()))
        rows, maps = rows.to(own.device), maps.to(own.device)
        parts = []
        for start, stop in even_parts(0, len(rows), some):
            row = rows[start:stop]
            mask = maps[start:stop].reshape(stop - start, -1, *(1,) * (own.ndim - 2))
            parts.append(rest(torch.where(mask, other[row], own[row]), row))
        return torch.cat(parts)
