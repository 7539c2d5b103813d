"""Joint histograms of binned maps on the CPU, by counting common bits.

A map with B bins is B planes of bits, one bit a position. The joint count of two bins is the
number of ones in the conjunction of their planes: 64 positions a step, and several bins at once
in a vector register. Only occupied bins have a plane; which bin it was does not matter.
"""

from __future__ import annotations

from functools import lru_cache
from math import log, log2

import numpy as np

from undertow.information.kernels import Array, compiled, ones, spread
from undertow.information.ranking import ordered

__all__ = ["binned_bits", "equal_widths", "planes"]

LANES = 4
"""Planes are padded to a multiple of this with empty ones; :func:`_cells` counts on four."""


@compiled()
def _equal_widths(maps: Array, raw: Array, count: int, out: Array, start: int, stop: int) -> bool:
    top = np.int32(count - 1)
    for row in range(start, stop):
        first = last = ordered(raw[row, 0])
        for i in range(maps.shape[1]):
            value = ordered(raw[row, i])
            first = min(first, value)
            last = max(last, value)
        if first <= -0x7F800001 or last >= 0x7F800000:
            return False
        # Double precision: the range of float32 values may itself exceed float32.
        low = np.float64(np.int32(ordered(first)).view(np.float32))
        high = np.float64(np.int32(ordered(last)).view(np.float32))
        scale = count / (high - low) if high > low else 0.0
        for i in range(maps.shape[1]):
            level = np.int32((np.float64(maps[row, i]) - low) * scale)
            out[row, i] = np.uint8(min(level, top))
    return True


def equal_widths(maps: Array, count: int) -> Array | None:
    """Bins of equal width between the least and the largest value of each row.

    Args:
        maps: float32, (row, position), C-contiguous.
        count: bins.

    Returns:
        uint8, (row, position); ``None`` if a value is not finite.
    """
    out = np.empty(maps.shape, dtype=np.uint8)
    raw = maps.view(np.int32)
    bad: list[int] = []

    def work(start: int, stop: int) -> None:
        if not _equal_widths(maps, raw, count, out, start, stop):
            bad.append(start)

    spread(work, *maps.shape)
    return None if bad else out


@compiled()
def _planes(
    bins: Array, count: int, table: Array, out: Array, own: Array, used: Array,
    start: int, stop: int,
) -> None:  # fmt: skip
    words = out.shape[1]
    eights = np.empty(bins.shape[1], dtype=np.uint8)
    for row in range(start, stop):
        occupied, total = 0, 0.0
        for which in range(count):
            # Eight bins at a time: bytes equal to ``which`` become one bit each.
            pattern = np.uint64(0x0101010101010101) * np.uint64(which)
            for i in range(bins.shape[1]):
                other = bins[row, i] ^ pattern
                low = (other & np.uint64(0x7F7F7F7F7F7F7F7F)) + np.uint64(0x7F7F7F7F7F7F7F7F)
                equal = ~(low | other) & np.uint64(0x8080808080808080)
                gathered = (equal >> np.uint64(7)) * np.uint64(0x0102040810204080)
                eights[i] = np.uint8(gathered >> np.uint64(56))
            plane = eights.view(np.uint64)
            here = np.uint64(0)
            for word in range(words):
                here += ones(plane[word])
            if here > 0:
                for word in range(words):
                    out[row, word, occupied] = plane[word]
                occupied += 1
                total += table[here]
        own[row], used[row] = total, occupied


