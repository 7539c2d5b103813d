"""How much any quarter of the maps could restore: searched, bounded, or tried one and all."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from undertow.measuring.carriers.compared import Compared
from undertow.measuring.carriers.putting import Sides, first, quarter
from undertow.types import Tap

__all__ = ["bound", "exhaustive", "searched"]

PART = 50
"""Inputs differentiated at once."""


def searched(pair: Compared, tap: Tap, steps: int = 40) -> float:
    """Share restored by sets that conditional gradients search (Frank and Wolfe 1956).

    Maximises the lead of the true class over all others over shares of maps put back that sum to a
    quarter; each step moves towards the quarter that the slope names. No bound: a better set may
    exist.
    """
    own, other = pair.at_adversarial.maps[tap.name], pair.at_benign.maps[tap.name]
    count = quarter(tap.shape[0])
    share = torch.full(own.shape[:2], count / tap.shape[0])
    for step in range(steps):
        slope = _slope(pair, tap, share, own, other)
        share += (first(slope, (count,))[:, 0].float() - share) * 2 / (step + 2)
    sides = Sides.of(pair, tap)
    rows = torch.arange(len(own))
    return float(sides.restored(first(share, (count,))[:, 0], rows).float().mean())


def _slope(pair: Compared, tap: Tap, share: Tensor, own: Tensor, other: Tensor) -> Tensor:
    """How the true class's lead changes with the share of each map that is put back."""
    module = dict(pair.model.named_modules())[tap.name]
    found = []
    for start in range(0, len(own), PART):
        rows = slice(start, start + PART)
        given = share[rows].clone().requires_grad_()
        shape = (*given.shape, *[1] * (own.ndim - 2))
        mixed = own[rows] + (other[rows] - own[rows]) * given.reshape(shape)
        hook = module.register_forward_hook(lambda m, a, o, mixed=mixed: mixed)
        try:
            logits = pair.model(pair.adversarial[:1])
        finally:
            hook.remove()
        label = pair.label[rows][:, None]
        rest = logits.scatter(1, label, -torch.inf).logsumexp(1)
        lead = (logits.gather(1, label)[:, 0] - rest).sum()
        found.append(torch.autograd.grad(lead, given)[0])
    return torch.cat(found)


def bound(pair: Compared, tap: Tap, head: nn.Linear) -> float:
    """Share that at most can be restored by any quarter of the maps before a pooled linear head.

    There logits are linear in the maps put back, and the largest least lead of the true class over
    shares in [0, 1] (a linear programme) is at least that over sets.
    """
    own, other = (
        side.maps[tap.name].flatten(2).mean(2) for side in (pair.at_adversarial, pair.at_benign)
    )
    count, maps = quarter(tap.shape[0]), tap.shape[0]
    reached = 0
    for i, label in enumerate(pair.label.tolist()):
        gain = ((other[i] - own[i]) * head.weight.detach()).numpy().astype(float)
        start = pair.at_adversarial.logits[i].numpy().astype(float)
        rest = [m for m in range(len(gain)) if m != label]
        found = linprog(
            np.r_[np.zeros(maps), -1.0],
            A_ub=np.column_stack([gain[rest] - gain[label], np.ones(len(rest))]),
            b_ub=start[label] - start[rest],
            A_eq=np.r_[np.ones(maps), 0.0][None], b_eq=[count],
            bounds=[(0, 1)] * maps + [(None, None)],
        )  # fmt: skip
        reached += -found.fun > 0
    return reached / len(own)


def exhaustive(pair: Compared, tap: Tap) -> float:
    """Share of inputs that some quarter of the maps restores: every one of them is tried."""
    maps, count = tap.shape[0], quarter(tap.shape[0])
    sets = torch.zeros(len(list(combinations(range(maps), count))), maps, dtype=torch.bool)
    for row, chosen in enumerate(combinations(range(maps), count)):
        sets[row, list(chosen)] = True
    sides = Sides.of(pair, tap)
    rows = (torch.full((len(sets),), i) for i in range(len(pair.label)))
    return float(np.mean([bool(sides.restored(sets, row).any()) for row in rows]))
