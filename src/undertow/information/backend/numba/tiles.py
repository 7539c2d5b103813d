"""Matrix products on the CPU, tile by tile, in machine vectors.

A tile is six rows times one or two vectors of columns, held in registers while the terms are added
up. Every sum is taken term after term in runs of :data:`RUN`, and the runs one after the other,
so how it rounds depends on the number of terms alone: not on the tile, the batch or the threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import unwrap
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from undertow.information.backend.numba.kernels import Array, compiled, copy, spread

__all__ = ["LANES", "ROWS", "multiply", "padded", "products", "turned"]

ROWS, LANES = 6, 16
RUN = 64
"""Terms of a sum that are added up one after the other: float32 loses less in short runs."""
TWICE = bool(binding.get_host_cpu_features().get("avx512f"))
"""Whether there are registers for twice as many columns."""
CONTRACT = ("contract",)


def _tile(lanes: int) -> Any:
    """``out[i:i+ROWS, j:j+lanes]`` gets the products over terms ``first`` to ``last``.

    In a kernel: ``tile(one, i, turned, j, out, first, last)``. The first run sets what is there,
    others add to it.
    """

    def tile(
        _context: Any, one: Any, i: Any, turned: Any, j: Any, out: Any, first: Any, last: Any
    ) -> Any:
        if any(
            matrix.layout != "C" or matrix.dtype != types.float32 for matrix in (one, turned, out)
        ):
            raise TypingError("a tile is of contiguous float32 matrices")

        def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            kinds = signature.args
            left, right, to = (_Matrix(context, builder, kinds[n], given[n]) for n in (0, 2, 4))
            row, col, begin, end = (
                context.cast(builder, given[n], kinds[n], types.intp) for n in (1, 3, 5, 6)
            )
            sums = _summed(builder, lanes, left, right, (row, col), (begin, end))
            again = builder.icmp_signed(">", begin, ir.Constant(begin.type, 0))
            for number, total in enumerate(sums):
                here = builder.add(row, ir.Constant(row.type, number))
                place = to.vector(here, col, lanes)
                with builder.if_then(again):
                    more = builder.fadd(builder.load(place, align=4), builder.load(total))
                    builder.store(more, total)
                builder.store(builder.load(total), place, align=4)
            return context.get_dummy_value()

        return types.void(one, i, turned, j, out, first, last), build

    return intrinsic(unwrap(tile))


class _Matrix:
    """A C-contiguous matrix of float32 in a kernel that is being built."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        made = context.make_array(kind)(context, builder, value)
        self.builder, self.data = builder, made.data
        self.width = cgutils.unpack_tuple(builder, made.shape)[1]

    def at(self, row: Any, col: Any) -> Any:
        """Where an element is."""
        return self.builder.gep(
            self.data, [self.builder.add(self.builder.mul(row, self.width), col)]
        )

    def vector(self, row: Any, col: Any, lanes: int) -> Any:
        """Where a vector of elements begins."""
        kind = ir.VectorType(ir.FloatType(), lanes)
        return self.builder.bitcast(self.at(row, col), kind.as_pointer())


def _summed(
    builder: Any, lanes: int, one: _Matrix, turned: _Matrix, at: Any, terms: Any
) -> list[Any]:
    """Where the sums of each row are: products of its terms with a vector of columns."""
    kind = ir.VectorType(ir.FloatType(), lanes)
    places = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    undefined, zero = ir.Constant(kind, ir.Undefined), ir.Constant(ir.IntType(32), 0)
    sums = [cgutils.alloca_once(builder, kind) for _ in range(ROWS)]
    for total in sums:
        builder.store(ir.Constant(kind, [0.0] * lanes), total)
    rows = [builder.add(at[0], ir.Constant(at[0].type, row)) for row in range(ROWS)]
    step = ir.Constant(at[0].type, 1)
    with cgutils.for_range_slice(builder, *terms, step, inc=True) as (term, _):
        line = builder.load(turned.vector(term, at[1], lanes), align=4)
        for row, total in zip(rows, sums, strict=True):
            value = builder.load(one.at(row, term))
            alone = builder.insert_element(undefined, value, zero)
            everywhere = builder.shuffle_vector(alone, undefined, places)
            product = builder.fmul(everywhere, line, flags=CONTRACT)
            builder.store(builder.fadd(builder.load(total), product, flags=CONTRACT), total)
    return sums


