"""Which classes are measured on a model that has many of them."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from undertow.seeds import derive

__all__ = ["LEADING", "LOT", "MANY", "among_which", "drawn_classes", "measured_classes", "spread"]

MANY: Final = 64
"""Classes up to which all are measured."""
LEADING: Final = 16
"""Of more, those with the largest logits, the answer and its runner-up among them."""
LOT: Final = 16
"""Of more, those drawn by lot, the same ones for every input and condition: OIP is over them."""

Classes = Int64[Tensor, "sample part"]


def drawn_classes(classes: int) -> Int64[Tensor, " part"]:
    """The classes that OIP is the mean over, ascending: all, or :data:`LOT` drawn by lot.

    The draw depends on nothing but the number of classes, so that no input, model or condition is
    held against other classes than the next.
    """
    if classes <= MANY:
        return torch.arange(classes)
    order = np.random.default_rng(derive(0, "classes", classes)).permutation(classes)
    return torch.from_numpy(np.sort(order[:LOT]))


def measured_classes(
    logits: Float[Tensor, "sample class"], towards: Int64[Tensor, "sample asked"] | None = None
) -> Classes | None:
    """Classes of each input: the lot, then those that matter to it; ``None`` for all.

    Args:
        logits: of the inputs.
        towards: classes that must be among them, such as the true one and the rival.
    """
    if logits.shape[1] <= MANY:
        return None
    lot = drawn_classes(logits.shape[1]).to(logits.device).expand(len(logits), -1)
    matter = [logits.topk(LEADING, dim=1).indices]
    if towards is not None:
        # Whoever labels a class that there is not hears of it from those who know the labels.
        matter.append(towards.to(logits.device).clamp(0, logits.shape[1] - 1))
    return torch.cat([lot, *matter], dim=1)


def among_which(classes: int) -> str:
    """Over which classes OIP and IOC are, and towards which the flow is known, in words."""
    if classes <= MANY:
        return "all"
    return (
        f"OIP and IOC are over {LOT} of {classes} drawn by lot, the same for every input; the flow "
        f"is measured towards those, the true class, the rival and the {LEADING} likeliest, and is "
        "missing (NaN) towards the others"
    )


def spread(
    values: Float[Tensor, "*sample part"], of: Int64[Tensor, "*#sample part"], classes: int
) -> Float[Tensor, "*sample class"]:
    """Values of a few classes in their places among all, NaN at the others."""
    whole = values.new_full((*values.shape[:-1], classes), torch.nan)
    return whole.scatter_(-1, of.expand(values.shape), values)
