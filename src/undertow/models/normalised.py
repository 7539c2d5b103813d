"""Whether a network normalises its input: judged by what its first layer receives."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Final

import torch
from torch import Tensor, nn

from undertow.models.asking import ask, main_tensor, stand_in

__all__ = ["PROBES", "normalises"]

PROBES: Final = (32, 224, 64, 28, 16, 8, 96, 128, 256, 299, 384)
"""Side lengths tried, in this order, where a model does not say what it takes."""


def normalises(model: nn.Module) -> bool | None:
    """Whether the first layer receives something else than images in [0, 1].

    A first layer that is a batch norm normalises. ``None`` where no image of the usual sizes goes
    through, or nothing with weights is called.

    Args:
        model: in evaluation mode; what is tried is a copy.
    """
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    channels = first.in_channels if first is not None else 3
    place = next(model.parameters(), torch.zeros(())).device
    generator = torch.Generator().manual_seed(0)
    for side in PROBES:
        x = torch.rand((2, channels, side, side), generator=generator, dtype=torch.float32).to(
            place
        )
        received: list[bool] = []
        tried = stand_in(model)
        with ExitStack() as hooks, torch.no_grad():
            for module in _weighted(tried):
                hooks.callback(
                    module.register_forward_pre_hook(
                        lambda m, args, seen=received: seen.append(_is_normalised(m, args))
                    ).remove
                )
            try:
                ask(tried, x)
            except Exception:  # another size may fit
                continue
        return received[0] if received else None
    return None


def _weighted(model: nn.Module) -> list[nn.Module]:
    """Modules with weights of their own and no such modules inside: layers.

    A network that holds a class token itself receives the image before it does anything to it.
    """

    def weights(module: nn.Module, *, all_of_them: bool) -> int:
        return sum(1 for _ in module.parameters(recurse=all_of_them))

    return [
        m
        for m in model.modules()
        if 0 < weights(m, all_of_them=False) == weights(m, all_of_them=True)
    ]


def _is_normalised(module: nn.Module, args: Any) -> bool:
    given = main_tensor(args)
    if isinstance(module, nn.modules.batchnorm._BatchNorm) or not isinstance(given, Tensor):
        return True
    return not (float(given.min()) >= -1e-6 and float(given.max()) <= 1 + 1e-6)
