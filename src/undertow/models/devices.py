"""Devices, named by the user."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from undertow.errors import BadInput

__all__ = ["processor", "usable"]


def usable(device: str | torch.device) -> torch.device:
    """The device, if something can be put there.

    Raises:
        BadInput: if there is no such device here.
    """
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        here = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
        reason = str(error).splitlines()[0][:120]
        raise BadInput(
            f"device '{device}' cannot be used: {reason} (here: {', '.join(here)})"
        ) from None
    return found


def processor() -> str:
    """The name of the processor, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        return platform.processor() or platform.machine()
