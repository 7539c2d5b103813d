"""Whether a model's answer depends on the input alone: tried once, and announced."""

from __future__ import annotations

import warnings
from typing import Final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from undertow.models.asking import ask
from undertow.types import Images

__all__ = ["TRIED", "announce", "unsteady"]

TRIED: Final = 6
"""Rows that are asked about to see it, the first time that a model is used."""
ROUNDING: Final = 2e-3
"""Share of the largest logit that rounding may make, in half precision or on another batch."""
_tried: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def unsteady(model: nn.Module, x: Images) -> tuple[str, float] | None:
    """``"chance"`` or ``"batch"``, with the largest difference of a logit; ``None`` where neither.

    Args:
        model: in evaluation mode, called four times.
        x: one input or more; the first is asked about, alone and beside another.
    """
    one = x[:1]
    both = torch.cat([one, x[1:2] if len(x) > 1 else one.flip(-1)])
    weight = next((p for p in model.parameters() if p.is_floating_point()), both)
    state = torch.random.get_rng_state()  # whoever draws afterwards draws what they would have
    try:
        with torch.no_grad():
            first, again = (_logits(model, both.to(weight)) for _ in range(2))
            alone, twice = (_logits(model, one.to(weight)) for _ in range(2))
    finally:
        torch.random.set_rng_state(state)
    if not (first.shape == again.shape and alone.shape == twice.shape and first.ndim == 2):
        return None
    scale = ROUNDING * (1 + float(first.abs().max()))
    by_chance = max(_apart(first, again), _apart(alone, twice))
    if by_chance > scale:
        return "chance", by_chance
    by_batch = _apart(first[:1], alone)
    return ("batch", by_batch) if by_batch > scale else None


def _logits(model: nn.Module, x: Images) -> Tensor:
    found: Tensor = ask(model, x)
    return found.detach().float()


def _apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def announce(model: nn.Module, x: Images) -> None:
    """Warn, once a model, where its answer depends on more than the input, and what that does."""
    if model in _tried:
        return
    _tried[model] = True
    found = unsteady(model, x)
    if found is None:
        return
    why, by = found
    what = {
        "chance": f"differs from call to call, by up to {by:.3g} in a logit (dropout, noise, "
        "random resizing?): success, iterates and profiles come out otherwise each time",
        "batch": f"depends on the others in its batch, by up to {by:.3g} in a logit (batch "
        "statistics?): success, iterates and profiles depend on what is computed together",
    }[why]
    warnings.warn(f"the model's answer to an input {what}", stacklevel=3)
