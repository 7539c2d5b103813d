"""Correlations of normal scores on the CPU, and their bits.

Every sum is taken in an order that depends on the shapes of one sample alone, so neither the
batch nor the number of threads changes a bit of the result.
"""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np

from undertow.information.backend import FLAT
from undertow.information.backend.numba.kernels import Array, compiled, copy, spread
from undertow.information.backend.numba.ranking import look_through, look_up
from undertow.information.backend.numba.tiles import ROWS, multiply, padded, turned

__all__ = ["copula_bits", "copula_means", "correlations", "ranked_means", "standardised"]

_ANY_ORDER = {"reassoc", "contract", "nsz"}


@compiled(_ANY_ORDER)
def _standardise(
    scores: Array, least: Array, tied: Array, repeats: Array, means: Array, powers: Array,
    entropies: Array, entropy: Array,
) -> None:  # fmt: skip
    positions = scores.shape[1]
    for row in range(scores.shape[0]):
        line, count = scores[row], least[row]
        mean, power = means[count], powers[count]
        if tied[row]:
            total, power = np.float32(0.0), np.float32(0.0)
            for i in range(positions):
                total += line[i]
            mean = np.float32(total / np.float32(positions))
            for i in range(positions):
                gap = np.float32(line[i] - mean)
                power += gap * gap
        # The scores of a constant map are all 0, that of the middle rank.
        entropy[row] = 0
        if power > 0:
            entropy[row] = np.float32(entropies[count] - repeats[row] / positions)
        scale = np.float32(1.0 / np.sqrt(power)) if power > 0 else np.float32(0.0)
        for i in range(positions):
            line[i] = (line[i] - mean) * scale


@lru_cache(maxsize=64)
def _moments(table: bytes) -> tuple[Array, Array, Array]:
    """Mean, Σ(score - mean)² and entropy of a map that holds its least value k times, others once.

    All indexed by k = 0, ..., n; from the table of scores as :func:`standardised` takes it.
    """
    scores = np.frombuffer(table, dtype=np.float32).astype(np.float64)
    alone = scores[::2]
    n = len(alone)
    times = np.arange(n + 1)
    shared = np.append(0.0, scores[:n])
    rest = np.append(np.cumsum(alone[::-1])[::-1], 0.0)
    mean = (times * shared + rest) / n
    square = np.append(np.cumsum(np.square(alone)[::-1])[::-1], 0.0)
    power = times * np.square(shared) + square - n * np.square(mean)
    power[n] = 0
    entropy = np.log2(n) - times * np.log2(np.maximum(times, 1)) / n
    return mean.astype(np.float32), power.astype(np.float32), entropy


def standardised(maps: Array, table: Array) -> tuple[Array, Array] | None:
    """Scores of maps, each row at mean 0 and length 1 (all 0 where constant).

    Args:
        maps: float32, (row, position), C-contiguous.
        table: of scores, as for :func:`undertow.information.backend.numba.ranking.look_up`.

    Returns:
        Scores, and the entropy of each row in bits; ``None`` if a value is not finite.
    """
    entropy = np.empty(len(maps), dtype=np.float32)
    scores = look_up(maps, table, partial(_finish, entropy, _moments(table.tobytes())))
    return None if scores is None else (scores, entropy)


def _finish(
    entropy: Array, moments: tuple[Array, Array, Array], scores: Array, first: int, least: Array,
    tied: Array, repeats: Array,
) -> None:  # fmt: skip
    _standardise(scores, least, tied, repeats, *moments, entropy[first : first + len(scores)])


@compiled(_ANY_ORDER)
def _bits(row: Array, most: float, mosts: Array, bias: float, factor: float, floor: float) -> None:
    """Correlations to bits, in place: (-½·log2(max(1 - ρ², floor)) - bias)·factor.

    log2 of a float is its exponent plus log2 of the mantissa m in [√½, √2), from the series
    2·atanh(z)/ln 2 with z = (m - 1)/(m + 1), whose first term left out is below 1e-9. At
    most the entropy of either map; constant maps get 0.
    """
    for j in range(row.shape[0]):
        rho = row[j]
        rest = np.float32((np.float32(1.0) - rho) * (np.float32(1.0) + rho))
        rest = np.float32(max(rest, np.float32(floor)))
        pattern = np.int32(rest.view(np.int32) - np.int32(0x3F3504F3))
        exponent = np.int32(pattern >> np.int32(23))
        mantissa = np.int32((pattern & np.int32(0x7FFFFF)) + np.int32(0x3F3504F3)).view(np.float32)
        z = (mantissa - np.float32(1.0)) / (mantissa + np.float32(1.0))
        q = z * z
        series = np.float32(1 / 7) + q * np.float32(1 / 9)
        series = np.float32(1 / 3) + q * (np.float32(1 / 5) + q * series)
        log2 = np.float32(exponent) + np.float32(2.8853900817779268) * z * (
            np.float32(1.0) + q * series
        )
        bits = (np.float32(-0.5) * log2 - np.float32(bias)) * np.float32(factor)
        top = min(np.float32(most), mosts[j])
        row[j] = min(bits, top) if top > 0 else np.float32(0.0)


