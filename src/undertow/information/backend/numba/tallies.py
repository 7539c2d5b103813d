"""Joint histograms of finely binned maps on the CPU, by counting in tables.

The work grows with the positions, where meeting planes of bits (``histograms`` beside this file)
grows with the cells as well. Eight bins are read at once, and neighbouring positions count in
different tables: they often share a cell, and an addition would wait for the one before it.
"""

from __future__ import annotations

from functools import lru_cache
from math import log, log2
from typing import NamedTuple

import numpy as np

from undertow.information.backend.numba.kernels import Array, compiled, spread

__all__ = ["Packed", "corrected_terms", "tallies", "tally_bits", "terms"]

SMALL = 16
"""Bins up to which two bin numbers share a byte."""


class Packed(NamedTuple):
    """Binned maps made ready to be met, and what each holds.

    Args:
        words: the maps, 64 bits a word: int64, (..., map, and one axis or two).
        own: Σ c·log2 c / n over a map's bins, (..., map).
        used: how many of its bins are occupied, (..., map).
    """

    words: Array
    own: Array
    used: Array


@lru_cache(maxsize=64)
def terms(n: int) -> Array:
    """c·log2 c / n for the counts c = 0, ..., n."""
    counts = np.arange(n + 1, dtype=np.float64)
    return counts * np.log2(np.maximum(counts, 1)) / n


def corrected_terms(n: int) -> tuple[Array, float]:
    """The terms of a joint histogram, with what Miller and Madow take off for an occupied cell.

    Returns:
        (n + 1,), 0 for an empty cell; and what they take off, in bits.
    """
    correction = 1 / (2 * n * log(2))
    table = terms(n) - correction
    table[0] = 0
    return table, correction


@compiled()
def _count(words: Array, tables: Array) -> None:
    """Count the bytes of words, neighbours in different tables."""
    first, second, third, fourth = tables[0], tables[1], tables[2], tables[3]
    byte = np.uint64(255)
    for i in range(words.shape[0]):
        word = words[i]
        for _ in range(2):
            first[word & byte] += 1
            second[(word >> np.uint64(8)) & byte] += 1
            third[(word >> np.uint64(16)) & byte] += 1
            fourth[(word >> np.uint64(24)) & byte] += 1
            word >>= np.uint64(32)


@compiled()
def _cross(left: Array, right: Array, cells: Array, tables: Array) -> None:
    """Count the cells of two maps: 16 to a row where a cell fits into a byte."""
    if tables.shape[1] <= SMALL * SMALL:
        for i in range(cells.shape[0]):
            cells[i] = left[i] << np.uint64(4) | right[i]
        _count(cells, tables)
        return
    table, rows, cols = tables[0], left.view(np.uint8), right.view(np.uint8)
    bins = np.uint64(np.sqrt(table.shape[0]))
    for i in range(rows.shape[0]):
        table[np.uint64(rows[i]) * bins + np.uint64(cols[i])] += 1


@compiled()
def _gather(tables: Array, filled: int, counts: Array) -> None:
    """The counts of all tables, less those of positions that were filled up; the tables empty."""
    first, second, third, fourth = tables[0], tables[1], tables[2], tables[3]
    for cell in range(counts.shape[0]):
        counts[cell] = first[cell] + second[cell] + third[cell] + fourth[cell]
    counts[0] -= filled
    tables[:] = 0


@compiled()
def _total(counts: Array, table: Array) -> float:
    """The sum of the cells' terms, four sums at once."""
    a = b = c = d = 0.0
    part = counts.shape[0] // 4
    first, second = counts[:part], counts[part : 2 * part]
    third, fourth = counts[2 * part : 3 * part], counts[3 * part : 4 * part]
    for i in range(part):
        a += table[np.uint64(first[i])]
        b += table[np.uint64(second[i])]
        c += table[np.uint64(third[i])]
        d += table[np.uint64(fourth[i])]
    for count in counts[4 * part :]:
        a += table[np.uint64(count)]
    return (a + b) + (c + d)


@compiled()
def _tallies(
    bins: Array, count: int, table: Array, own: Array, used: Array, start: int, stop: int
) -> None:
    tables = np.zeros((4, count), dtype=np.uint32)
    counts = np.empty(count, dtype=np.uint32)
    filled = 8 * bins.shape[1] - (table.shape[0] - 1)
    for row in range(start, stop):
        _count(bins[row], tables)
        _gather(tables, filled, counts)
        own[row], used[row] = _total(counts, table), np.count_nonzero(counts)


def tallies(bins: Array, count: int) -> Packed:
    """What each map holds.

    Args:
        bins: uint8, (row, position), each below ``count``.
        count: bins, at most 255.

    Returns:
        The bins themselves, eight to a word and filled up with zeros, (row, word).
    """
    rows, positions = bins.shape
    if positions % 8:
        bins = np.pad(bins, ((0, 0), (0, -positions % 8)))
    words = np.ascontiguousarray(bins).view(np.uint64)
    own, used = np.empty(rows, np.float64), np.empty(rows, np.int64)
    table = terms(positions)
    spread(
        lambda start, stop: _tallies(words, count, table, own, used, start, stop), rows, positions
    )
    return Packed(words.view(np.int64), own, used)


@compiled()
def _tally_bits(
    a: Packed, b: Packed, at: Array, bt: Array, table: Array, count: int, correction: float,
    base: float, out: Array, start: int, stop: int,
) -> None:  # fmt: skip
    side = max(count, SMALL)
    tables = np.zeros((4, side * side), dtype=np.uint32)
    counts = np.empty(side * side, dtype=np.uint32)
    cells = np.empty(a.words.shape[2], dtype=np.uint64)
    filled = 8 * cells.shape[0] - (table.shape[0] - 1)
    for item in range(start, stop):
        p, q = at[item], bt[item]
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                rows, cols = a.used[p, i], b.used[q, j]
                if rows < 2 or cols < 2:
                    out[item, i, j] = 0
                    continue
                _cross(a.words[p, i], b.words[q, j], cells, tables)
                _gather(tables, filled, counts)
                total = base - a.own[p, i] - b.own[q, j] + correction * (rows + cols - 1)
                out[item, i, j] = total + _total(counts, table)


def tally_bits(a: Packed, b: Packed, pairs: tuple[Array, Array], count: int, n: int) -> Array:
    """Bits of every row of ``a[at]`` with every row of ``b[bt]``, for each pair (at, bt).

    I = log2 n + (Σ_ij c_ij·log2 c_ij - Σ_i c_i·log2 c_i - Σ_j c_j·log2 c_j) / n, plus
    Miller-Madow.

    Args:
        a: what :func:`tallies` gives, with axes (batch, row) in front.
        b: the same with axes (batch, col).
        pairs: two index arrays of equal length.
        count: bins.
        n: positions.
    """
    at, bt = pairs
    out = np.empty((len(at), a.own.shape[1], b.own.shape[1]), dtype=np.float32)
    table, correction = corrected_terms(n)
    a, b = (Packed(p.words.view(np.uint64), p.own, p.used) for p in (a, b))
    spread(
        lambda start, stop: _tally_bits(
            a, b, at, bt, table, count, correction, log2(n), out, start, stop
        ),
        len(at),
        out.shape[1] * out.shape[2] * n,
    )
    return out
