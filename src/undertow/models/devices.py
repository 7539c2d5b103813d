"""Devices: those that the user names, what they are called, and when their memory is full."""

from __future__ import annotations

import errno
import platform
from itertools import pairwise
from pathlib import Path

import torch

from undertow.errors import BadInput, shown

__all__ = ["even_parts", "out_of_memory", "precision", "processor", "usable"]


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


def precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor multiplies it natively, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    known = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # not in every release
    native = any(getattr(torch.cpu, name, lambda: False)() for name in known)
    return torch.bfloat16 if device.type == "cpu" and native else torch.float32
