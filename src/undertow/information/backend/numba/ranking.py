"""Exact average ranks on the CPU, by sorting integer keys that carry their position.

The key of a value is its level in the range of its map, in as many bits as there are to spare,
followed by its position. numpy sorts rows of such integers with the machine's vector units, many
times faster than it finds the order of floats; runs of equal keys are settled by the values. The
least value, the common one behind a ReLU, is counted and not sorted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from undertow.information.backend.numba.kernels import Array, compiled, spread

__all__ = ["CHUNK", "average_ranks", "look_through", "look_up", "ordered"]

Then: TypeAlias = Callable[[Array, int, Array, Array, Array], None]

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
    The least value is the common one behind a ReLU: ``least`` counts how often it occurs, and all
    its keys are the largest there is, which a quicksort sets aside in passing. False: a value is
    not finite (the range is taken over integers, which puts NaN beyond infinity).
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
            least_one = np.int32(maps[row, i] == low)
            count += least_one
            level = np.float32((maps[row, i] - low) * scale)
            level = top if level > top else level
            keys[row, i] = ((np.int32(level) << index_bits) | i) | -least_one
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
def _closest(keys: Array) -> Any:
    """The least difference in bits of two neighbours among sorted keys."""
    largest = ~keys.dtype.type(0)
    if keys.shape[0] < 2:
        return largest
    closest, after = largest, keys[1:]
    for i in range(after.shape[0]):
        closest = min(closest, keys.dtype.type(keys[i] ^ after[i]))
    return closest


@compiled()
def _look_up(
    maps: Array, keys: Array, least: Array, table: Array, out: Array, tied: Array, index_bits: int,
    repeats: Array,
) -> None:  # fmt: skip
    """``out[row, position] = table[first + last]`` of the run of equal values it belongs to.

    ``tied`` says where other values than the least might occur more than once, ``repeats`` is
    Σ c·log2 c over how often each of those does.
    """
    rows, positions = maps.shape
    mask = keys.dtype.type((1 << index_bits) - 1)
    for row in range(rows):
        # All positions get the least value's entry; keys tell of the others.
        count, found = least[row], out[row]
        found[:] = table[count - 1]
        order, entries = keys[row, : positions - count], table[2 * count :]
        tied[row] = _closest(order) <= mask
        repeats[row] = 0.0
        if tied[row]:
            repeats[row] = _settle(maps[row], order, mask, entries, found)
            continue
        for i in range(np.uint64(order.shape[0])):
            found[np.uint64(order[i] & mask)] = entries[np.uint64(2) * i]


@compiled()
def _settle(values: Array, order: Array, mask: int, table: Array, found: Array) -> float:
    """A row some of whose keys share their level; Σ c·log2 c over its runs of equal values."""
    start, positions, repeats = 0, order.shape[0], 0.0
    while start < positions:
        stop = start + 1
        while stop < positions and (order[start] ^ order[stop]) <= mask:
            stop += 1
        if stop - start == 1:
            found[order[start] & mask] = table[2 * start]
            start = stop
        else:
            _by_value(values, order[start:stop], mask)
            repeats += _runs(values, order, start, stop, mask, table, found)
            start = stop
    return repeats


@compiled()
def _runs(
    values: Array, order: Array, start: int, stop: int, mask: int, table: Array, found: Array
) -> float:
    """Entries for the places from ``start`` to ``stop``, whose values are in order."""
    repeats = 0.0
    while start < stop:
        end = start + 1
        while end < stop and values[order[end] & mask] == values[order[start] & mask]:
            end += 1
        for i in range(start, end):
            found[order[i] & mask] = table[start + end - 1]
        if end - start > 1:
            repeats += (end - start) * np.log2(end - start)
        start = end
    return repeats


def look_up(maps: Array, table: Array, then: Then | None = None) -> Array | None:
    """Replace every value by a table's entry for its average rank.

    Args:
        maps: float32, (row, position), C-contiguous.
        table: (2·position - 1,); entry ``first + last`` serves the values that take the places
            from ``first`` to ``last`` (counted from 0) of their row in ascending order.
        then: called with some rows of the result that are done and still at hand, the number of
            the first of them, how often each holds its least value, where other values might
            occur more than once, and Σ c·log2 c over how often those do.

    Returns:
        Array of the table's dtype, (row, position); ``None`` if a value is not finite.
    """
    out = np.empty(maps.shape, dtype=table.dtype)
    bad: list[int] = []
    spread(partial(_rank, maps, table, then, out, 1, bad), *maps.shape)
    return None if bad else out


def look_through(maps: Array, table: Array, then: Then, together: int) -> bool:
    """As :func:`look_up`, but what comes out is shown to ``then`` and not kept.

    Args:
        maps: float32, (row, position), C-contiguous.
        table: as for :func:`look_up`.
        then: as for :func:`look_up`; called with whole groups of rows.
        together: rows of a group.

    Returns:
        ``False`` if a value is not finite.
    """
    rows, positions = maps.shape
    bad: list[int] = []
    spread(
        partial(_rank, maps, table, then, None, together, bad),
        rows // together,
        positions * together,
    )
    return not bad


def _rank(
    maps: Array, table: Array, then: Then | None, out: Array | None, together: int,
    bad: list[int], start: int, stop: int,
) -> None:  # fmt: skip
    """Groups of rows from ``start`` up to ``stop``; or the row where ``bad`` ones begin."""
    positions = maps.shape[1]
    start, stop = start * together, stop * together
    index_bits = max(1, (positions - 1).bit_length())
    dtype = np.uint32 if index_bits <= 14 else np.uint64
    levels = float((1 << min(24, dtype(0).itemsize * 8 - index_bits)) - 1)
    chunk = max(1, CHUNK // (positions * together)) * together
    keys = np.empty((min(chunk, stop - start), positions), dtype=dtype)
    again = np.empty(keys.shape, dtype=table.dtype) if out is None else None
    least, tied = np.empty(len(keys), dtype=np.int32), np.empty(len(keys), dtype=np.bool_)
    repeats = np.empty(len(keys))
    for low in range(start, stop, chunk):
        part = slice(low, min(low + chunk, stop))
        some, raw = keys[: part.stop - low], maps[part].view(np.int32)
        if not _keys(maps[part], raw, some, least, index_bits, levels):
            bad.append(low)
            return
        some.sort(axis=1)
        found = out[part] if out is not None else again[: len(some)]  # type: ignore[index]
        _look_up(maps[part], some, least, table, found, tied, index_bits, repeats)
        if then is not None:
            then(found, low, least, tied, repeats)


def average_ranks(maps: Array) -> Array | None:
    """Twice the average rank, counted from 0, of every value in its row: ``first + last``."""
    return look_up(maps, np.arange(2 * maps.shape[1] - 1, dtype=np.int32))
