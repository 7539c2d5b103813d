"""Models made ready to be asked: how many classes, and in which layout they like images best."""

from __future__ import annotations

import warnings
from typing import cast, get_args

import torch
from torch import Tensor, nn

from undertow.attacks.driver.members import Combine, MembersOracle
from undertow.attacks.driver.oracle import ModelOracle
from undertow.errors import BadInput
from undertow.models.asking import ask
from undertow.models.defended import Aware, defence_in
from undertow.models.devices import bf16_gain, native, out_of_memory
from undertow.models.folding import folded
from undertow.models.steady import announce
from undertow.types import Attack, Images, Precision

__all__ = ["open_oracle"]

PAYS = 1.3
"""How many times as fast bfloat16 must be to make up for verifying in float32."""


def open_oracle(
    attack: Attack, models: tuple[nn.Module, ...], x: Images, precision: Precision = "float32"
) -> ModelOracle | MembersOracle:
    """The models as one oracle. Each is asked about one image, uncounted, what it is like.

    Normalisation is folded into convolutions in copies that share the other weights. Of a defended
    network the attack sees one more logit, that of rejection.

    Raises:
        BadInput: for a model that cannot take these images, or gives no logits for them.
    """
    classes = {_classes(m, x[:1]) for m in models}
    for model in models:
        announce(model, x)
    if len(classes) > 1:
        raise BadInput(f"the models have different numbers of classes: {sorted(classes)}")
    half = _half(precision, models[0], x)
    models = tuple(folded(model, x[:2]) for model in models)
    last = all(_takes_channels_last(m, x[:1]) for m in models)
    if len(models) > 1 or attack.inner is not None:
        if any(defence_in(model) for model in models):
            raise BadInput(
                f"{attack.name}: a defended network is attacked alone, not as one of several"
            )
        weights, combine = attack.weights, cast(Combine, attack.combine)
        return MembersOracle(models, classes.pop(), weights, combine, last, half)
    model, count = models[0], classes.pop()
    if defence_in(model) is not None:
        model, count = Aware(model), count + 1
    return ModelOracle(model, count, channels_last=last, half=half)


def _half(precision: Precision, model: nn.Module, x: Images) -> torch.dtype | None:
    """The type in which gradients are computed, where it is not the model's.

    Raises:
        BadInput: for a word that is no precision.
    """
    if precision not in get_args(Precision):
        raise BadInput(f"precision is {precision!r} (allowed: {', '.join(get_args(Precision))})")
    if precision == "float32":
        return None
    weight = _weight(model, x)
    if native(weight.device) == torch.bfloat16 and weight.dtype == torch.float32:
        if (gain := bf16_gain(weight.device.type)) < PAYS:
            warnings.warn(
                f"precision 'bf16' does not pay here: a convolution is {gain:.1f} × as fast in it "
                "as in float32, and each success is verified in float32",
                stacklevel=5,
            )
        return torch.bfloat16
    why = (
        f"the model computes in {str(weight.dtype).removeprefix('torch.')}"
        if weight.dtype != torch.float32
        else f"this {weight.device.type} has no arithmetic of its own for it"
    )
    warnings.warn(
        f"precision 'bf16' would not pay: {why}; the attack computes in the model's", stacklevel=5
    )
    return None


def _weight(model: nn.Module, one: Images) -> Tensor:
    return next((p for p in model.parameters() if p.is_floating_point()), one)


def _classes(model: nn.Module, one: Images) -> int:
    try:
        with torch.no_grad():
            logits = ask(model, one.to(_weight(model, one)))
    except BadInput:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        if out_of_memory(error):
            raise
        why = " ".join(str(error).split())[:200]
        shape = tuple(one.shape)
        raise BadInput(f"the model cannot take images of shape {shape}: {why}") from error
    fits = isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) == 1
    if not fits or logits.shape[1] < 2:
        got = (
            f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        )
        raise BadInput(f"the model gives {got} for one image; it must be (1, M) with M > 1 logits")
    return int(logits.shape[1])


def _takes_channels_last(model: nn.Module, one: Images) -> bool:
    """Whether a CPU model with convolutions works as well on images with channels innermost."""
    weight = _weight(model, one)
    if weight.device.type != "cpu" or not any(p.ndim == 4 for p in model.parameters()):
        return False
    image = one.to(weight)
    try:
        with torch.no_grad():
            there = ask(model, image.contiguous(memory_format=torch.channels_last))
            return bool(torch.allclose(ask(model, image), there, rtol=1e-2, atol=1e-3))
    except RuntimeError:  # a view that such images do not allow
        return False
