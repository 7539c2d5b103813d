"""How a module's output is laid out, and how to see it as maps without copying.

Five layouts are told apart by the output's shape and the input's size: ``dense`` (sample, map),
``first`` (sample, map, row, col), ``last`` (sample, row, col, map), ``tokens`` (sample, token,
map), where the tokens are the grid in row-major order after some prefix tokens (class token,
distillation token, registers), which are set aside, and ``line`` (sample, map, step), maps along
time. Steps of a recurrent network over the rows or columns of the input are tokens on a grid that
is one wide.
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

    kind: Literal["dense", "first", "last", "tokens", "line"]
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
        return 1 if self.kind in ("dense", "first", "line") else -1

    def view(self, output: Tensor) -> Tensor:
        """The output as (sample, map, row, col) or (sample, map); a view, never a copy."""
        if self.kind == "tokens":
            grid = output[:, self.prefix :].transpose(1, 2)
            output = grid.view(*grid.shape[:2], self.rows, self.cols)
        elif self.kind == "last":
            output = output.permute(0, 3, 1, 2)
        elif self.kind == "line":
            output = output.view(*output.shape[:2], self.rows, self.cols)
        return output[:, :, 0, 0] if output.ndim == 4 and len(self.shape) == 1 else output


def layout(
    shape: tuple[int, ...], image: tuple[int, int], *, sequence: bool = False
) -> Layout | None:
    """The layout of an output of this shape, or ``None`` where it has no maps.

    Four axes count as ``first`` unless only (row, col, map) has the proportions of the input;
    a cube (as many maps as rows and columns) is taken as ``first``. Of three axes the first of
    these that fits is taken: tokens of patches that divide the input, after at most one prefix
    token; as many steps as the input has rows, or columns; maps along so many steps; such patches
    after up to eight prefix tokens; patches that are rounded up or down, after at most one prefix
    token, so that nothing but a class token is set aside by a guess.

    Args:
        shape: the output's shape, the sample axis first.
        image: height and width of the input.
        sequence: whether it is known to be steps (of a recurrent module), whatever patches fit.
    """
    if len(shape) == 2:
        return Layout("dense", shape[1])
    if len(shape) == 3:
        return _three(shape[1], shape[2], image, sequence=sequence)
    if len(shape) != 4:
        return None
    _, a, b, c = shape
    if not _proportional(b, c, image) and _proportional(a, b, image):
        return Layout("last", c, a, b)
    return Layout("first", a, b, c)


def _proportional(rows: int, cols: int, image: tuple[int, int]) -> bool:
    height, width = image
    return abs(rows * width - cols * height) <= max(height, width)


def _three(a: int, b: int, image: tuple[int, int], *, sequence: bool) -> Layout | None:
    """Of three axes, of which the last two have these sizes."""
    height, width = image
    if a == 1:
        return Layout("tokens", b)
    steps = {height: (height, 1), width: (1, width)} if height != width else {height: (height, 1)}
    rows = Layout("tokens", b, *steps[a]) if a in steps else None
    if 1 in image:  # a line: its length is the longer side, perhaps in strides
        return rows or _along(a, b, image)
    if sequence and rows is not None:
        return rows
    exact, rounded = _grids(height, width)
    line = None
    if b in steps:
        line = Layout("line", a, *((1, b) if b == width else steps[b]))
    return (
        _tokens(a, b, exact, 1)
        or rows
        or line
        or _tokens(a, b, exact, MOST_PREFIX_TOKENS)
        or _tokens(a, b, rounded, 1)
    )


def _along(a: int, b: int, image: tuple[int, int]) -> Layout | None:
    """Maps along a line: convolutions first, where both sizes could be its length in strides."""
    length = max(image)
    strided = {-(-length // n) for n in range(1, length)} | {length // n for n in range(1, length)}
    grid = (lambda n: (1, n)) if image[0] == 1 else (lambda n: (n, 1))
    if b in strided and b > 1:
        return Layout("line", a, *grid(b))
    return Layout("tokens", b, *grid(a)) if a in strided else None


def _tokens(count: int, maps: int, grids: dict[int, tuple[int, int]], most: int) -> Layout | None:
    for prefix in range(min(most, count - 2) + 1):
        grid = grids.get(count - prefix)
        if grid:
            return Layout("tokens", maps, *grid, prefix)
    return None


@lru_cache(maxsize=64)
def _grids(
    height: int, width: int
) -> tuple[dict[int, tuple[int, int]], dict[int, tuple[int, int]]]:
    """Grids of square patches by their number of positions: those that divide the input, and all.

    Rounded up wins over down.
    """
    exact: dict[int, tuple[int, int]] = {}
    rounded: dict[int, tuple[int, int]] = {}
    for patch in range(max(height, width), 0, -1):
        down, up = (height // patch, width // patch), (-(-height // patch), -(-width // patch))
        for rows, cols in (down, up):
            if rows * cols > 1:
                rounded[rows * cols] = (rows, cols)
                if down == up:
                    exact[rows * cols] = (rows, cols)
    return exact, rounded
