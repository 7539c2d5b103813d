"""How this process's allocator treats memory that is given back."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from typing import Final

__all__ = ["keep_freed_memory", "return_freed_memory"]

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_LARGEST: Final = (1 << 30, 32 << 20)
"""Bytes below which blocks are reused; older releases of glibc refuse more than the second."""


def keep_freed_memory() -> bool:
    """Have glibc reuse large blocks instead of returning each to the system, page by page.

    The same activations come and go with every step of an attack; zeroing their pages anew took a
    seventh of a study's time. It is a setting of the whole process, so only processes that are
    Undertow's own make it: the command line and its workers.

    Returns:
        Whether the allocator took it; ``False`` where it is not glibc's.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    taken = any(mallopt(_MMAP_THRESHOLD, size) for size in _LARGEST)
    return bool(taken and mallopt(_TRIM_THRESHOLD, (2 << 30) - 1))


def return_freed_memory() -> None:
    """Give back now what the allocator holds for later, where it is glibc's."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
