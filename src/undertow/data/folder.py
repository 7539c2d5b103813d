"""Your own images: a picture, a folder of them, one subfolder a class, or an ``.npz`` file."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.data.images import UNLABELLED, ImageSet
from undertow.data.pictures import ENDINGS, read_pictures
from undertow.errors import BadInput, shown
from undertow.loading import is_file, is_folder
from undertow.progress import SILENT, Progress

LARGEST: Final = 2**34
"""Bytes of an array that are unpacked: 16 GiB."""

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
    one channel if all of them are grey. Pictures are turned as their camera says; transparent ones
    are laid on white. What cannot be read, hidden files, other files and deeper folders are left
    out. Of each of these a warning counts how many and names the first.

    Args:
        folder: holds pictures, or one subfolder a class; or is a picture.
        split: which part.
        size: (row, col) that pictures are brought to; ``None``: they must have one size.
        progress: told about every picture.

    Raises:
        BadInput: if there are no pictures, none can be read, or sizes differ.
    """
    root = folder / split if is_folder(folder / split) else folder
    files, labels, classes = _files(root)
    _tell(_passed_over(root, classes), f"no pictures, and passed over in {root}")
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
    _tell(found.left_out, f"of {len(files)} pictures left out")
    _tell(found.see_through, f"of {len(files)} pictures are transparent, and laid on white")
    pictures = found.pixels
    if all((p == p[:, :, :1]).all() for p in pictures):
        pictures = [p[:, :, :1] for p in pictures]
    files = [files[i] for i in found.kept]
    return ImageSet.from_arrays(
        np.stack(pictures).transpose(0, 3, 1, 2), np.array(labels)[found.kept], classes=classes,
        name=str(folder), split=split, names=[path.name for path in files],
    )  # fmt: skip


def _tell(things: Sequence[str], what: str) -> None:
    """A warning of how many they are, and which come first."""
    if things:
        told = "; ".join(things[:3]) + ("; …" if len(things) > 3 else "")
        warnings.warn(f"{len(things)} {what}: {told}", stacklevel=3)


def _passed_over(root: Path, classes: Sequence[str]) -> list[str]:
    """What lies where pictures are looked for, and is none: other files, hidden ones, depths."""
    if is_file(root):
        return []
    folders = [root / name for name in classes] or [root]
    found = [p for p in root.iterdir() if classes and not _is_picture(p) and p.name not in classes]
    found += [p for folder in folders for p in folder.iterdir() if not _is_picture(p)]
    return sorted(f"{p.relative_to(root)}{'/' * p.is_dir()}" for p in found)


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
    if is_file(root):
        return [root], [UNLABELLED], []
    if not is_folder(root):
        raise BadInput(f"there is no folder {shown(str(root))}")
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
    return sorted(p for p in folder.iterdir() if _is_picture(p))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and path.is_file() and not path.name.startswith(".")


def _believable(path: Path) -> None:
    """Whether each array is as large as its header says, told before any is unpacked.

    Raises:
        BadInput: for a header that asks for more, or less, than its member holds.
    """
    with zipfile.ZipFile(path) as members:
        for member in members.infolist():
            if not member.filename.endswith(".npy"):
                continue
            with members.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read(file)
                held, asked = member.file_size - file.tell(), math.prod(shape) * dtype.itemsize
            if held != asked and not dtype.hasobject:
                raise BadInput(
                    f"{path}: {member.filename} says {asked:,} bytes {shape} and holds {held:,}"
                )
            if held > LARGEST:
                raise BadInput(
                    f"{path}: {member.filename} has {held:,} bytes (allowed: {LARGEST:,}); give a "
                    "part of it"
                )


def _classes(path: Path, told: NDArray[Any]) -> list[str]:
    if told.ndim != 1:
        raise BadInput(
            f"{path}: classes have shape {told.shape} (allowed: a name for each class, in a row)"
        )
    return [str(c) for c in told]


def read_npz(path: Path, *, split: str = "all") -> ImageSet:
    """Arrays ``images`` and ``labels`` (and ``classes``, if there) of an ``.npz`` file.

    Where the file has ``images_SPLIT`` and ``labels_SPLIT``, those are read. See
    :meth:`ImageSet.from_arrays` for shapes and values.

    Raises:
        BadInput: if the file is damaged or an array is missing.
    """
    if not is_file(path):
        raise BadInput(f"there is no file {shown(str(path))}")
    try:
        _believable(path)
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            tail = f"_{split}" if f"images_{split}" in arrays else ""
            missing = [n for n in ("images", "labels") if f"{n}{tail}" not in arrays]
            if missing:
                raise BadInput(
                    f"{path} holds {', '.join(arrays.files) or 'nothing'} "
                    f"(needed: images{tail} and labels{tail})"
                )
            images, labels = arrays[f"images{tail}"], arrays[f"labels{tail}"]
            classes = _classes(path, arrays["classes"]) if "classes" in arrays else None
    except BadInput:
        raise
    except Exception as error:  # whatever a damaged file makes zip, zlib or numpy raise
        why = " ".join(str(error).split())[:160] or type(error).__name__
        raise BadInput(f"{path} is not an .npz file of plain arrays: {why}") from None
    return ImageSet.from_arrays(images, labels, classes=classes, name=str(path), split=split)
