"""Files that are whole or absent, and a lock that two processes cannot both hold."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final
from uuid import uuid4

from undertow.errors import Foreign, Unavailable

__all__ = [
    "PARTIAL", "Lock", "disk_errors", "flush", "inside", "only_plain", "open_own",
    "replace_bytes", "sweep",
]  # fmt: skip

PARTIAL: Final = ".partial"
"""The ending of a file that is still being written; what a kill leaves behind."""


_NO_PLACE: Final = (
    errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOENT
)  # fmt: skip


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Say in one line what the disk refused.

    Raises:
        Unavailable: for a full disk, or a place that cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Unavailable(
                f"the disk that holds '{path}' is full; free some space and run again"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise Unavailable(
                f"'{path}' cannot be written ({error.strerror}); choose another --out"
            ) from error
        if error.errno in _NO_PLACE:
            raise Unavailable(f"'{path}' cannot be a run's directory ({error.strerror})") from error
        raise


def replace_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a kill, sees the old content or the new, never a part."""
    partial = path.with_name(f"{path.name}.{uuid4().hex}{PARTIAL}")
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    flush([path.parent])


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some file systems cannot sync a directory, or at all
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def flush(paths: Iterable[Path]) -> None:
    """Have the disk keep these files and directories even if the machine stops now."""
    todo = list(paths)
    if len(todo) == 1:
        _flush(todo[0])
    elif todo:  # asked for at once, the disk writes them in one go: some 20 times faster
        list(_flushers(os.getpid()).map(_flush, todo))


@cache
def _flushers(process: int) -> ThreadPoolExecutor:
    """Threads that wait for the disk, made once; a forked process needs its own."""
    return ThreadPoolExecutor(32, thread_name_prefix="undertow-flush")


def sweep(folder: Path) -> int:
    """Remove what interrupted writes left in a folder; returns how many files."""
    left = [p for p in folder.rglob(f"*{PARTIAL}") if p.is_file() and not p.is_symlink()]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def only_plain(root: Path) -> None:
    """Look through a run's directory for what may lead out of it, or hang whoever reads it.

    A run is data: files and folders. Links, pipes and devices are none.

    Raises:
        Foreign: names the first that is something else.
    """
    folders = [str(root)]
    while folders:
        folder = folders.pop()
        with suppress(FileNotFoundError), os.scandir(folder) as entries:  # a writer's, gone since
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif not entry.is_file(follow_symlinks=False):
                    kind = "a symbolic link" if entry.is_symlink() else "neither file nor folder"
                    raise Foreign(
                        f"'{entry.path}' is {kind}; a run holds plain files and folders only, so "
                        "nothing of it is read or written"
                    )


def open_own(path: Path, flags: int) -> int:
    """Open a file that is written in place, if it is one and no other name leads to it.

    Raises:
        Foreign: for a link, a pipe, or a file with several names.
    """
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise Foreign(f"'{path}' is no plain file; nothing was changed") from error
        raise
    told = os.fstat(handle)
    if not stat.S_ISREG(told.st_mode) or told.st_nlink > 1:
        os.close(handle)
        raise Foreign(f"'{path}' is no plain file of its own; nothing was changed")
    return handle


def inside(root: Path, path: Path) -> Path:
    """``path``, links in ``root`` followed.

    Raises:
        Foreign: if it leads out of ``root``.
    """
    parts = path.relative_to(root).parts if path.is_relative_to(root) else ("..",)
    if ".." not in parts and not any(
        os.path.islink(os.path.join(root, *parts[:n])) for n in range(1, len(parts) + 1)
    ):
        return path  # no link to follow: the common case, without looking at all folders above
    real = path.resolve()
    if not real.is_relative_to(root.resolve()):
        raise Foreign(f"'{path}' leads out of the run's directory; a run holds no such links")
    return real


class Lock:
    """Held by the one process that writes a run; the system frees it when that process ends.

    Args:
        path: the lock file; it holds the owner's process number and stays behind, empty of meaning.

    Raises:
        Unavailable: if another process holds it.
    """

    def __init__(self, path: Path) -> None:
        import fcntl

        self.path = path
        self._handle: int | None = open_own(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(self._handle, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._handle)
            self._handle = None
            raise Unavailable(
                f"'{path.parent}' is being written by process {owner}; wait for it, or choose "
                "another --out"
            ) from error
        os.ftruncate(self._handle, 0)
        os.write(self._handle, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let go; harmless when done twice."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