_one_vector, _two_vectors = _tile(LANES), _tile(2 * LANES)


@compiled()
def multiply(one: Array, turned: Array, out: Array) -> None:
    """``out = one @ turned``, in a kernel.

    Args:
        one: float32, (row, term), C-contiguous; at least :data:`ROWS` rows.
        turned: float32, (term, col), C-contiguous; a multiple of :data:`LANES` columns.
        out: float32, (row, col), C-contiguous.
    """
    rows, terms = one.shape
    cols = turned.shape[1]
    j = 0
    while j < cols:
        wide = TWICE and cols - j >= 2 * LANES
        # Blocks at the edge overlap; what they do twice comes out the same.
        for i in range(0, rows, ROWS):
            at = min(i, rows - ROWS)
            for first in range(0, terms, RUN):
                last = min(first + RUN, terms)
                if wide:
                    _two_vectors(one, at, turned, j, out, first, last)
                else:
                    _one_vector(one, at, turned, j, out, first, last)
        j += 2 * LANES if wide else LANES


@compiled()
def padded(rows: Array) -> Array:
    """The rows, the last of them repeated where they are fewer than a tile has."""
    if len(rows) >= ROWS:
        return rows
    more = np.empty((ROWS, rows.shape[1]), dtype=rows.dtype)
    for row in range(ROWS):
        copy(more[row], rows[min(row, len(rows) - 1)])
    return more


@compiled()
def _turn(rows: Array, to: Array, at: int, start: int, stop: int) -> None:
    cols, terms = rows.shape[1:]
    behind = at + cols
    for item in range(start, stop):
        source, out = rows[item % len(rows)], to[item]
        for low in range(0, terms, LANES):
            whole = terms - low >= LANES
            if to.shape[2] - behind < LANES:  # the last family: what is left of its last vector
                for k in range(low, min(low + LANES, terms)):
                    for col in range(behind, to.shape[2]):
                        out[k, col] = 0.0
            for col in range(cols):
                line = source[col]
                if whole:
                    for k in range(LANES):
                        out[low + k, at + col] = line[low + k]
                else:
                    for k in range(low, terms):
                        out[k, at + col] = line[k]


def turned(families: Sequence[Array]) -> Array:
    """Rows, one family behind the other, as columns of a product, filled up with zeros to vectors.

    Args:
        families: float32, (batch, col, term) each; a batch of one goes with every item of others.

    Returns:
        (batch, term, col), the last axis a multiple of :data:`LANES`.
    """
    batch, terms = max(map(len, families)), families[0].shape[2]
    cols = [rows.shape[1] for rows in families]
    width = -(-sum(cols) // LANES) * LANES
    out = np.empty((batch, terms, width), dtype=np.float32)

    def turn(start: int, stop: int) -> None:
        at = 0
        for rows, count in zip(families, cols, strict=True):
            _turn(rows, out, at, start, stop)
            at += count

    spread(turn, batch, width * terms)
    return out


@compiled()
def _products(one: Array, turned: Array, out: Array) -> None:
    all_rows = np.empty((max(len(one), ROWS), turned.shape[1]), dtype=out.dtype)
    multiply(padded(one), turned, all_rows)
    for row in range(len(out)):
        copy(out[row], all_rows[row])


def products(one: Array, two: Array) -> Array:
    """``one @ two.T``, each row of ``one`` as if it were alone.

    Args:
        one: float32, (row, term), C-contiguous.
        two: float32, (col, term), C-contiguous.
    """
    right = turned((two[None],))[0]
    out = np.empty((len(one), len(two)), dtype=np.float32)
    spread(
        lambda start, stop: _products(one[start:stop], right, out[start:stop]), len(one), two.size
    )
    return out
