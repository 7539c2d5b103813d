"""The data cache: files that are complete and verified, or not there at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest
from pathlib import Path

import numpy as np

from undertow.errors import Unavailable
from undertow.loading import home, there

__all__ = ["cache_dir", "check_writable", "new_file", "read_rows", "write_rows"]


def cache_dir() -> Path:
    """``UNDERTOW_CACHE``, or the platform's own place for caches."""
    given = os.environ.get("UNDERTOW_CACHE")
    if given:
        return home(given)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "undertow"


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that becomes ``path`` if the block ends well.

    Raises:
        Unavailable: if the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise Unavailable(f"cannot write to {path.parent}: {error.strerror}") from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Find out now rather than after hours whether the folder can be made and written.

    Raises:
        Unavailable: if it cannot.
    """
    probe = folder / ".writable"
    made = [place for place in (folder, *folder.parents) if not there(place)]
    with new_file(probe):
        pass
    probe.unlink(missing_ok=True)
    with suppress(OSError):  # it is made again when there is something to put there
        for place in made:
            place.rmdir()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _stamp(path: Path) -> Path:
    return path.with_suffix(".json")


def write_rows(path: Path, rows: np.ndarray) -> None:
    """Store bytes of shape (sample, width) and, after them, their size and digest."""
    with new_file(path) as temporary:
        rows.astype(np.uint8, copy=False).tofile(temporary)
        stamp = {"rows": rows.shape[0], "width": rows.shape[1], "sha256": _sha256(temporary)}
        _stamp(path).unlink(missing_ok=True)
    with new_file(_stamp(path)) as temporary:
        temporary.write_text(json.dumps(stamp))


def read_rows(path: Path, width: int) -> np.ndarray | None:
    """Stored bytes of shape (sample, width), memory-mapped; ``None`` if they are not there.

    The digest is checked on every read: a damaged file is an error, never an answer.

    Raises:
        Unavailable: if the file is not what was stored.
    """
    if not (path.is_file() and _stamp(path).is_file()):
        return None
    try:
        stamp = json.loads(_stamp(path).read_text())
        expected = (int(stamp["width"]), int(stamp["rows"]) * width, str(stamp["sha256"]))
    except (ValueError, KeyError, TypeError):
        expected = (0, 0, "")
    if expected[:2] != (width, path.stat().st_size) or expected[2] != _sha256(path):
        raise Unavailable(
            f"the cached file {path} is damaged (its size or SHA-256 is not the one stored "
            "with it); delete it and fetch again"
        )
    return np.memmap(path, dtype=np.uint8, mode="c").reshape(-1, width)
