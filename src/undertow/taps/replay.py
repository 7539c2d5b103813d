"""A network in which all that is finished before a tap is answered from memory."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from undertow.models.asking import twin_of, uncompiled
from undertow.taps.hooks import hooked, modules_of
from undertow.types import Tap

__all__ = ["Rows", "replayed"]


@torch.no_grad()
def replayed(
    model: nn.Module, tap: Tap, x: Float[Tensor, "1 channel height width"]
) -> tuple[nn.Module, Rows]:
    """A copy of the modules that goes through everything before the tap without computing it.

    Modules that are called once, and have ended when the tap gives its maps, answer with what they
    gave for ``x``, whatever comes in: so the copy computes the rest behind the tap and nothing
    else, as long as ``x`` is what comes in, once or repeated. Parameters are shared; the model is
    not changed.

    Args:
        model: in evaluation mode.
        tap: where others take the maps' place.
        x: the input that the copy will be given from now on.

    Returns:
        The copy, and how often the input is repeated in what it is given.
    """
    repeated = Rows()
    seen = _Seen()
    with uncompiled(model):
        names = modules_of(model)
        handles = [
            module.register_forward_hook(partial(seen.ended, name))
            for name, module in names.items()
        ]
        try:
            with hooked(model, [tap.name], seen.tapped):
                model(x.clone())
        finally:
            for handle in handles:
                handle.remove()
        twin = twin_of(model)
    once = {name for name in seen.before if seen.calls[name] == 1}
    for name, module in modules_of(twin).items():
        outer = name.split(".")
        if name in once and not any(".".join(outer[:k]) in once for k in range(1, len(outer))):
            module.forward = partial(_again, repeated, seen.before[name])
    return twin, repeated


class Rows:
    """How many rows the input is repeated to."""

    count: int = 1


class _Seen:
    """Which modules ended, and with what, before the tap gave its maps."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.before: dict[str, Any] = {}
        self.fired = False

    def ended(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        self.calls[name] += 1
        if not self.fired:
            self.before[name] = _kept(output)

    def tapped(self, called: str, output: Any, args: Any) -> None:
        self.fired = True


def _kept(output: Any) -> Any:
    """A copy, since a later module may work on it in place."""
    return tree_map_only(Tensor, torch.clone, output)


def _again(rows: Rows, output: Any, *args: Any, **kwargs: Any) -> Any:
    if rows.count == 1:
        return _kept(output)

    def repeated(t: Tensor) -> Tensor:
        return t.repeat_interleave(rows.count, 0) if t.ndim and len(t) == 1 else t.clone()

    return tree_map_only(Tensor, repeated, output)
