"""Carlini and Wagner's change of variable, x = (tanh w + 1)/2, moved by Adam; a row at a time.

Every row has its own clock, so that rows may start anew at different times (1608.04644, section 5;
Adam: Kingma and Ba 2015, algorithm 1).
"""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

from undertow.types import Images, Keep

__all__ = ["TanhSpace"]

INSIDE = 0.4 / 255
"""Components nearer to 0 or 1 start so far inside, less than half a grey level: at the ends
themselves tanh has no gradient, and black and white pixels would never move."""


class TanhSpace:
    """Points inside [0, 1], and Adam's state for each.

    ``x`` is x0 where nothing has moved, bit for bit.

    Args:
        x0: benign inputs.
        rate: Adam's learning rate.
    """

    BETA_1, BETA_2, TINY = 0.9, 0.999, 1e-8

    def __init__(self, x0: Images, rate: float) -> None:
        self.x0 = x0
        self.rate = rate
        self.w = (2 * x0.clamp(INSIDE, 1 - INSIDE) - 1).atanh()
        self.base = self.w.tanh()
        self.first = torch.zeros_like(x0)
        self.second = torch.zeros_like(x0)
        self.clock: Int64[Tensor, " sample"] = torch.zeros(
            len(x0), dtype=torch.int64, device=x0.device
        )
        self.start = self.w
        self.tanh = self.base

    def x(self) -> Images:
        """Where the rows are."""
        self.tanh = self.w.tanh()
        return (self.x0 + (self.tanh - self.base) / 2).clamp(0, 1)

    def descend(self, g: Images) -> None:
        """One step of Adam against ``g``, the gradient with respect to ``x``."""
        self.clock = self.clock + 1
        g = g * (1 - self.tanh.square()) / 2
        self.first = torch.lerp(g, self.first, self.BETA_1)
        self.second = torch.lerp(g.square(), self.second, self.BETA_2)
        t = self.clock[:, None, None, None].to(g.dtype)
        mean = self.first / (1 - self.BETA_1**t)
        spread = (self.second / (1 - self.BETA_2**t)).sqrt()
        self.w = self.w - self.rate * mean / (spread + self.TINY)

    def restart(self, rows: Keep) -> None:
        """These rows begin anew at the benign input."""
        self.w = torch.where(rows[:, None, None, None], self.start, self.w)
        self.forget(rows)

    def forget(self, rows: Keep) -> None:
        """These rows stay where they are, with Adam as new and the clock at 0."""
        if rows.any():
            chosen = rows[:, None, None, None]
            self.first = self.first.masked_fill(chosen, 0)
            self.second = self.second.masked_fill(chosen, 0)
            self.clock = self.clock.masked_fill(rows, 0)

    def keep(self, mask: Keep) -> None:
        """Drop the other rows."""
        if mask.all():
            return
        for name in ("x0", "w", "base", "first", "second", "clock", "start", "tanh"):
            setattr(self, name, getattr(self, name)[mask])
