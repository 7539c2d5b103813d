"""Devices: those that the user names, what they are called, and when their memory is full."""

from __future__ import annotations

import errno
import platform
import time
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import torch

from undertow.errors import BadInput, shown

__all__ = ["bf16_gain", "even_parts", "native", "out_of_memory", "precision", "processor", "usable"]


def usable(device: str | torch.device) -> torch.device:
    """The device, if something can be put there.

    Raises:
        BadInput: if there is no such device here.
    """
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError, ValueError) as error:
        here = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
        reason = str(error).splitlines()[0][:120]
        raise BadInput(
            f"device '{shown(device)}' cannot be used: {reason} (here: {', '.join(here)})"
        ) from None
    return found


def processor() -> str:
    """The name of the processor, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        return platform.processor() or platform.machine()


def even_parts(start: int, stop: int, most: int) -> list[tuple[int, int]]:
    """Rows ``start`` to ``stop`` in as few parts of at most ``most`` as can be, as even as can be.

    Even, since kernels may round differently for a few left-over inputs.
    """
    count = -(-(stop - start) // most)
    edges = [start + (stop - start) * part // count for part in range(count + 1)]
    return list(pairwise(edges))


def out_of_memory(problem: BaseException) -> bool:
    """Whether something failed for want of memory, of the machine or of the accelerator."""
    if isinstance(problem, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(problem, OSError):
        return problem.errno == errno.ENOMEM
    words = str(problem).lower()
    told = ("can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory")
    return isinstance(problem, RuntimeError) and any(t in words for t in told)


QUICKER: Final = 1.2
"""How many times as fast bfloat16 must be to be worth its rounding: by so much, noise in the trial
does not decide, for there is none of it or the double."""


@cache
def bf16_gain(kind: str) -> float:
    """How many times as fast a convolution is in bfloat16 as in float32; tried once a process.

    An instruction for it is not enough: without matrix units some processors do no more with it in
    a cycle than without.

    Args:
        kind: ``cpu`` or ``cuda``; of an accelerator that has it, it is not tried.
    """
    if kind != "cpu":
        return float("inf")
    times = {}
    for dtype in (torch.float32, torch.bfloat16):
        x, weight = torch.ones(32, 64, 16, 16, dtype=dtype), torch.ones(64, 64, 3, 3, dtype=dtype)
        runs = []
        for _ in range(4):
            start = time.perf_counter()
            torch.nn.functional.conv2d(x, weight, padding=1)
            runs.append(time.perf_counter() - start)
        times[dtype] = min(runs)
    return times[torch.float32] / times[torch.bfloat16]


def precision(device: torch.device) -> torch.dtype:
    """bfloat16 where that is quicker, else float32: what networks are trained in."""
    quick = native(device) == torch.bfloat16 and bf16_gain(device.type) > QUICKER
    return torch.bfloat16 if quick else torch.float32


def native(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor multiplies it natively, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    known = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # not in every release
    native = any(getattr(torch.cpu, name, lambda: False)() for name in known)
    return torch.bfloat16 if device.type == "cpu" and native else torch.float32
