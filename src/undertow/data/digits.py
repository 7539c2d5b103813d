"""Handwritten digits that come with scikit-learn: no network, no files."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from undertow.data.images import SPLITS, ImageSet, divide, held_out_rows
from undertow.errors import UnknownName
from undertow.progress import Progress

__all__ = ["digits"]


@lru_cache(maxsize=1)
def _all() -> tuple[np.ndarray, np.ndarray]:
    """Images (sample, 16, 16) as bytes and labels.

    The originals are 8 x 8 with values 0 to 16. They are doubled (linear interpolation between
    pixel centres, in whole numbers), so that a network can pool and its maps still have positions
    to sample.
    """
    from sklearn.datasets import load_digits

    loaded = load_digits()
    small = loaded.images.astype(np.int64)
    big = _doubled(_doubled(small, 1), 2)  # in units of 1/16 of 1/16
    pixels = (big * 255 + 128) // 256
    return pixels[:, None].astype(np.uint8), loaded.target.astype(np.int64)


def _doubled(values: np.ndarray, axis: int) -> np.ndarray:
    """Four times the values at a quarter and three quarters of each pixel along an axis."""
    rows = np.moveaxis(values, axis, 0)
    before = np.concatenate([rows[:1], rows[:-1]])
    after = np.concatenate([rows[1:], rows[-1:]])
    both = np.stack([3 * rows + before, 3 * rows + after], axis=1)
    return np.moveaxis(both.reshape(-1, *rows.shape[1:]), 0, axis)


def digits(split: str, data_dir: Path | None, progress: Progress) -> ImageSet:
    """The digits: 1,438 to train, 359 to test, the same on every machine.

    Args:
        split: one of :data:`undertow.data.images.SPLITS`.
        data_dir: not needed; the digits are built in.
        progress: not needed.
    """
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    images, labels = _all()
    test = held_out_rows(labels, 0.2, "digits/test")
    rows = test if split == "test" else np.setdiff1d(np.arange(len(labels)), test)
    part = ImageSet.from_arrays(
        images[rows],
        labels[rows],
        classes=[str(d) for d in range(10)],
        name="digits",
        split="test" if split == "test" else "train",
    )
    return part if split == "test" else divide(part, split)
