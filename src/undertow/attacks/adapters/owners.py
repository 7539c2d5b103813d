"""Whose rows a foreign attack asks about: it may drop, repeat or split the rows it was given."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64

from undertow.errors import BadInput
from undertow.types import Images

__all__ = ["owners"]

CLEARLY = 0.5
"""A row is another sample's if it is nearer to that by this factor."""


def owners(
    rows: Float[torch.Tensor, "row channel height width"], benign: Images, last: Images
) -> Int64[torch.Tensor, " row"]:
    """The sample that each row of a forward call belongs to.

    A row belongs to the sample whose benign input, or whose last input asked about, is nearest
    (L2). A call of as many rows as there are samples keeps their order, unless a row is clearly
    nearer to another sample.

    Args:
        rows: the inputs of one call (row, channel, height, width).
        benign: the inputs of all samples.
        last: what was last asked about each sample.

    Raises:
        BadInput: if a row is as near to two samples; one input at a time always works.
    """
    if len(benign) == 1:
        return torch.zeros(len(rows), dtype=torch.int64)
    flat = rows.flatten(1).float()
    near = torch.minimum(
        torch.cdist(flat, benign.flatten(1).float()), torch.cdist(flat, last.flatten(1).float())
    )
    best, whose = near.min(dim=1)
    if len(rows) == len(benign) and (best >= CLEARLY * near.diagonal()).all():
        return torch.arange(len(rows))
    others = near.scatter(1, whose[:, None], torch.inf).amin(dim=1)
    doubtful = torch.nonzero(others <= best / CLEARLY)
    if len(doubtful):
        row = int(doubtful[0])
        a, b = near[row].topk(2, largest=False).indices.tolist()
        raise BadInput(
            f"cannot tell whether the attack asked about input {a} or {b}; give batch_size=1"
        )
    return whose.cpu()
