"""Networks of the zoo before they have learnt anything."""

from __future__ import annotations

import torch
from torch import nn

from undertow.data import ImageSet
from undertow.models.lsuv import lsuv_
from undertow.models.registry import MODELS
from undertow.seeds import derive

__all__ = ["fresh"]


def fresh(name: str, data: ImageSet, seed: int) -> nn.Module:
    """An untrained network of the zoo, initialised as its recipe says.

    Args:
        name: a name in :data:`undertow.models.registry.MODELS`.
        data: LSUV looks at its first 256 images.
        seed: fixes the first weights, whatever was drawn before.
    """
    model = MODELS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, name, "init"))
        network = model.build()
    if model.recipe.init == "lsuv":
        generator = torch.Generator().manual_seed(derive(seed, name, "lsuv"))
        lsuv_(network, data[:256][0], generator=generator)
    return network
