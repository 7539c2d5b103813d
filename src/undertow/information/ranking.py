"""Exact average ranks on the CPU, by sorting integer keys that carry their position.

The key of a value is its level in the range of its map, in as many bits as there are to spare,
followed by its position. numpy sorts rows of such integers with the machine's vector units, many
times faster than it finds the order of floats; runs of equal keys are settled by the values.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from undertow.information.kernels import Array, compiled, spread

__all__ = ["average_ranks", "look_up", "ordered"]

CHUNK = 1 << 16
"""Elements worked on at once: keys and maps of a chunk fit the second-level cache."""


@compiled()
def ordered(pattern: int) -> np.int32:
    """A float's bits as an integer of the same order; its own inverse."""
    return np.int32(pattern ^ np.int32(np.int32(pattern >> 31) & np.int32(0x7FFFFFFF)))


@compiled({"nnan", "ninf", "nsz", "contract"})
def _keys(
    maps: Array, raw: Array, keys: Array, least: Array, index_bits: int, levels: float
) -> bool:
    """Sortable keys: the value in ``levels`` steps of its map's range, then the position.

    Subtracting, scaling and truncating never change the order of two values, so keys can only
    tie where values differ little; :func:`_look_up` settles those by the values themselves.
    ``least`` counts the values equal to the least. False: a value is not finite (the range is
    taken over integers, which puts NaN beyond infinity).
    """
    rows, positions = maps.shape
    top = np.float32(levels)
    for row in range(rows):
        first = last = ordered(raw[row, 0])
        for i in range(positions):
            value = ordered(raw[row, i])
            first = min(first, value)
            last = max(last, value)
        if first <= -0x7F800001 or last >= 0x7F800000:
            return False
        low = np.int32(ordered(first)).view(np.float32)
        high = np.int32(ordered(last)).view(np.float32)
        span, scale = np.float32(high - low), np.float32(0.0)
        if np.float32(1e-30) < span < np.float32(1e38):
            scale = np.float32(top / span)
        count = np.int32(0)
        for i in range(positions):
            count += np.int32(maps[row, i] == low)
            level = np.float32((maps[row, i] - low) * scale)
            level = top if level > top else level
            keys[row, i] = (np.int32(level) << index_bits) | i
        least[row] = count
    return True


@compiled()
def _by_value(values: Array, keys: Array, mask: int) -> None:
    """Shell sort of a few keys by the values they point to."""
    count = keys.shape[0]
    gap = 1
    while gap < count // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, count):
            key = keys[i]
            value = values[key & mask]
            j = i
            while j >= gap and values[keys[j - gap] & mask] > value:
                keys[j] = keys[j - gap]
                j -= gap
            keys[j] = key
        gap //= 3


@compiled()
def _look_up(
    maps: Array, keys: Array, least: Array, table: Array, out: Array, index_bits: int
) -> None:
    """``out[row, position] = table[first + last]`` of the run of equal values it belongs to."""
    rows, positions = maps.shape
    mask = (1 << index_bits) - 1
    for row in range(rows):
        # The least value is the common one behind a ReLU: its run needs no look at the keys.
        start = least[row]
        shared = table[start - 1]
        for i in range(positions):
            out[row, i] = shared
        if start < positions and keys[row, start] <= mask:
            start = 0
        closest = keys.dtype.type(keys.dtype.type(0) - 1)
        for i in range(start, positions - 1):
            closest = min(closest, keys.dtype.type(keys[row, i] ^ keys[row, i + 1]))
        if closest <= mask:
            _settle(maps[row], keys[row], start, mask, table, out[row])
        else:
            for i in range(start, positions):
                out[row, keys[row, i] & mask] = table[2 * i]


@compiled()
def _settle(values: Array, order: Array, start: int, mask: int, table: Array, found: Array) -> None:
    """A row some of whose keys share their level."""
    positions = order.shape[0]
    while start < positions:
        stop = start + 1
        while stop < positions and (order[start] ^ order[stop]) <= mask:
            stop += 1
        if stop - start == 1:
            found[order[start] & mask] = table[2 * start]
            start = stop
        else:
            _by_value(values, order[start:stop], mask)
            start = _runs(values, order, start, stop, mask, table, found)


@compiled()
def _runs(
    values: Array, order: Array, start: int, stop: int, mask: int, table: Array, found: Array
) -> int:
    """Entries for the places from ``start`` to ``stop``, whose values are in order."""
    while start < stop:
        end = start + 1
        while end < stop and values[order[end] & mask] == values[order[start] & mask]:
            end += 1
        for i in range(start, end):
            found[order[i] & mask] = table[start + end - 1]
        start = end
    return stop


def look_up(
    maps: Array, table: Array, then: Callable[[Array, int, int], None] | None = None
) -> Array | None:
    """Replace every value by a table's entry for its average rank.

    Args:
        maps: float32, (row, position), C-contiguous.
        table: (2·position - 1,); entry ``first + last`` serves the values that take the places
            from ``first`` to ``last`` (counted from 0) of their row in ascending order.
        then: called with the result and a range of rows that are done and still at hand.

    Returns:
        Array of the table's dtype, (row, position); ``None`` if a value is not finite.
    """
    rows, positions = maps.shape
    index_bits = max(1, (positions - 1).bit_length())
    dtype = np.uint32 if index_bits <= 14 else np.uint64
    levels = float((1 << min(24, dtype(0).itemsize * 8 - index_bits)) - 1)
    out = np.empty(maps.shape, dtype=table.dtype)
    raw = maps.view(np.int32)
    chunk = max(1, CHUNK // positions)
    bad: list[int] = []

    def work(start: int, stop: int) -> None:
        keys = np.empty((min(chunk, stop - start), positions), dtype=dtype)
        least = np.empty(len(keys), dtype=np.int32)
        for low in range(start, stop, chunk):
            part = slice(low, min(low + chunk, stop))
            some = keys[: part.stop - low]
            if not _keys(maps[part], raw[part], some, least, index_bits, levels):
                bad.append(low)
                return
            some.sort(axis=1)
            _look_up(maps[part], some, least, table, out[part], index_bits)
            if then is not None:
                then(out, part.start, part.stop)

    spread(work, rows, positions)
    return None if bad else out


def average_ranks(maps: Array) -> Array | None:
    """Twice the average rank, counted from 0, of every value in its row: ``first + last``."""
    return look_up(maps, np.arange(2 * maps.shape[1] - 1, dtype=np.int32))
