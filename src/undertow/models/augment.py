"""Shifted and mirrored copies of training images, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from undertow.models.recipe import Recipe
from undertow.seeds import derive

__all__ = ["Batches"]


class Batches:
    """Training images on a device, in epochs of shuffled, shifted, mirrored batches.

    Every draw of an epoch follows from (seed, epoch), so a training that is resumed sees what an
    undisturbed one sees.

    Args:
        images: (sample, channel, height, width), bytes.
        recipe: batch size, shift and flip.
        seed: of the draws.
        device: where batches are made.
    """

    def __init__(self, images: Tensor, recipe: Recipe, seed: int, device: torch.device) -> None:
        pad = recipe.shift
        around = ((0, 0), (pad, pad), (pad, pad), (0, 0))
        padded = np.pad(images.permute(0, 2, 3, 1).numpy(), around, mode="reflect")
        self.padded = torch.from_numpy(padded).to(device)  # sample, height, width, channel
        self.height, self.width = images.shape[2:]
        self.recipe = recipe
        self.seed = seed
        self.device = device

    def __len__(self) -> int:
        """Batches an epoch; the odd rest is left out."""
        return len(self.padded) // self.recipe.batch

    def epoch(self, number: int) -> Iterator[tuple[Float[Tensor, "b c h w"], Int64[Tensor, " b"]]]:
        """Batches of one epoch: images in [0, 1] (channels last in memory) and their rows."""
        count, batch = len(self.padded), self.recipe.batch
        generator = torch.Generator().manual_seed(derive(self.seed, "epoch", number))
        order = torch.randperm(count, generator=generator)
        span = 2 * self.recipe.shift + 1
        top = torch.randint(span, (count, 1), generator=generator) + torch.arange(self.height)
        left = torch.randint(span, (count, 1), generator=generator) + torch.arange(self.width)
        if self.recipe.flip:
            mirrored = torch.rand(count, generator=generator) < 0.5
            left = torch.where(mirrored[:, None], left.flip(1), left)
        order, top, left = (t.to(self.device) for t in (order, top, left))
        for start in range(0, len(self) * batch, batch):
            take = slice(start, start + batch)
            rows = order[take]
            x = self.padded[rows[:, None, None], top[take, :, None], left[take, None, :]]
            yield x.permute(0, 3, 1, 2).float().div_(255), rows