@compiled()
def _meet(
    one: Array, right: Array, most: Array, mosts: Array, found: Array,
    bias: float, factor: float, floor: float,
) -> None:  # fmt: skip
    """Bits of the rows of one item with all columns, into the first rows of ``found``.

    Columns that only fill up a vector get 0. Later rows are left undefined.
    """
    width = right.shape[1]
    tops = np.zeros(width, dtype=mosts.dtype)
    copy(tops[: mosts.shape[0]], mosts)
    multiply(padded(one), right, found)
    for i in range(one.shape[0]):
        _bits(found[i], most[i], tops, bias, factor, floor)


@compiled()
def _copula_bits(
    a: Array, right: Array, a_most: Array, b_most: Array, at: Array, bt: Array, out: Array,
    bias: float, factor: float, floor: float, start: int, stop: int,
) -> None:  # fmt: skip
    found = np.empty((max(a.shape[1], ROWS), right.shape[2]), dtype=out.dtype)
    for item in range(start, stop):
        p, q = at[item], bt[item]
        _meet(a[p], right[q], a_most[p], b_most[q], found, bias, factor, floor)
        for i in range(a.shape[1]):
            copy(out[item, i], found[i])


@compiled()
def _copula_means(
    a: Array, right: Array, a_most: Array, b_most: Array, member: Array, by_row: Array,
    by_part: Array, bias: float, factor: float, floor: float, start: int, stop: int,
) -> None:  # fmt: skip
    rows, groups = by_row.shape[1:]
    parts = by_part.shape[2]
    found = np.empty((max(rows, ROWS), right.shape[2]), dtype=a.dtype)
    together = np.empty((len(found), member.shape[1]), dtype=a.dtype)
    total = np.empty(right.shape[2])
    share = 1 / parts
    for item in range(start, stop):
        _meet(a[item], right[item], a_most[item], b_most[item], found, bias, factor, floor)
        multiply(found, member, together)
        for i in range(rows):
            line, sums = by_row[item, i], together[i]
            for group in range(groups):
                line[group] = sums[group] * share
        for j in range(total.shape[0]):
            total[j] = found[0, j]
        for i in range(1, rows):
            line = found[i]
            for j in range(total.shape[0]):
                total[j] += line[j]
        for j in range(parts):
            others = 0.0
            for group in range(1, groups):
                others += total[group * parts + j]
            by_part[item, 0, j] = total[j] / rows
            by_part[item, 1, j] = others / (rows * max(groups - 1, 1))


def copula_bits(
    a: Array, right: Array, a_most: Array, b_most: Array, pairs: tuple[Array, Array],
    bias: float, factor: float, floor: float,
) -> Array:  # fmt: skip
    """Bits of every row of ``a[at]`` with every column of ``right[bt]``, for each pair (at, bt).

    Args:
        a: standardised scores, (batch, row, position).
        right: standardised scores, :func:`turned`, (batch, position, padded col).
        a_most: entropies of the rows of ``a``, (batch, row); 0 where constant.
        b_most: the same for the columns of ``right``, (batch, col).
        pairs: two index arrays of equal length.
        bias: taken off each value, in bits.
        factor: what the rest is multiplied by.
        floor: the least 1 - ρ².
    """
    at, bt = pairs
    out = np.empty((len(at), a.shape[1], b_most.shape[1]), dtype=np.float32)
    spread(
        lambda start, stop: _copula_bits(
            a, right, a_most, b_most, at, bt, out, bias, factor, floor, start, stop
        ),
        len(at),
        a.shape[1] * right.shape[1] * right.shape[2],
    )
    return out


