"""Your own images: a folder with one subfolder a class, or an ``.npz`` file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

import numpy as np

from undertow.data.images import ImageSet
from undertow.errors import BadInput
from undertow.progress import SILENT, Progress

__all__ = ["read_folder", "read_npz"]

ENDINGS: Final = (".png", ".jpg", ".jpeg")
PIXELS: Final = 4096 * 4096
"""The largest picture that is opened."""
BYTES: Final = 8 * 2**30
"""The largest set that is held in memory."""


def read_folder(folder: Path, *, split: str = "all", progress: Progress = SILENT) -> ImageSet:
    """PNG and JPEG pictures; each subfolder is a class, named and ordered by its name.

    Where the folder has a subfolder named like the split (``train``, ``test``, ...), that one is
    read. All pictures must have one size; grey pictures give one channel if all of them are grey.

    Args:
        folder: holds one subfolder a class.
        split: which part.
        progress: told about every picture.

    Raises:
        BadInput: if there are no pictures, one cannot be read, or sizes differ.
    """
    root = folder / split if (folder / split).is_dir() else folder
    if not root.is_dir():
        raise BadInput(f"there is no folder {folder}")
    classes = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((root / name).iterdir())
        if path.suffix.lower() in ENDINGS
    ]
    if not files:
        raise BadInput(
            f"no pictures in {root} (allowed: one subfolder a class, holding "
            f"{', '.join(ENDINGS)} files)"
        )
    pictures: list[np.ndarray] = []
    with progress(f"reading {folder}", len(files), "pictures") as advance:
        for path, _ in files:
            pictures.append(_picture(path))
            if pictures[-1].shape[:2] != pictures[0].shape[:2]:
                first, this = pictures[0].shape[:2], pictures[-1].shape[:2]
                raise BadInput(
                    f"{path} is {this[0]} x {this[1]}, {files[0][0]} is {first[0]} x {first[1]} "
                    "(allowed: pictures of one size)"
                )
            if len(files) * pictures[0].nbytes > BYTES:
                raise BadInput(f"the pictures in {root} need more than {BYTES // 2**30} GiB")
            advance()
    if all((p == p[:, :, :1]).all() for p in pictures):
        pictures = [p[:, :, :1] for p in pictures]
    images = np.stack(pictures).transpose(0, 3, 1, 2)
    labels = np.array([label for _, label in files])
    return ImageSet.from_arrays(images, labels, classes=classes, name=str(folder), split=split)


def _picture(path: Path) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG", "JPEG"]) as picture:
            if picture.width * picture.height > PIXELS:
                raise BadInput(
                    f"{path} is {picture.width} x {picture.height} (allowed: {PIXELS:,} pixels)"
                )
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput(f"{path} is not a picture that can be read: {error}") from None


def read_npz(path: Path, *, split: str = "all") -> ImageSet:
    """Arrays ``images`` and ``labels`` (and ``classes``, if there) of an ``.npz`` file.

    Where the file has ``images_SPLIT`` and ``labels_SPLIT``, those are read. See
    :meth:`ImageSet.from_arrays` for shapes and values.

    Raises:
        BadInput: if the file is damaged or an array is missing.
    """
    if not path.is_file():
        raise BadInput(f"there is no file {path}")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            tail = f"_{split}" if f"images_{split}" in arrays else ""
            missing = [n for n in ("images", "labels") if f"{n}{tail}" not in arrays]
            if missing:
                raise BadInput(
                    f"{path} holds {', '.join(arrays.files) or 'nothing'} "
                    f"(needed: images{tail} and labels{tail})"
                )
            images, labels = arrays[f"images{tail}"], arrays[f"labels{tail}"]
            classes = [str(c) for c in arrays["classes"]] if "classes" in arrays else None
    except (OSError, EOFError, zipfile.BadZipFile, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{path} is not an .npz file of plain arrays: {error}") from None
    return ImageSet.from_arrays(images, labels, classes=classes, name=str(path), split=split)
