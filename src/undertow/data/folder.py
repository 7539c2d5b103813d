"""Your own images: a picture, a folder of them, one subfolder a class, or an ``.npz`` file."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from undertow.data.images import UNLABELLED, ImageSet
from undertow.data.pictures import ENDINGS, read_pictures
from undertow.errors import BadInput
from undertow.progress import SILENT, Progress

__all__ = ["numbers_are_classes", "read_folder", "read_npz"]


def read_folder(
    folder: Path,
    *,
    split: str = "all",
    size: tuple[int, int] | None = None,
    progress: Progress = SILENT,
) -> ImageSet:
    """PNG and JPEG pictures; each subfolder is a class, named and ordered by its name.

    A folder without subfolders that hold pictures is a set without labels, and so is a single
    picture. Subfolders that are all numbers are ordered as numbers. Where the folder has a
    subfolder named like the split (``train``, ``test``, ...), that one is read. Grey pictures give
    one channel if all of them are grey. What cannot be read is left out, with a warning that names
    and counts it.

    Args:
        folder: holds pictures, or one subfolder a class; or is a picture.
        split: which part.
        size: (row, col) that pictures are brought to; ``None``: they must have one size.
        progress: told about every picture.

    Raises:
        BadInput: if there are no pictures, none can be read, or sizes differ.
    """
    root = folder / split if (folder / split).is_dir() else folder
    files, labels, classes = _files(root)
    if not files:
        raise BadInput(
            f"no pictures in {root} (allowed: {', '.join(ENDINGS)} files, or one subfolder a class "
            "that holds them)"
        )
    with progress(f"reading {folder}", len(files), "pictures") as advance:
        found = read_pictures(files, size, advance)
    if not found.pixels:
        rest = f"; and {len(files) - 1} more" if len(files) > 1 else ""
        raise BadInput(f"{found.left_out[0]}{rest}")
    if found.left_out:
        told = "; ".join(found.left_out[:3]) + ("; …" if len(found.left_out) > 3 else "")
        warnings.warn(
            f"{len(found.left_out)} of {len(files)} pictures left out: {told}", stacklevel=2
        )
    pictures = found.pixels
    if all((p == p[:, :, :1]).all() for p in pictures):
        pictures = [p[:, :, :1] for p in pictures]
    files = [files[i] for i in found.kept]
    return ImageSet.from_arrays(
        np.stack(pictures).transpose(0, 3, 1, 2), np.array(labels)[found.kept], classes=classes,
        name=str(folder), split=split, names=[path.name for path in files],
    )  # fmt: skip


@contextmanager
def numbers_are_classes() -> Iterator[None]:
    """While it is open, class folders named by numbers need no warning: they will be matched."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the class folders of")
        yield


def _files(root: Path) -> tuple[list[Path], list[int], list[str]]:
    """Pictures, their labels and the classes; labels are -1 where no subfolder tells them.

    Raises:
        BadInput: if there is no such folder or picture.
    """
    if root.is_file():
        return [root], [UNLABELLED], []
    if not root.is_dir():
        raise BadInput(f"there is no folder {root}")
    loose = _pictures(root)
    names = [p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")]
    numbers = all(name.isdecimal() for name in names)
    classes = sorted(names, key=int) if numbers else sorted(names)
    found = [(path, label) for label, name in enumerate(classes) for path in _pictures(root / name)]
    if not found:
        return loose, [UNLABELLED] * len(loose), []
    if loose:
        warnings.warn(
            f"{len(loose)} pictures beside the class folders of {root} have no label and are left "
            f"out: {', '.join(p.name for p in loose[:3])}{', …' if len(loose) > 3 else ''}",
            stacklevel=3,
        )
    if numbers and [int(name) for name in classes] != list(range(len(classes))):
        warnings.warn(
            f"the class folders of {root} are numbers, but not 0 to {len(classes) - 1}: labels are "
            f"their places ('{classes[0]}' is 0, '{classes[-1]}' {len(classes) - 1}); studies and "
            "commands take the numbers for those of the model's classes",
            stacklevel=3,
        )
    return [path for path, _ in found], [label for _, label in found], classes


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in ENDINGS and p.is_file())


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