def planes(bins: Array, count: int) -> tuple[Array, Array, Array]:
    """Bit planes of binned maps.

    Args:
        bins: uint8, (row, position), each below ``count`` (at most 255).
        count: bins.

    Returns:
        int64 words, (row, word, plane), the occupied bins first; Σ c·log2 c / n over each row's
        bins; how many of them are occupied.
    """
    rows, positions = bins.shape
    words = (positions + 63) // 64
    if positions % 64:
        # 255 is no bin: padding sets no bit.
        bins = np.pad(bins, ((0, 0), (0, 64 * words - positions)), constant_values=255)
    eights = np.ascontiguousarray(bins).view(np.uint64)
    out = np.zeros((rows, words, -(-count // LANES) * LANES), dtype=np.uint64)
    own, used = np.empty(rows, np.float64), np.empty(rows, np.int64)
    table = terms(positions)
    spread(
        lambda start, stop: _planes(eights, count, table, out, own, used, start, stop),
        rows,
        positions,
    )
    return out.view(np.int64), own, used


@lru_cache(maxsize=64)
def terms(n: int) -> Array:
    """c·log2 c / n for the counts c = 0, ..., n."""
    counts = np.arange(n + 1, dtype=np.float64)
    return counts * np.log2(np.maximum(counts, 1)) / n


@compiled()
def padded(count: int) -> int:
    """The least multiple of the lanes that is no less."""
    return (count + LANES - 1) // LANES * LANES


@compiled()
def _cells(
    left: Array, right: Array, rows: int, cols: int, counts: Array, table: Array
) -> tuple[float, int]:
    """Σ c·log2 c / n over the cells of a joint histogram, and how many are occupied."""
    words = left.shape[0]
    whole, wide = words - words % 4, padded(cols)
    # Four sums, one a lane: each waits for its own last term only.
    s0, s1, s2, s3, empty = 0.0, 0.0, 0.0, 0.0, 0
    for u in range(rows):
        for v in range(wide):
            counts[v] = 0
        for w in range(0, whole, 4):
            w0, w1, w2, w3 = left[w, u], left[w + 1, u], left[w + 2, u], left[w + 3, u]
            for v in range(wide):
                counts[v] += (
                    ones(w0 & right[w, v]) + ones(w1 & right[w + 1, v])
                    + ones(w2 & right[w + 2, v]) + ones(w3 & right[w + 3, v])
                )  # fmt: skip
        for w in range(whole, words):
            for v in range(wide):
                counts[v] += ones(left[w, u] & right[w, v])
        for v in range(0, wide, 4):
            s0 += table[counts[v]]
            s1 += table[counts[v + 1]]
            s2 += table[counts[v + 2]]
            s3 += table[counts[v + 3]]
        for v in range(wide):
            empty += int(counts[v] == 0)
    return (s0 + s1) + (s2 + s3), rows * wide - empty


@compiled()
def _binned_bits(
    a: Array, b: Array, a_own: Array, b_own: Array, a_used: Array, b_used: Array,
    at: Array, bt: Array, table: Array, correction: float, base: float, out: Array,
    start: int, stop: int,
) -> None:  # fmt: skip
    counts = np.empty(max(a.shape[3], b.shape[3]), dtype=np.uint64)
    for item in range(start, stop):
        p, q = at[item], bt[item]
        for i in range(a.shape[1]):
            for j in range(b.shape[1]):
                rows, cols = a_used[p, i], b_used[q, j]
                if rows < 2 or cols < 2:
                    out[item, i, j] = 0.0
                    continue
                # Columns fill registers: the cheaper of the two ways round.
                if rows * padded(cols) > cols * padded(rows):
                    total, occupied = _cells(b[q, j], a[p, i], cols, rows, counts, table)
                else:
                    total, occupied = _cells(a[p, i], b[q, j], rows, cols, counts, table)
                plug_in = base + total - a_own[p, i] - b_own[q, j]
                out[item, i, j] = plug_in + correction * (rows + cols - occupied - 1)


def binned_bits(
    a: tuple[Array, Array, Array], b: tuple[Array, Array, Array], pairs: tuple[Array, Array], n: int
) -> Array:
    """Bits of every row of ``a[at]`` with every row of ``b[bt]``, for each pair (at, bt).

    I = log2 n + (Σ_ij c_ij·log2 c_ij - Σ_i c_i·log2 c_i - Σ_j c_j·log2 c_j) / n, plus
    Miller-Madow.

    Args:
        a: what :func:`planes` gives, with axes (batch, row) in front.
        b: the same with axes (batch, col).
        pairs: two index arrays of equal length.
        n: positions.
    """
    (left, a_own, a_used), (right, b_own, b_used) = a, b
    left, right = left.view(np.uint64), right.view(np.uint64)
    table, (at, bt) = terms(n), pairs
    out = np.empty((len(at), left.shape[1], right.shape[1]), dtype=np.float32)
    correction, base = 1 / (2 * n * log(2)), log2(n)
    spread(
        lambda start, stop: _binned_bits(
            left, right, a_own, b_own, a_used, b_used, at, bt, table, correction, base, out,
            start, stop,
        ),
        len(at),
        left.shape[1] * right.shape[1] * n,
    )  # fmt: skip
    return out
