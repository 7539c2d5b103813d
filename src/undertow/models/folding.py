"""Normalisation made part of the convolution before it: the same function, fewer passes."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from undertow.models.asking import ask, twin_of
from undertow.types import Images

__all__ = ["EXACT", "folded"]

EXACT: Final = 1e-5
"""A folded network is used if its logits differ by no more than this, relative to the largest."""
_AFFINE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@torch.no_grad()
def folded(model: nn.Module, x: Images) -> nn.Module:
    """A network that computes the same with normalisation folded into convolutions.

    In evaluation mode batch normalisation is γ (z − μ) / √(σ² + ε) + β of the convolution's output
    z = W∗x + b, so W and b can absorb it. It is folded where one inference shows that the input of
    a normalisation is just what a convolution or linear layer put out, each being called once. The
    result is tried: where its logits differ, by other uses of what was folded, by chance or by
    state, the model itself is given back. So it is where somebody listens by hooks, where its
    modules cannot be copied, and in half precision.

    Args:
        model: in evaluation mode; it is not changed, and shares its other weights with the result.
        x: one or a few inputs to try it on.
    """
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    if weight is None or weight.dtype not in (torch.float32, torch.float64):
        return model
    modules = list(model.modules())
    if not any(isinstance(m, _BatchNorm) for m in modules):
        return model
    if any(isinstance(m, torch.jit.ScriptModule) or _heard(m) for m in modules):
        return model
    given = x.to(weight)
    try:
        pairs, before = _pairs(model, given)
        if not pairs:
            return model
        twin = twin_of(model)
        names = {module: name for name, module in model.named_modules()}
        for affine, norm in pairs:
            _fold(twin, names[affine], names[norm])
        after = ask(twin, given)
        scale = float(before.abs().max()) + 1e-30
        same = before.shape == after.shape and float((before - after).abs().max()) <= EXACT * scale
    except Exception:  # whatever a stranger's network does on being copied: it is used as it is
        return model
    return twin if same else model


def _heard(module: nn.Module) -> bool:
    """Whether hooks watch or change what a module does."""
    kinds = (
        "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
    )  # fmt: skip
    return any(getattr(module, kind, None) for kind in kinds)


def _pairs(model: nn.Module, x: Images) -> tuple[list[tuple[nn.Module, nn.Module]], Tensor]:
    """Affine layers, each with the normalisation that takes its output, and the logits.

    All of it in one inference.
    """
    made: dict[int, tuple[nn.Module, Tensor]] = {}
    calls: dict[nn.Module, int] = {}
    found: list[tuple[nn.Module, nn.Module]] = []

    def after(module: nn.Module, args: Any, output: Any) -> None:
        calls[module] = calls.get(module, 0) + 1
        if isinstance(module, _AFFINE):
            made[id(output)] = (module, output)
        elif isinstance(module, _BatchNorm) and args and id(args[0]) in made:
            found.append((made[id(args[0])][0], module))

    handles = [
        m.register_forward_hook(after)
        for m in model.modules()
        if isinstance(m, (*_AFFINE, _BatchNorm))
    ]
    try:
        logits: Tensor = ask(model, x)
    finally:
        for handle in handles:
            handle.remove()
    norms = [norm for _, norm in found]
    pairs: list[tuple[nn.Module, nn.Module]] = [
        (affine, norm)
        for affine, norm in found
        if calls[affine] == calls[norm] == 1
        and norms.count(norm) == 1
        and isinstance(norm, _BatchNorm)
        and not norm.training
        and norm.running_mean is not None
    ]
    return pairs, logits


def _fold(twin: nn.Module, affine: str, norm: str) -> None:
    layer: Any = twin.get_submodule(affine)
    bn: Any = twin.get_submodule(norm)
    fuse: Any = fuse_linear_bn_weights if isinstance(layer, nn.Linear) else fuse_conv_bn_weights
    weight, bias = fuse(
        layer.weight, layer.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    layer.weight, layer.bias = (
        nn.Parameter(t.detach(), requires_grad=False) for t in (weight, bias)
    )
    parent, _, name = norm.rpartition(".")
    twin.get_submodule(parent)._modules[name] = nn.Identity()
