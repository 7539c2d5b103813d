"""Data sets: labelled images, verified, cached, in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from undertow.data.cache import cache_dir
from undertow.data.folder import read_folder, read_npz
from undertow.data.images import SPLITS, UNLABELLED, ImageSet, divide
from undertow.data.pictures import ENDINGS
from undertow.data.registry import DATASETS, DataSource
from undertow.errors import UnknownName, of_kind
from undertow.loading import home, is_folder, is_source, there
from undertow.progress import SILENT, Progress

__all__ = [
    "DATASETS",
    "SPLITS",
    "UNLABELLED",
    "DataSource",
    "ImageSet",
    "cache_dir",
    "listing",
    "load_data",
]


def load_data(
    name: str,
    split: str = "test",
    *,
    data_dir: str | Path | None = None,
    size: tuple[int, int] | None = None,
    progress: Progress = SILENT,
) -> ImageSet:
    """A data set by name, or your own images.

    Args:
        name: a name in :data:`DATASETS`; or a folder with one subfolder a class; or, without
            labels (-1), a folder of pictures or a single one; or an ``.npz`` file with ``images``
            and ``labels``. Your own images are one whole unless folder or file have parts named
            like the splits; ``fit`` and ``held_out`` divide their ``train``.
        split: one of :data:`SPLITS`.
        data_dir: where to look for a named set's files before anything is fetched.
        size: (row, col) that your own pictures are brought to; ``None``: as they are.
        progress: told about downloads and decoding.

    Raises:
        UnknownName: if there is no such data set or split.
        BadInput: if the files are there and cannot be used.
        Unavailable: if the data are not here and cannot be fetched.
    """
    of_kind(name, (str, Path), "the data set", "a name or a path")
    of_kind(split, str, "the split", ", ".join(SPLITS))
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    if name in DATASETS or is_source(name):
        folder = None if data_dir is None else home(data_dir)
        return DATASETS[name](split, folder, progress)
    own_ways = ("path/to/folder", "path/to/picture.png", "path/to/arrays.npz")
    if not there(name) and Path(str(name)).suffix not in (".npz", *ENDINGS):
        raise UnknownName("data set", name, [*DATASETS, *own_ways])
    path = home(name)
    part = "test" if split == "test" else "train"
    if path.suffix == ".npz":
        own = read_npz(path, split=part)
    elif is_folder(path) or path.suffix.lower() in ENDINGS:
        own = read_folder(path, split=part, size=size, progress=progress)
    else:
        raise UnknownName("data set", name, [*DATASETS, *own_ways])
    return own if part == "test" else divide(own, split)


def listing() -> list[Mapping[str, object]]:
    """One row a data set: its name, what it is, and where it is (or how it would come)."""
    places = {"digits": "built in"}
    here = all((cache_dir() / "cifar10" / f"{p}.bin").is_file() for p in ("train", "test"))
    places["cifar10"] = str(cache_dir() / "cifar10") if here else "not here; fetched when needed"
    return [
        {"name": e.name, "what": e.summary, "where": places.get(e.name, "?")}
        for e in DATASETS.entries()
    ]
