"""Asking a network: which of what it puts out are logits, and nothing of the caller's changes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from undertow.errors import BadInput
from undertow.types import Images

__all__ = [
    "COMPILED", "Around", "Picked", "ask", "in_training", "inside_box", "logits_in", "main_tensor",
    "plainly", "stand_in", "twin_of", "uncompiled", "unwrapped",
]  # fmt: skip

COMPILED: Final = "_orig_mod"
"""Where ``torch.compile`` keeps the module that it stands around."""
ROUNDING: Final = 1e-6
"""So far beside 0 and 1 lies what single precision makes of them, and nobody meant."""
P = ParamSpec("P")
T = TypeVar("T")


class Around(nn.Module):
    """A module that only stands around a network; it is no part of the names of taps.

    Args:
        network: what it stands around.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network


class Picked(Around):
    """A network of which one output is taken.

    Args:
        network: puts out several things.
        output: which one: a place, a key or an attribute.
    """

    def __init__(self, network: nn.Module, output: int | str) -> None:
        super().__init__(network)
        self.output = output

    def forward(self, x: Tensor) -> Any:
        """What was asked for, of what the network gives.

        Raises:
            BadInput: if it gives no such thing.
        """
        found = self.network(x)
        try:
            if isinstance(self.output, int):
                return (list(found.values()) if isinstance(found, Mapping) else found)[self.output]
            return found[self.output] if isinstance(found, Mapping) else getattr(found, self.output)
        except (KeyError, IndexError, AttributeError, TypeError):
            raise BadInput(
                f"the model puts out no {self.output!r} (it puts out {_described(found)})"
            ) from None


def main_tensor(output: Any) -> Tensor | None:
    """The first floating-point tensor of an output, depth first; ``None`` if there is none."""
    return next(iter(_tensors(output)), None)


def _tensors(output: Any) -> list[Tensor]:
    """All floating-point tensors of an output, depth first, each once."""
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    parts: Any = ()
    if isinstance(output, Mapping):
        parts = output.values()
    elif isinstance(output, tuple | list):
        parts = output
    found: list[Tensor] = []
    for part in parts:
        found += [t for t in _tensors(part) if not any(t is had for had in found)]
    return found


def logits_in(output: Any) -> Any:
    """The logits of what a model puts out, by this rule.

    A tensor is taken as it is, else what is called ``logits``, else the only tensor with two axes;
    where there is none, the first tensor, or the output itself (the caller sees that it is none).

    Raises:
        BadInput: if several tensors have two axes: which of them are logits is asked, not guessed.
    """
    if isinstance(output, Tensor):
        return output
    named = output.get("logits") if isinstance(output, Mapping) else None
    found = getattr(output, "logits", named)
    if isinstance(found, Tensor):
        return found
    tensors = _tensors(output)
    flat = [t for t in tensors if t.ndim == 2]
    if len(flat) > 1:
        raise BadInput(
            f"the model puts out {_described(output)}; say which are the logits: "
            "load_model(..., output=1), --output 1, or a name"
        )
    return next(iter([*flat, *tensors]), output)


def _described(output: Any) -> str:
    """What a model puts out, in a few words: shapes by place or by name."""
    if isinstance(output, Mapping):
        parts = {str(k): v for k, v in output.items()}
    elif isinstance(output, tuple | list):
        names = getattr(output, "_fields", range(len(output)))
        parts = {str(k): v for k, v in zip(names, output, strict=True)}
    else:
        return type(output).__name__
    shapes = (
        f"{k}: {tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__}"
        for k, v in list(parts.items())[:6]
    )
    return ", ".join(shapes) or "nothing"


def inside_box(x: Images, what: str) -> Images:
    """Images in [0, 1]; what rounding put beside the ends is put there.

    Raises:
        BadInput: for values outside, or not finite.
    """
    low, high = (float(v) for v in x.aminmax())
    if low >= 0 and high <= 1:
        return x
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        return x.clamp(0, 1)
    # Also true of NaN.
    raise BadInput(f"{what} reach from {low:.4g} to {high:.4g}; they must lie in [0, 1]")


def ask(model: nn.Module, x: Images) -> Any:
    """A model's logits for some inputs; a model that works on its input in place changes a copy."""
    return logits_in(model(x.clone()))


@contextmanager
def uncompiled(model: nn.Module) -> Iterator[None]:
    """While it is open, compiled submodules are the plain ones inside.

    Those call hooks, and can be differentiated more than once.
    """
    held = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(getattr(child, COMPILED, None), nn.Module)
    ]
    try:
        for parent, name, child in held:
            parent._modules[name] = getattr(child, COMPILED)
        yield
    finally:
        for parent, name, child in held:
            parent._modules[name] = child


def twin_of(model: nn.Module, *, buffers: bool = True) -> nn.Module:
    """A copy of the modules, with the same parameters and, if so asked, the same buffers."""
    same = (*model.parameters(), *(model.buffers() if buffers else ()))
    shared: dict[int, Any] = {id(t): t for t in same}
    return copy.deepcopy(model, shared)


def stand_in(model: nn.Module) -> nn.Module:
    """A copy to try things on, so that what it remembers of a call is not remembered by the model.

    Some are never the same after an input of another size: Hugging Face's Swin narrows its windows
    to it. Parameters are shared; a model that cannot be copied stands in for itself.
    """
    try:
        return twin_of(model, buffers=False)
    except Exception:  # whatever a stranger's module does on being copied
        return model


def in_training(model: nn.Module) -> str | None:
    """The first part that is in training mode, ``""`` for the model itself; ``None``: it has none.

    Frozen TorchScript has no mode any more.
    """
    parts = model.named_modules()
    return next((name for name, part in parts if getattr(part, "training", False)), None)


def unwrapped(model: nn.Module) -> nn.Module:
    """The module behind ``torch.compile``, which is what it computes."""
    inner = getattr(model, COMPILED, model)
    return inner if isinstance(inner, nn.Module) else model


def plainly(function: Callable[P, T]) -> Callable[P, T]:
    """A function that computes the same under ``torch.inference_mode``, or of tensors made there.

    Gradients are needed here, and such tensors have none: they are copied.
    """

    @wraps(function)
    def plain(*args: P.args, **kwargs: P.kwargs) -> T:
        with torch.inference_mode(False):
            own = [_plain(a) for a in args]
            return function(*own, **{k: _plain(v) for k, v in kwargs.items()})

    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone() if value.is_inference() else value
    if isinstance(value, tuple) and any(isinstance(v, Tensor) for v in value):
        return tuple(map(_plain, value))
    if isinstance(value, nn.Module) and any(p.is_inference() for p in value.parameters()):
        raise BadInput(
            "the model's weights were made under torch.inference_mode, so it has no gradients; "
            "load it outside"
        )
    return value