def copula_means(
    a: Array, right: Array, a_most: Array, b_most: Array, parts: int,
    bias: float, factor: float, floor: float,
) -> tuple[Array, Array]:  # fmt: skip
    """Means of what :func:`copula_bits` gives for each item with the same of ``right``.

    Args:
        a: standardised scores, (item, row, position).
        right: standardised scores, :func:`turned`, (item, position, padded col).
        a_most: entropies of the rows of ``a``, (item, row); 0 where constant.
        b_most: the same for the columns, (item, col), which are groups of ``parts``.
        parts: columns of a group.
        bias: taken off each value, in bits.
        factor: what the rest is multiplied by.
        floor: the least 1 - ρ².

    Returns:
        Means over the parts of each group, (item, row, group), and over rows, of the first group
        and of all others together, (item, 2, part); in double precision.
    """
    items, rows = a_most.shape
    found, member = _room(items, rows, b_most.shape[1], parts, right.shape[2])
    spread(
        lambda start, stop: _copula_means(
            a, right, a_most, b_most, member, *found, bias, factor, floor, start, stop
        ),
        items,
        rows * right.shape[1] * right.shape[2],
    )
    return found


def ranked_means(
    maps: Array, table: Array, right: Array, b_most: Array, parts: int,
    bias: float, factor: float, floor: float,
) -> tuple[Array, Array] | None:  # fmt: skip
    """:func:`copula_means` of maps that are ranked on the way, whose scores are not kept.

    A few items at a time, so that scores are met where they are still at hand.

    Args:
        maps: float32, (item, row, position), C-contiguous.
        table: as for :func:`standardised`.
        right: as for :func:`copula_means`.
        b_most: as for :func:`copula_means`.
        parts: as for :func:`copula_means`.
        bias: as for :func:`copula_means`.
        factor: as for :func:`copula_means`.
        floor: as for :func:`copula_means`.

    Returns:
        As of :func:`copula_means`; ``None`` if a value is not finite.
    """
    items, rows, positions = maps.shape
    (by_row, by_part), member = _room(items, rows, b_most.shape[1], parts, right.shape[2])
    moments = _moments(table.tobytes())

    def meet(scores: Array, first: int, least: Array, tied: Array, repeats: Array) -> None:
        entropy = np.empty(len(scores), dtype=np.float32)
        _standardise(scores, least, tied, repeats, *moments, entropy)
        count = len(scores) // rows
        some = slice(first // rows, first // rows + count)
        _copula_means(
            scores.reshape(count, rows, positions), right[some], entropy.reshape(count, rows),
            b_most[some], member, by_row[some], by_part[some], bias, factor, floor, 0, count,
        )  # fmt: skip

    fine = look_through(maps.reshape(-1, positions), table, meet, rows)
    return (by_row, by_part) if fine else None


def _room(
    items: int, rows: int, cols: int, parts: int, width: int
) -> tuple[tuple[Array, Array], Array]:
    """Arrays for the means, and which columns belong together."""
    groups = cols // parts
    room = np.empty((items, rows, groups)), np.empty((items, 2, parts))
    return room, _members(groups, parts, width)


@lru_cache(maxsize=64)
def _members(groups: int, parts: int, cols: int) -> Array:
    """1 where a column belongs to a group: a product with it sums each group, (col, group)."""
    member = np.zeros((1, groups, cols), dtype=np.float32)
    for group in range(groups):
        member[0, group, group * parts : (group + 1) * parts] = 1
    return np.asarray(turned((member,))[0])


@compiled()
def _correlations(s: Array, t: Array, out: Array, flat: float, start: int, stop: int) -> None:
    rows, count = s.shape[1:]
    centre, sums = np.empty((2, count)), np.empty((3, count))
    for item in range(start, stop):
        centre[:], sums[:] = 0.0, 0.0
        for i in range(rows):
            for j in range(count):
                centre[0, j] += s[item, i, j]
                centre[1, j] += t[item, i, j]
        centre /= rows
        for i in range(rows):
            for j in range(count):
                x, y = s[item, i, j] - centre[0, j], t[item, i, j] - centre[1, j]
                sums[0, j] += x * x
                sums[1, j] += y * y
                sums[2, j] += x * y
        for j in range(count):
            spread = np.sqrt(sums[0, j] * sums[1, j])
            out[item, j] = sums[2, j] / spread if spread > flat else 0.0


def correlations(s: Array, t: Array) -> Array:
    """Correlations over rows, (item, either), of (item, row, either); 0 where nothing differs."""
    out = np.empty((s.shape[0], s.shape[2]))
    spread(
        lambda start, stop: _correlations(s, t, out, FLAT, start, stop),
        len(s),
        s.shape[1] * s.shape[2],
    )
    return out
