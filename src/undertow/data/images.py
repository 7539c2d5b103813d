"""A set of labelled images: bytes held once, handed out as floats in [0, 1]."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from undertow.errors import BadInput, UnknownName
from undertow.seeds import derive

__all__ = ["SPLITS", "UNLABELLED", "ImageSet", "divide", "held_out_rows"]

UNLABELLED: Final = -1
"""The label of an image whose class nobody told."""


MOST: Final = 100_000
"""Classes that are numbered by themselves, where nobody names them."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images of one split, held as bytes.

    ``data[i]``, ``data[2:8]`` and ``data[[1, 5]]`` give ``(x, y)``: float32 in [0, 1] and int64.
    A subset shares the bytes of the set that it was taken from.

    Args:
        name: the data set's name.
        split: which part of it this is.
        classes: the class names, in the order of the labels.
        stored: (image, channel, height, width), bytes.
        labels: (sample,), from 0 to the number of classes - 1; -1 where nobody told it.
        rows: (sample,), where in ``stored`` each sample lies; ``None``: in order.
        names: what each image of ``stored`` is called, where it has a name.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    stored: UInt8[Tensor, "image channel height width"]
    labels: Int64[Tensor, " sample"]
    rows: Int64[Tensor, " sample"] | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.stored.ndim != 4 or self.stored.dtype != torch.uint8:
            raise BadInput(
                f"images of '{self.name}' are {self.stored.dtype} of shape "
                f"{tuple(self.stored.shape)} (allowed: uint8 of sample, channel, height, width)"
            )
        count = len(self.stored if self.rows is None else self.rows)
        if self.labels.shape != (count,):
            raise BadInput(
                f"'{self.name}' has {count} images and labels of shape "
                f"{tuple(self.labels.shape)} (allowed: one label an image)"
            )
        if len(self.labels):
            low, high = int(self.labels.min()), int(self.labels.max())
            if low < UNLABELLED or high >= len(self.classes):
                raise BadInput(
                    f"labels of '{self.name}' run from {low} to {high} "
                    f"(allowed: 0 to {len(self.classes) - 1}, one a class; {UNLABELLED}: not known)"
                )

    @classmethod
    def from_arrays(
        cls,
        images: Any,
        labels: Any,
        *,
        classes: Sequence[str] | None = None,
        name: str = "arrays",
        split: str = "all",
        names: Sequence[str] = (),
    ) -> ImageSet:
        """A set from arrays or tensors.

        Args:
            images: (sample, channel, height, width); uint8, or floats in [0, 1] (rounded to 1/255).
                Channels may come last, where only so there are one or three of them.
            labels: (sample,), whole numbers from 0.
            classes: class names; numbered where they are not given.
            name: what to call the set.
            split: what to call this part of it.
            names: what each image is called.

        Raises:
            BadInput: if shapes, types or values do not fit.
        """
        pixels = _bytes(np.asarray(images), name)
        numbers = np.asarray(labels)
        if numbers.ndim != 1 or not np.issubdtype(numbers.dtype, np.integer):
            raise BadInput(
                f"labels of '{name}' are {numbers.dtype} of shape {numbers.shape} "
                "(allowed: whole numbers of shape (sample,))"
            )
        if not pixels.size:
            raise BadInput(f"'{name}' has no images (shape {pixels.shape}); give at least one")
        if classes is None and int(numbers.max()) >= MOST:
            raise BadInput(
                f"labels of '{name}' reach {int(numbers.max()):,} (allowed without class names: "
                f"below {MOST:,})"
            )
        if len(numbers) != len(pixels):
            raise BadInput(
                f"'{name}' has {len(pixels)} images and {len(numbers)} labels "
                "(allowed: one label an image)"
            )
        if classes is None:
            classes = [str(c) for c in range(int(numbers.max()) + 1 if len(numbers) else 0)]
        return cls(
            name=name,
            split=split,
            classes=tuple(classes),
            stored=torch.from_numpy(np.array(pixels, order="C")),
            labels=torch.from_numpy(numbers.astype(np.int64)),
            names=tuple(names),
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channel, height, width) of every image."""
        _, channel, height, width = self.stored.shape
        return channel, height, width

    @property
    def images(self) -> UInt8[Tensor, "sample channel height width"]:
        """(sample, channel, height, width), bytes; of a subset, gathered anew each time."""
        return self.pixels(slice(None))

    def pixels(self, which: Any) -> UInt8[Tensor, "chosen channel height width"]:
        """The bytes of the samples at ``which`` (slice, list, array or tensor)."""
        return self._bytes_of(which if isinstance(which, slice) else self._rows(which))

    def _bytes_of(self, chosen: Any) -> Tensor:
        return self.stored[chosen if self.rows is None else self.rows[chosen]]

    def __getitem__(self, which: Any) -> tuple[Tensor, Tensor]:
        if isinstance(which, slice):
            chosen: Any = which
        elif hasattr(which, "__len__"):
            chosen = self._rows(which)
        else:
            chosen = self._rows([operator.index(which)])[0]
        return self._bytes_of(chosen).float().div_(255), self.labels[chosen].clone()

    def subset(self, which: Any, split: str | None = None) -> ImageSet:
        """The rows of ``which`` (slice, list, array or tensor) as a set of their own."""
        chosen = which if isinstance(which, slice) else self._rows(which)
        rows = torch.arange(len(self)) if self.rows is None else self.rows
        return replace(
            self, split=split or self.split, labels=self.labels[chosen], rows=rows[chosen]
        )

    def before(self, other: ImageSet) -> ImageSet:
        """These images, and those of another set after them, with the other's classes.

        Labels go by the names of classes; grey images beside coloured ones have three equal
        channels.

        Raises:
            BadInput: for images of another size.
            UnknownName: for a class that the other set does not have.
        """
        if self.shape[0] == 1 and other.shape[0] == 3:
            return self.coloured().before(other)
        if self.shape != other.shape:
            ours, theirs = (" x ".join(map(str, s.shape)) for s in (self, other))
            raise BadInput(f"'{self.name}' has images of {ours}, '{other.name}' of {theirs}")
        known = {name: i for i, name in enumerate(other.classes)}
        for name in self.classes:
            if name not in known:
                raise UnknownName(f"class of '{self.name}'", name, other.classes)
        to = torch.tensor([*(known[name] for name in self.classes), UNLABELLED])
        names = [self.called(i) for i in range(len(self))]
        names += [other.called(i) for i in range(len(other))]
        return ImageSet(
            name=self.name, split=self.split, classes=other.classes, names=tuple(names),
            stored=torch.cat([self.images, other.images]),
            labels=torch.cat([to[self.labels], other.labels]),
        )  # fmt: skip

    def coloured(self) -> ImageSet:
        """Grey images with three equal channels."""
        return replace(self, stored=self.images.expand(-1, 3, -1, -1).contiguous(), rows=None)

    def called(self, row: int) -> str:
        """What one image is called: its file's name, or the set's name and its place."""
        if not self.names:
            return f"{self.name}:{row}"
        return self.names[row if self.rows is None else int(self.rows[row])]

    def _rows(self, which: Any) -> Tensor:
        rows = torch.as_tensor(which)
        if rows.dtype == torch.bool:
            if rows.shape != self.labels.shape:
                raise BadInput(f"a mask of {len(rows)} for {len(self)} images of '{self.name}'")
            return rows.nonzero().flatten()
        if len(rows) == 0:
            return rows.long()
        if rows.is_floating_point() or int(rows.min()) < -len(self) or int(rows.max()) >= len(self):
            raise BadInput(
                f"no image {which} in the {self.split} split of '{self.name}' "
                f"(allowed: 0 to {len(self) - 1})"
            )
        return rows.long() % len(self)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of classes, shape, labels and pixels."""
        digest = sha256(repr((self.classes, (len(self), *self.shape))).encode())
        digest.update(self.labels.numpy().tobytes())
        for start in range(0, len(self), 4096):
            digest.update(self.pixels(slice(start, start + 4096)).numpy().tobytes())
        return digest.hexdigest()


def _bytes(images: np.ndarray, name: str) -> np.ndarray:
    if images.ndim != 4:
        raise BadInput(
            f"images of '{name}' have shape {images.shape} "
            "(allowed: sample, channel, height, width)"
        )
    colours = (1, 3)
    if images.shape[1] not in colours and images.shape[3] in colours:
        images = images.transpose(0, 3, 1, 2)
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise BadInput(
            f"images of '{name}' are {images.dtype} (allowed: uint8, or floats in [0, 1])"
        )
    if images.size and not (images.min() >= 0 and images.max() <= 1):
        raise BadInput(
            f"images of '{name}' lie between {images.min():.3g} and {images.max():.3g} "
            "(allowed: floats in [0, 1], or uint8)"
        )
    rounded: np.ndarray = np.rint(images * 255).astype(np.uint8)
    return rounded


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
    if bool((train.labels == UNLABELLED).any()):
        raise BadInput(
            f"'{train.name}' has no labels to divide it by (allowed: one subfolder a class)"
        )
    held = held_out_rows(train.labels.numpy(), share, train.name)
    if split == "held_out":
        return train.subset(held, split)
    return train.subset(np.setdiff1d(np.arange(len(train)), held), split)
