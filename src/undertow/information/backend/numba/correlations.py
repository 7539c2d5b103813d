"""Correlations of normal scores on the CPU, and their bits.

Every sum is taken in an order that depends on the shapes of one sample alone, so neither the
batch nor the number of threads changes a bit of the result.
"""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np

from undertow.information.backend.numba.kernels import Array, compiled, copy, spread
from undertow.information.backend.numba.ranking import look_up

__all__ = ["copula_bits", "products", "standardised"]

_ANY_ORDER = {"reassoc", "contract", "nsz"}
SHORT, WIDE = 128, 32
"""Positions up to which, and columns from which on, sums run along the columns."""


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


@compiled(_ANY_ORDER)
def _twelve(one: Array, two: Array, out: Array, i: int, j: int) -> None:
    """Products of rows i, i+1, i+2 of ``one`` with rows j, ..., j+3 of ``two``.

    Twelve sums at once: each value loaded serves three or four of them.
    """
    a0, a1, a2 = one[i], one[i + 1], one[i + 2]
    b0, b1, b2, b3 = two[j], two[j + 1], two[j + 2], two[j + 3]
    s00 = s01 = s02 = s03 = np.float32(0.0)
    s10 = s11 = s12 = s13 = np.float32(0.0)
    s20 = s21 = s22 = s23 = np.float32(0.0)
    for k in range(one.shape[1]):
        s00 += a0[k] * b0[k]
        s01 += a0[k] * b1[k]
        s02 += a0[k] * b2[k]
        s03 += a0[k] * b3[k]
        s10 += a1[k] * b0[k]
        s11 += a1[k] * b1[k]
        s12 += a1[k] * b2[k]
        s13 += a1[k] * b3[k]
        s20 += a2[k] * b0[k]
        s21 += a2[k] * b1[k]
        s22 += a2[k] * b2[k]
        s23 += a2[k] * b3[k]
    out[i, j], out[i, j + 1], out[i, j + 2], out[i, j + 3] = s00, s01, s02, s03
    out[i + 1, j], out[i + 1, j + 1], out[i + 1, j + 2], out[i + 1, j + 3] = s10, s11, s12, s13
    out[i + 2, j], out[i + 2, j + 1], out[i + 2, j + 2], out[i + 2, j + 3] = s20, s21, s22, s23


@compiled()
def _at_least(maps: Array, count: int) -> Array:
    """The maps, the last of them repeated where they are fewer."""
    if len(maps) >= count:
        return maps
    more = np.empty((count, maps.shape[1]), dtype=maps.dtype)
    for row in range(count):
        copy(more[row], maps[min(row, len(maps) - 1)])
    return more


@compiled()
def _products(one: Array, two: Array, out: Array) -> None:
    """``out = one @ two.T``; how a sum is taken depends on the number of positions alone."""
    rows, cols = out.shape
    if rows < 3 or cols < 4:
        few = np.empty((max(rows, 3), max(cols, 4)), dtype=out.dtype)
        _products(_at_least(one, 3), _at_least(two, 4), few)
        for row in range(rows):
            copy(out[row], few[row])
        return
    # Blocks at the edges overlap; what they do twice comes out the same.
    for j in range(0, cols, 4):
        for i in range(0, rows, 3):
            _twelve(one, two, out, min(i, rows - 3), min(j, cols - 4))


def products(one: Array, two: Array) -> Array:
    """``one @ two.T``, each row of ``one`` as if it were alone.

    Args:
        one: float32, (row, term), C-contiguous.
        two: float32, (col, term), C-contiguous.
    """
    out = np.empty((len(one), len(two)), dtype=np.float32)
    spread(lambda start, stop: _products(one[start:stop], two, out[start:stop]), len(one), two.size)
    return out


@compiled(_ANY_ORDER)
def _four_rows(one: Array, turned: Array, out: Array, i: int) -> None:
    """Products of rows i, ..., i+3 of ``one`` with all columns of ``turned``, four terms a step."""
    x, y, z, u = one[i], one[i + 1], one[i + 2], one[i + 3]
    first, second, third, fourth = out[i], out[i + 1], out[i + 2], out[i + 3]
    out[i : i + 4] = 0
    whole = one.shape[1] - one.shape[1] % 4
    for k in range(0, whole, 4):
        x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
        y0, y1, y2, y3 = y[k], y[k + 1], y[k + 2], y[k + 3]
        z0, z1, z2, z3 = z[k], z[k + 1], z[k + 2], z[k + 3]
        u0, u1, u2, u3 = u[k], u[k + 1], u[k + 2], u[k + 3]
        b0, b1, b2, b3 = turned[k], turned[k + 1], turned[k + 2], turned[k + 3]
        for j in range(first.shape[0]):
            first[j] += x0 * b0[j] + x1 * b1[j] + x2 * b2[j] + x3 * b3[j]
            second[j] += y0 * b0[j] + y1 * b1[j] + y2 * b2[j] + y3 * b3[j]
            third[j] += z0 * b0[j] + z1 * b1[j] + z2 * b2[j] + z3 * b3[j]
            fourth[j] += u0 * b0[j] + u1 * b1[j] + u2 * b2[j] + u3 * b3[j]
    for k in range(whole, one.shape[1]):
        for j in range(first.shape[0]):
            first[j] += x[k] * turned[k, j]
            second[j] += y[k] * turned[k, j]
            third[j] += z[k] * turned[k, j]
            fourth[j] += u[k] * turned[k, j]


@compiled()
def _copula_bits(
    a: Array, b: Array, a_most: Array, b_most: Array, at: Array, bt: Array, out: Array,
    wide: bool, bias: float, factor: float, floor: float, start: int, stop: int,
) -> None:  # fmt: skip
    for item in range(start, stop):
        p, q = at[item], bt[item]
        if wide:
            for i in range(0, a.shape[1], 4):
                _four_rows(a[p], b[q], out[item], min(i, a.shape[1] - 4))
        else:
            _products(a[p], b[q], out[item])
        for i in range(a.shape[1]):
            _bits(out[item, i], a_most[p, i], b_most[q], bias, factor, floor)


def copula_bits(
    a: Array, b: Array, a_most: Array, b_most: Array, pairs: tuple[Array, Array],
    bias: float, factor: float, floor: float,
) -> Array:  # fmt: skip
    """Bits of every row of ``a[at]`` with every row of ``b[bt]``, for each pair (at, bt).

    Args:
        a: standardised scores, (batch, row, position).
        b: standardised scores, (batch, col, position).
        a_most: entropies of the rows of ``a``, (batch, row); 0 where constant.
        b_most: the same for ``b``.
        pairs: two index arrays of equal length.
        bias: taken off each value, in bits.
        factor: what the rest is multiplied by.
        floor: the least 1 - ρ².
    """
    if a.shape[1] > b.shape[1] and b.shape[1] < WIDE:
        turned = copula_bits(b, a, b_most, a_most, pairs[::-1], bias, factor, floor)
        return turned.swapaxes(1, 2)
    at, bt = pairs
    out = np.empty((len(at), a.shape[1], b.shape[1]), dtype=np.float32)
    # Short rows with many partners: sums run along the partners, none within a register.
    wide = b.shape[1] >= WIDE and a.shape[1] >= 4 and a.shape[2] <= SHORT
    right = np.ascontiguousarray(b.swapaxes(1, 2)) if wide else b
    spread(
        lambda start, stop: _copula_bits(
            a, right, a_most, b_most, at, bt, out, wide, bias, factor, floor, start, stop
        ),
        len(at),
        a.shape[1] * b.shape[1] * a.shape[2],
    )
    return out
