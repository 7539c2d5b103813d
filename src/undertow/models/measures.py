"""A network in numbers: what it costs, and which one it is."""

from __future__ import annotations

from hashlib import sha256

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from undertow.types import Images

__all__ = ["fingerprint", "multiply_adds", "parameters"]


def multiply_adds(model: nn.Module, example: Images) -> int:
    """Multiply-adds of one input: convolutions, matrix products, attention; nothing elementwise.

    Args:
        model: any module.
        example: at least one input of the right shape; only the first is used.
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(example[:1])
    finally:
        model.train(training)
    return int(counter.get_total_flops()) // 2


def parameters(model: nn.Module) -> int:
    """Number of trainable numbers, frozen or not."""
    return sum(p.numel() for p in model.parameters())


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over names, types, shapes and bytes of parameters and buffers.

    Equal weights give equal fingerprints on every device and in every memory layout.
    """
    digest = sha256()
    for name, value in sorted(model.state_dict().items()):
        plain = value.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
