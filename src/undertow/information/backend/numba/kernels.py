"""Compiled kernels for the CPU: how they are compiled and spread over threads.

Each kernel is a plain loop over arrays, compiled by numba on first use and kept on disk where
that is possible. Kernels release the interpreter's lock; :func:`spread` gives them to as many
threads as torch uses. Every value is computed by one thread in a fixed order, so results do not
depend on the number of threads or on the batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from inspect import unwrap
from typing import Any

import numba
import numpy as np
import torch
from numba.extending import intrinsic

__all__ = ["Array", "compiled", "copy", "ones", "spread"]

Array = np.ndarray[Any, np.dtype[Any]]

GRAIN = 1 << 15
"""Elements below which a second thread does not pay."""


def compiled(fastmath: set[str] | None = None) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit`` without the lock, cached on disk unless no directory can be written."""

    def wrap(function: Callable[..., Any]) -> Any:
        # Under test a function comes wrapped in a check of its annotations: not for numba.
        function = unwrap(function)
        options: dict[str, Any] = {
            "nogil": True, "error_model": "numpy", "fastmath": fastmath or False,
        }  # fmt: skip
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:
            return numba.njit(**options)(function)

    return wrap


@compiled()
def copy(to: Array, line: Array) -> None:
    """Fill ``to`` from the start of ``line``, in a kernel.

    numba compiles ``to[:] = line`` for seconds: the words of its possible errors come with it.
    """
    for i in range(to.shape[0]):
        to[i] = line[i]


class _Threads:
    """One pool a process, made when first needed and again after a fork or with more threads."""

    def __init__(self) -> None:
        self.key = (0, 0)
        self.pool: ThreadPoolExecutor | None = None

    def get(self, workers: int) -> ThreadPoolExecutor:
        key = (os.getpid(), workers)
        if self.pool is None or self.key[0] != key[0] or self.key[1] < workers:
            self.pool = ThreadPoolExecutor(workers, thread_name_prefix="undertow-kernel")
            self.key = key
        return self.pool


_threads = _Threads()


def spread(work: Callable[[int, int], None], count: int, cost: int) -> None:
    """Do ``work(start, stop)`` for all of ``range(count)``, on as many threads as torch uses.

    Args:
        work: handles the items from ``start`` up to ``stop``, independently of all others.
        count: the number of items.
        cost: elements touched for one item.
    """
    parts = max(1, min(torch.get_num_threads(), count, count * cost // GRAIN))
    edges = [count * part // parts for part in range(parts + 1)]
    futures = [
        _threads.get(parts - 1).submit(work, edges[part], edges[part + 1])
        for part in range(1, parts)
    ]
    work(edges[0], edges[1])
    for future in futures:
        future.result()


def _popcount(_context: Any, _word: Any) -> Any:
    def build(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return numba.types.uint64(numba.types.uint64), build


ones = intrinsic(unwrap(_popcount))
"""The number of ones in a word, in a kernel: one machine instruction where there is one."""
