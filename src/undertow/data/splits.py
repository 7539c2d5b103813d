"""The fixed division of a training split: one part to fit, one held out for every choice."""

from __future__ import annotations

import numpy as np

from undertow.data.images import ImageSet
from undertow.errors import UnknownName
from undertow.seeds import derive

__all__ = ["SPLITS", "divide", "held_out_rows"]

SPLITS = ("train", "fit", "held_out", "test")
"""``fit`` and ``held_out`` are disjoint and together make up ``train``."""


def held_out_rows(labels: np.ndarray, share: float, name: str) -> np.ndarray:
    """Rows to hold out: the same share of every class, the same rows on every machine.

    Args:
        labels: (sample,).
        share: between 0 and 1.
        name: the data set's name; it seeds the draw.

    Returns:
        Sorted row numbers, shape (held,).
    """
    generator = np.random.default_rng(derive(0, "held_out", name))
    rows = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    held = [generator.permutation(r)[: round(share * len(r))] for r in rows]
    return np.sort(np.concatenate(held))


def divide(train: ImageSet, split: str, share: float = 0.1) -> ImageSet:
    """``train`` itself, or its part ``fit`` or ``held_out``.

    Raises:
        UnknownName: if there is no such split.
    """
    if split == "train":
        return train
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    held = held_out_rows(train.labels.numpy(), share, train.name)
    if split == "held_out":
        return train.subset(held, split)
    return train.subset(np.setdiff1d(np.arange(len(train)), held), split)
