"""Joint histograms of coarsely binned maps on the CPU, by counting common bits.

A map with B bins is B planes of bits, one bit a position. The joint count of two bins is the
number of ones in the conjunction of their planes: 64 positions a step. One bin of one map is met
with the bins of all maps of the other family at once, which lie side by side and fill vector
registers. Only occupied bins have a plane; which bin it was does not matter.
"""

from __future__ import annotations

from math import log2

import numpy as np

from undertow.information.backend.numba.kernels import Array, compiled, ones, spread
from undertow.information.backend.numba.ranking import ordered
from undertow.information.backend.numba.tallies import Packed, corrected_terms, terms

__all__ = ["equal_widths", "plane_bits", "planes"]

NEAR = 24 * 1024
"""Bytes of planes that are met at once: they stay in the first-level cache."""
LINE = 64
"""Bytes of a cache line: rows of planes start on one, and no two at the same place in a page."""


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
def _digits(bins: Array, digits: Array) -> None:
    """Binary digits of bin numbers, one bit a position; eight positions at a time."""
    for digit in range(digits.shape[0]):
        line, shift = digits[digit], np.uint64(digit)
        for i in range(bins.shape[0]):
            ones_ = (bins[i] >> shift) & np.uint64(0x0101010101010101)
            line[i] = np.uint8((ones_ * np.uint64(0x0102040810204080)) >> np.uint64(56))


@compiled()
def _expanded(digits: Array, valid: Array, flips: Array, out: Array, here: Array) -> None:
    """All planes from the digits, and how many positions each has."""
    here[:] = 0
    for word in range(out.shape[0]):
        line = out[word]
        line[:] = valid[word]
        for digit in range(digits.shape[0]):
            bits, flip = digits[digit, word], flips[digit]
            for which in range(line.shape[0]):
                line[which] &= bits ^ flip[which]
        for which in range(line.shape[0]):
            here[which] += ones(line[which])


@compiled()
def _planes(
    bins: Array, valid: Array, flips: Array, table: Array, out: Array, own: Array, used: Array,
    start: int, stop: int,
) -> None:  # fmt: skip
    here = np.empty(out.shape[2], dtype=np.uint64)
    eights = np.empty((flips.shape[0], bins.shape[1]), dtype=np.uint8)
    digits = eights.view(np.uint64)
    for row in range(start, stop):
        _digits(bins[row], eights)
        _expanded(digits, valid, flips, out[row], here)
        occupied, total = 0, 0.0
        for which in range(here.shape[0]):
            if here[which] > 0:
                total += table[here[which]]
                if occupied < which:
                    for word in range(out.shape[1]):
                        out[row, word, occupied] = out[row, word, which]
                occupied += 1
        own[row], used[row] = total, occupied


def planes(bins: Array, count: int) -> Packed:
    """Bit planes of binned maps.

    Args:
        bins: uint8, (row, position), each below ``count`` (at most 255).
        count: bins.

    Returns:
        A bit a position, (row, word, plane), the occupied bins first (what follows them has no
        meaning).
    """
    rows, positions = bins.shape
    words = (positions + 63) // 64
    valid = np.full(words, -1, dtype=np.int64).view(np.uint64)
    if positions % 64:
        bins = np.pad(bins, ((0, 0), (0, 64 * words - positions)))
        valid[-1] = (1 << positions % 64) - 1
    eights = np.ascontiguousarray(bins).view(np.uint64)
    out = np.empty((rows, words, count), dtype=np.uint64)
    own, used = np.empty(rows, np.float64), np.empty(rows, np.int64)
    # Where a digit of the bin is 0, the digit of the positions is flipped.
    digit = np.arange((count - 1).bit_length())[:, None]
    flips = ((np.arange(count) >> digit & 1) - 1).view(np.uint64)
    table = terms(positions)
    spread(
        lambda start, stop: _planes(
            eights, valid, flips, table, out, own, used, start, stop
        ),
        rows,
        positions,
    )  # fmt: skip
    return Packed(out.view(np.int64), own, used)


@compiled()
def _side_by_side(planes: Array, used: Array, out: Array, first: Array) -> None:
    """The occupied planes of all maps in one line a word; ``first`` says where each begins."""
    begin = 0
    for row in range(planes.shape[0]):
        first[row] = begin
        for word in range(planes.shape[1]):
            source, line = planes[row, word], out[word, begin : begin + used[row]]
            for which in range(line.shape[0]):
                line[which] = source[which]
        begin += used[row]
    first[planes.shape[0]] = begin


