"""What classifiers put out: logits, or a tuple, mapping or record that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

__all__ = ["logits_in", "main_tensor"]


def main_tensor(output: Any) -> Tensor | None:
    """The first floating-point tensor of an output, depth first; ``None`` if there is none."""
    if isinstance(output, Tensor):
        return output if output.is_floating_point() else None
    parts: Any = ()
    if isinstance(output, Mapping):
        parts = output.values()
    elif isinstance(output, tuple | list):
        parts = output
    return next((t for t in map(main_tensor, parts) if t is not None), None)


def logits_in(output: Any) -> Any:
    """What is called ``logits`` in an output, else its first floating-point tensor, else itself.

    A tensor is returned as it is; whether its shape is that of logits is for the caller to see.
    """
    if isinstance(output, Tensor):
        return output
    named = output.get("logits") if isinstance(output, Mapping) else None
    found = getattr(output, "logits", named)
    found = found if isinstance(found, Tensor) else main_tensor(output)
    return output if found is None else found
