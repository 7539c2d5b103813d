"""Images kept as what changed, for attacks that change few components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["Changes"]

Bases: TypeAlias = Float[Tensor, "base channel height width"]
Records: TypeAlias = Float[Tensor, "record channel height width"]


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """Images as differences from benign ones: eight to twelve bytes a changed component.

    Args:
        base: the benign images.
        owner: which benign image a record starts from.
        counts: how many components each record changes.
        index: the changed components, as indices into the flattened image, record by record.
        value: what they are now.
    """

    base: Bases
    owner: Int64[Tensor, " record"]
    counts: Int64[Tensor, " record"]
    index: Int64[Tensor, " change"]
    value: Float[Tensor, " change"]

    @classmethod
    def of(cls, images: Records, base: Bases, owner: Int64[Tensor, " record"]) -> Changes:
        """What differs between ``images`` and ``base[owner]``."""
        flat = images.flatten(1)
        changed = flat != base.flatten(1)[owner]
        index = torch.nonzero(changed)[:, 1]
        return cls(base, owner, changed.sum(dim=1), index, flat[changed])

    @classmethod
    def joined(cls, parts: Sequence[Changes], base: Bases) -> Changes:
        """One after the other; all their owners count in ``base``."""
        return cls(
            base,
            torch.cat([p.owner for p in parts]),
            torch.cat([p.counts for p in parts]),
            torch.cat([p.index for p in parts]),
            torch.cat([p.value for p in parts]),
        )

    def __len__(self) -> int:
        return len(self.owner)

    def _places(self, records: Int64[Tensor, " record"]) -> Int64[Tensor, " change"]:
        """Where the changes of these records stand."""
        counts = self.counts[records]
        starts = (self.counts.cumsum(0) - self.counts)[records]
        within = torch.arange(int(counts.sum())) - (counts.cumsum(0) - counts).repeat_interleave(
            counts
        )
        return starts.repeat_interleave(counts) + within

    def take(self, records: Int64[Tensor, " record"]) -> Changes:
        """Some records, in this order."""
        at = self._places(records)
        return Changes(
            self.base, self.owner[records], self.counts[records], self.index[at], self.value[at]
        )

    def moved(self, owner: Int64[Tensor, " record"], base: Bases) -> Changes:
        """The same changes, the benign images being known by other numbers."""
        return Changes(base, owner, self.counts, self.index, self.value)

    def dense(self, records: Int64[Tensor, " record"] | None = None) -> Records:
        """The images themselves, of all records or of some."""
        part = self if records is None else self.take(records)
        flat = part.base[part.owner].flatten(1)
        row = torch.arange(len(part)).repeat_interleave(part.counts)
        flat[row, part.index] = part.value
        return flat.view(len(part), *part.base.shape[1:])