@compiled()
def _meet(
    left: Array, which: int, right: Array, low: int, high: int, counts: Array, table: Array,
    sums: Array,
) -> None:  # fmt: skip
    """Add to ``sums`` the terms of the joint counts of one plane with a stretch of others."""
    here, found = counts[: high - low], sums[low:high]
    here[:] = 0
    words = right.shape[0]
    for w in range(0, words - words % 8, 8):
        w0, w1, w2, w3 = left[w, which], left[w + 1, which], left[w + 2, which], left[w + 3, which]
        w4, w5, w6 = left[w + 4, which], left[w + 5, which], left[w + 6, which]
        w7 = left[w + 7, which]
        r0, r1, r2 = right[w, low:high], right[w + 1, low:high], right[w + 2, low:high]
        r3, r4, r5 = right[w + 3, low:high], right[w + 4, low:high], right[w + 5, low:high]
        r6, r7 = right[w + 6, low:high], right[w + 7, low:high]
        for v in range(here.shape[0]):
            here[v] += (
                ones(w0 & r0[v]) + ones(w1 & r1[v]) + ones(w2 & r2[v]) + ones(w3 & r3[v])
                + ones(w4 & r4[v]) + ones(w5 & r5[v]) + ones(w6 & r6[v]) + ones(w7 & r7[v])
            )  # fmt: skip
    for w in range(words - words % 8, words):
        word, line = left[w, which], right[w, low:high]
        for v in range(here.shape[0]):
            here[v] += ones(word & line[v])
    for v in range(here.shape[0]):
        found[v] += table[here[v]]


@compiled()
def _plane_bits(
    a: Array, b: Array, a_own: Array, b_own: Array, a_used: Array, b_used: Array,
    at: Array, bt: Array, table: Array, correction: float, base: float, out: Array,
    right: Array, start: int, stop: int,
) -> None:  # fmt: skip
    block = max(8, NEAR // (8 * right.shape[0]) // 8 * 8)
    counts = np.empty(block, dtype=np.uint64)
    sums, first = np.empty(right.shape[1]), np.zeros(b.shape[1] + 1, dtype=np.int64)
    for item in range(start, stop):
        p, q = at[item], bt[item]
        if item == start or q != bt[item - 1]:
            _side_by_side(b[q], b_used[q], right, first)
        lanes = first[b.shape[1]]
        for i in range(a.shape[1]):
            rows = a_used[p, i]
            sums[:lanes] = 0
            for low in range(0, lanes, block):
                for which in range(rows):
                    _meet(a[p, i], which, right, low, min(low + block, lanes), counts, table, sums)
            for j in range(b.shape[1]):
                cols, total = b_used[q, j], base - a_own[p, i] - b_own[q, j]
                for v in range(first[j], first[j + 1]):
                    total += sums[v]
                total += correction * (rows + cols - 1)
                out[item, i, j] = total if rows > 1 and cols > 1 else 0.0


def _lines(words: int, lanes: int) -> Array:
    """Room for planes, each word's in a line of its own that starts a cache line."""
    width = -(-8 * lanes // LINE) * LINE + 3 * LINE
    room = np.empty(words * width + LINE, dtype=np.uint8)
    begin = -room.ctypes.data % LINE
    return room[begin : begin + words * width].view(np.uint64).reshape(words, width // 8)


def plane_bits(a: Packed, b: Packed, pairs: tuple[Array, Array], n: int) -> Array:
    """As :func:`undertow.information.backend.numba.tallies.tally_bits`, from planes.

    Args:
        a: what :func:`planes` gives, with axes (batch, row) in front.
        b: the same with axes (batch, col).
        pairs: two index arrays of equal length.
        n: positions.
    """
    if a.words.shape[1] > 2 * b.words.shape[1]:
        # The larger family fills registers.
        return plane_bits(b, a, pairs[::-1], n).swapaxes(1, 2)
    left, right = a.words.view(np.uint64), b.words.view(np.uint64)
    (at, bt), words, lanes = pairs, right.shape[2], right.shape[1] * right.shape[3]
    out = np.empty((len(at), left.shape[1], right.shape[1]), dtype=np.float32)
    table, correction = corrected_terms(n)
    spread(
        lambda start, stop: _plane_bits(
            left, right, a.own, b.own, a.used, b.used, at, bt, table, correction, log2(n), out,
            _lines(words, lanes), start, stop,
        ),
        len(at),
        left.shape[1] * right.shape[1] * n,
    )  # fmt: skip
    return out
