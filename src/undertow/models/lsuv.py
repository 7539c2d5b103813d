"""Layer-sequential unit-variance initialisation (Mishkin and Matas 2016, 1511.06422)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from undertow.errors import BadInput
from undertow.types import Images

__all__ = ["layer_variances", "lsuv_"]

_Layer = nn.Conv2d | nn.Linear


def _layers_in_order(network: nn.Module, x: Tensor) -> list[tuple[str, _Layer]]:
    """The convolutions and linear layers, in the order in which they run."""
    order: list[tuple[str, _Layer]] = []
    hooks = [
        module.register_forward_hook(lambda m, _, __, n=name: order.append((n, m)))
        for name, module in network.named_modules()
        if isinstance(module, _Layer)
    ]
    try:
        network(x)
    finally:
        for hook in hooks:
            hook.remove()
    return order


def _output_of(layer: nn.Module) -> Callable[[nn.Module, Tensor], Tensor]:
    def run(network: nn.Module, x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        hook = layer.register_forward_hook(lambda _m, _i, out: seen.append(out.detach()))
        try:
            network(x)
        finally:
            hook.remove()
        return seen[-1]

    return run


@torch.no_grad()
def layer_variances(network: nn.Module, x: Images) -> dict[str, float]:
    """Variance of the output of every convolution and linear layer over a batch.

    Args:
        network: batch normalisation acts as in evaluation (the identity at the start).
        x: a batch of inputs.
    """
    training = network.training
    network.eval()
    try:
        layers = _layers_in_order(network, x)
        return {name: float(_output_of(layer)(network, x).var()) for name, layer in layers}
    finally:
        network.train(training)


@torch.no_grad()
def lsuv_(
    network: nn.Module,
    x: Images,
    *,
    generator: torch.Generator,
    tolerance: float = 0.01,
    rounds: int = 10,
    scale: bool = True,
) -> nn.Module:
    """Initialise a network in place: orthonormal weights, then unit variance layer by layer.

    Algorithm 1 of the paper: every layer starts orthonormal (Saxe et al. 2014); then, from the
    first to the last, its weights are divided by the standard deviation of its output until the
    variance is 1 within the tolerance.

    Args:
        network: convolutions and linear layers are changed; biases become 0.
        x: a batch of real inputs.
        generator: draws the orthonormal weights, on the CPU.
        tolerance: allowed distance of the variance from 1.
        rounds: the most divisions a layer.
        scale: ``False`` stops at the orthonormal weights.

    Raises:
        BadInput: if a layer puts out a constant, so no scale gives it unit variance.
    """
    training = network.training
    network.eval()
    try:
        layers = _layers_in_order(network, x)
        for _, layer in layers:
            fresh = torch.empty(layer.weight.shape, dtype=torch.float32)
            nn.init.orthogonal_(fresh, generator=generator)
            layer.weight.copy_(fresh)
            if layer.bias is not None:
                layer.bias.zero_()
        for name, layer in layers if scale else ():
            for _ in range(rounds):
                variance = float(_output_of(layer)(network, x).var())
                if abs(variance - 1) < tolerance:
                    break
                if not variance > 1e-12:
                    raise BadInput(f"LSUV: layer '{name}' puts out a constant on this batch")
                layer.weight.div_(variance**0.5)
    finally:
        network.train(training)
    return network
