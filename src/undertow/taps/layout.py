"""How a module's output is laid out, and how to see it as maps without copying.

Four layouts are told apart by the output's shape and the input's size: ``dense`` (sample, map),
``first`` (sample, map, row, col), ``last`` (sample, row, col, map) and ``tokens``
(sample, token, map), where the tokens are the grid in row-major order after some prefix tokens
(class token, distillation token, registers), which are set aside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from torch import Tensor

__all__ = ["Layout", "layout"]

MOST_PREFIX_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the maps are in an output.

    Args:
        kind: the order of the axes.
        rows: the grid's rows; 1 where there is no spatial extent.
        cols: the grid's columns.
        prefix: tokens before the grid that are no positions.
        maps: how many maps there are.
    """

    kind: Literal["dense", "first", "last", "tokens"]
    maps: int
    rows: int = 1
    cols: int = 1
    prefix: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """(map, row, col), or (map,) where there are no positions to tell apart."""
        one = self.rows * self.cols == 1
        return (self.maps,) if one else (self.maps, self.rows, self.cols)

    @property
    def axis(self) -> int:
        """The axis of the output along which the maps lie."""
        return 1 if self.kind in ("dense", "first") else -1

    def view(self, output: Tensor) -> Tensor:
        """The output as (sample, map, row, col) or (sample, map); a view, never a copy."""
        if self.kind == "tokens":
            grid = output[:, self.prefix :].transpose(1, 2)
            output = grid.view(*grid.shape[:2], self.rows, self.cols)
        elif self.kind == "last":
            output = output.permute(0, 3, 1, 2)
        return output[:, :, 0, 0] if output.ndim == 4 and len(self.shape) == 1 else output


def layout(shape: tuple[int, ...], image: tuple[int, int]) -> Layout | None:
    """The layout of an output of this shape, or ``None`` where it has no maps.

    Four axes count as ``first`` unless only (row, col, map) has the proportions of the input;
    a cube (as many maps as rows and columns) is taken as ``first``. Tokens form the grid of a
    patch size that divides the input, rounded up or down, after as few prefix tokens as possible.

    Args:
        shape: the output's shape, the sample axis first.
        image: height and width of the input.
    """
    if len(shape) == 2:
        return Layout("dense", shape[1])
    if len(shape) == 3:
        return _tokens(shape[1], shape[2], image)
    if len(shape) != 4:
        return None
    _, a, b, c = shape
    if not _proportional(b, c, image) and _proportional(a, b, image):
        return Layout("last", c, a, b)
    return Layout("first", a, b, c)


def _proportional(rows: int, cols: int, image: tuple[int, int]) -> bool:
    height, width = image
    return abs(rows * width - cols * height) <= max(height, width)


def _tokens(count: int, maps: int, image: tuple[int, int]) -> Layout | None:
    if count == 1:
        return Layout("tokens", maps)
    for prefix in range(min(MOST_PREFIX_TOKENS, count - 2) + 1):
        grid = _grids(*image).get(count - prefix)
        if grid:
            return Layout("tokens", maps, *grid, prefix)
    return None


@lru_cache(maxsize=64)
def _grids(height: int, width: int) -> dict[int, tuple[int, int]]:
    """Every grid of square patches, by its number of positions; rounded up wins over down."""
    grids: dict[int, tuple[int, int]] = {}
    for patch in range(max(height, width), 0, -1):
        for rows, cols in (
            (height // patch, width // patch),
            (-(-height // patch), -(-width // patch)),
        ):
            if rows * cols > 1:
                grids[rows * cols] = (rows, cols)
    return grids
