"""The networks there are, each with the recipe that made its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn

from undertow.data import ImageSet
from undertow.models.deep_conv import deep_conv
from undertow.models.digits_cnn import digits_cnn
from undertow.models.good_init import good_init
from undertow.models.lsuv import lsuv_
from undertow.models.magnet import Magnet
from undertow.models.recipe import Hardening, Recipe, Shielding, Trimming
from undertow.models.squeezed import Squeezed
from undertow.models.vgg_like import vgg_like
from undertow.registry import Registry
from undertow.seeds import derive

__all__ = ["MODELS", "ZooModel", "fresh"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooModel:
    """A network of the zoo and how its weights come about.

    Args:
        build: gives a fresh network.
        data: the data set it classifies.
        recipe: of its training (behind a defence, of its parent's), or of one round of fine-tuning
            where it is trimmed.
        method: the function that makes its weights.
        parent: the model it is trimmed from, or that stands behind its defence.
        trimming: how far.
        hardening: the attack that it learns from.
        shielding: how its detectors are made.
        defence: a name in :data:`undertow.models.defences.DEFENCES`; ``None``: it has none.
    """

    build: Callable[..., nn.Module]
    data: str
    recipe: Recipe
    method: Literal["train", "trim", "distill", "harden", "shield"] = "train"
    parent: str | None = None
    trimming: Trimming | None = None
    hardening: Hardening | None = None
    shielding: Shielding | None = None
    defence: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """How its weights are made, in numbers, for its card."""
        return self.recipe.as_dict() if self.shielding is None else asdict(self.shielding)


MODELS: Registry[ZooModel] = Registry("model")
MODELS.add(
    "good_init",
    ZooModel(build=good_init, data="cifar10", recipe=Recipe(epochs=24, init="lsuv")),
    "thin and deep, three stages of 3 x 3 convolutions, LSUV initialisation, global pooling",
)
MODELS.add(
    "good_init/trimmed",
    ZooModel(
        build=good_init,
        data="cifar10",
        recipe=Trimming().last,
        method="trim",
        parent="good_init",
        trimming=Trimming(),
    ),
    "good_init after Network Trimming: fewer channels, the same task",
)
MODELS.add(
    "good_init/distilled",
    ZooModel(
        build=good_init,
        data="cifar10",
        recipe=Recipe(epochs=20, init="lsuv", smoothing=0.0),
        method="distill",
        defence="distillation",
    ),
    "good_init after defensive distillation, served at temperature 1",
)
MODELS.add(
    "deep_conv",
    ZooModel(build=deep_conv, data="cifar10", recipe=Recipe(epochs=32)),
    "the deepest: strided 3 x 3 convolutions in place of pooling",
)
MODELS.add(
    "vgg_like",
    ZooModel(build=vgg_like, data="cifar10", recipe=Recipe(epochs=20)),
    "pairs of wide convolutions, max pooling, a dense head",
)
MODELS.add(
    "digits_cnn",
    ZooModel(
        build=digits_cnn,
        data="digits",
        recipe=Recipe(epochs=30, batch=64, rate=0.1, shift=1, flip=False, average=0.98),
    ),
    "small, for the built-in digits",
)
for _name in ("good_init", "deep_conv", "vgg_like"):
    MODELS.add(
        f"{_name}/robust",
        ZooModel(
            build=MODELS[_name].build,
            data="cifar10",
            recipe=Recipe(epochs=30, init=MODELS[_name].recipe.init, smoothing=0.0),
            method="harden",
            hardening=Hardening(),
            defence="adversarial_training",
        ),
        f"{_name} after adversarial training against changes of 8/255 a pixel",
    )
MODELS.add(
    "good_init/magnet",
    ZooModel(
        build=lambda: Magnet(good_init(), shape=(3, 32, 32)),
        data="cifar10",
        recipe=MODELS["good_init"].recipe,
        method="shield",
        parent="good_init",
        shielding=Shielding(),
        defence="magnet",
    ),
    "good_init behind MagNet: an autoencoder's two kinds of detectors, and its reformer",
)
MODELS.add(
    "good_init/squeezed",
    ZooModel(
        build=lambda: Squeezed(good_init()),
        data="cifar10",
        recipe=MODELS["good_init"].recipe,
        method="shield",
        parent="good_init",
        shielding=Shielding(epochs=0, false_alarms=0.05),
        defence="squeezing",
    ),
    "good_init behind feature squeezing: answers must survive fewer bits and a median filter",
)


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
