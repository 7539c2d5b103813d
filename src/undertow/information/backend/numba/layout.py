"""Maps on the CPU as contiguous rows, and block averages of them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from undertow.information.backend.numba.kernels import Array, compiled, copy, spread

__all__ = ["block_means", "moments", "plain"]

TILE = 32


@compiled()
def _turn(maps: Array, out: Array, start: int, stop: int) -> None:
    """(sample, position, map) to (sample, map, position), tile by tile."""
    positions, channels = maps.shape[1:]
    for sample in range(start, stop):
        for low in range(0, positions, TILE):
            for first in range(0, channels, TILE):
                for j in range(first, min(first + TILE, channels)):
                    for i in range(low, min(low + TILE, positions)):
                        out[sample, j, i] = maps[sample, i, j]


def plain(
    maps: Float[Tensor, "sample map row col"],
) -> Float[Tensor, "sample map row col"]:
    """The same maps, contiguous and in float32; quick where they come channels last."""
    maps = maps.detach().float()
    if maps.is_contiguous():
        return maps
    if not maps.is_contiguous(memory_format=torch.channels_last):
        return maps.contiguous()
    last = maps.permute(0, 2, 3, 1).flatten(1, 2).numpy()
    out = np.empty((last.shape[0], last.shape[2], last.shape[1]), dtype=np.float32)
    spread(lambda start, stop: _turn(last, out, start, stop), len(last), out[0].size)
    return torch.from_numpy(out).reshape(maps.shape)


@compiled({"reassoc", "contract", "nsz"})
def _block_means(maps: Array, high: int, wide: int, out: Array, start: int, stop: int) -> None:
    line = np.empty(maps.shape[2], dtype=np.float32)
    share = np.float32(1.0 / (high * wide))
    for item in range(start, stop):
        for row in range(out.shape[1]):
            copy(line, maps[item, row * high])
            for more in range(1, high):
                for i in range(line.shape[0]):
                    line[i] += maps[item, row * high + more, i]
            for col in range(out.shape[2]):
                total = line[col * wide]
                for i in range(1, wide):
                    total += line[col * wide + i]
                out[item, row, col] = total * share


def block_means(
    maps: Float[Tensor, "*batch row col"], grid: tuple[int, int]
) -> Float[Tensor, "*batch coarse_row coarse_col"]:
    """Means of equal blocks, for contiguous float32 maps whose sizes ``grid`` divides."""
    flat = maps.reshape(-1, *maps.shape[-2:]).numpy()
    out = np.empty((len(flat), *grid), dtype=np.float32)
    high, wide = flat.shape[1] // grid[0], flat.shape[2] // grid[1]
    spread(
        lambda start, stop: _block_means(flat, high, wide, out, start, stop),
        len(flat),
        flat.shape[1] * flat.shape[2],
    )
    return torch.from_numpy(out).reshape(*maps.shape[:-2], *grid)


@compiled()
def _moments(values: Array, mean: Array, std: Array, start: int, stop: int) -> None:
    repeats, width = values.shape[1:]
    for item in range(start, stop):
        for j in range(width):
            total = np.float32(0.0)
            for repeat in range(repeats):
                total += values[item, repeat, j]
            centre, power = np.float32(total / np.float32(repeats)), np.float32(0.0)
            for repeat in range(repeats):
                gap = np.float32(values[item, repeat, j] - centre)
                power += gap * gap
            mean[item, j] = centre
            std[item, j] = np.sqrt(power / np.float32(repeats))


def moments(
    values: Float[Tensor, "item repeat width"],
) -> tuple[Float[Tensor, "item width"], Float[Tensor, "item width"]]:
    """Mean and standard deviation over repeats, whose order alone fixes every bit."""
    given = values.contiguous().numpy()
    shape = (given.shape[0], given.shape[2])
    mean, std = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
    spread(
        lambda start, stop: _moments(given, mean, std, start, stop),
        len(given),
        given[:1].size,
    )
    return torch.from_numpy(mean), torch.from_numpy(std)
