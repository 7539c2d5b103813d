"""What is asked of a model to be read, and what its modules put out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from undertow.errors import BadInput
from undertow.models.asking import in_training, logits_in, main_tensor
from undertow.models.asking import unwrapped as behind
from undertow.types import Images

__all__ = ["at_home", "evaluating", "logits_of", "main_tensor", "swapped", "unwrapped"]


def swapped(output: Any, old: Tensor, new: Tensor) -> Any:
    """The same output with ``new`` wherever ``old`` was."""
    if output is old:
        return new
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return type(output)(*(swapped(part, old, new) for part in output))
    if isinstance(output, tuple | list):
        return type(output)(swapped(part, old, new) for part in output)
    if isinstance(output, Mapping):
        return type(output)(**{str(k): swapped(v, old, new) for k, v in output.items()})
    return output


def logits_of(output: Any, samples: int) -> Tensor:
    """The logits of a model's answer, (sample, class).

    Raises:
        BadInput: if there is no tensor of that shape to be found.
    """
    found = logits_in(output)
    if isinstance(found, Tensor) and found.ndim == 2 and len(found) == samples:
        return found
    what = tuple(found.shape) if isinstance(found, Tensor) else type(output).__name__
    raise BadInput(f"the model puts out {what}; needed are logits of shape ({samples}, classes)")


def at_home(model: nn.Module, x: Images) -> Images:
    """A copy of the input on the model's device and in its floating-point type.

    A copy, since a model may work on its input in place.
    """
    for weight in model.parameters():
        if weight.is_floating_point():
            return x.to(weight.device, weight.dtype, copy=True)
    return x.clone()


def evaluating(model: nn.Module, x: Tensor) -> None:
    """Refuse a model in training mode, and inputs that are no images.

    Raises:
        BadInput: says which of the two.
    """
    if not isinstance(x, Tensor) or x.ndim != 4 or not x.is_floating_point() or len(x) == 0:
        got = f"{tuple(x.shape)} {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise BadInput(f"inputs are (sample, channel, height, width) floats, got {got}")
    late = in_training(model)
    if late is not None:
        where = late or "itself"
        raise BadInput(f"the model is in training mode ({where}); call model.eval() first")


def unwrapped(model: nn.Module) -> nn.Module:
    """The module behind ``torch.compile``, whose inner modules call no hooks."""
    inner = behind(model)
    if isinstance(inner, torch.jit.ScriptModule):
        raise BadInput("a TorchScript model has no hooks to read it by; give the nn.Module")
    return inner
