"""The saliency maps of JSMA (Papernot 2016, 1511.07528): which two features to change next.

Pure functions on arrays. With A the target's derivative and B minus the derivative of all other
classes together (both with their signs flipped where features are decreased), the paper's map
asks for the pair (p, q) that maximises (A_p + A_q)(B_p + B_q) with both sums positive. The
product grows in each sum, so a feature that two others match or beat in A and in B is never
needed: whichever of the two is not its partner does as well or better. What is left, some 20 to
80 of thousands of features, is searched pair by pair, in memory linear in the features.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int64
from numba import njit

__all__ = ["Direction", "best_gradients", "best_pairs"]

Direction: TypeAlias = Literal["increase", "decrease"]
"""Whether features are raised or lowered."""


@njit(cache=True, nogil=True)
@no_type_check  # shape checks cannot be compiled
def _gather(a: Any, b: Any, found: Any) -> int:
    """Write into ``found`` the features that the two strongest single ones do not both beat."""
    first = second = -1
    best = next_best = a[0] * 0
    for i in range(a.size):
        value = a[i] * b[i]
        if value > next_best and a[i] > 0:
            if value > best:
                first, second, best, next_best = i, first, value, best
            else:
                second, next_best = i, value
    count = 0
    for i in range(a.size):
        if second < 0:
            stays = a[i] == a[i]
        else:
            stays = a[i] > a[first] or b[i] > b[first] or a[i] > a[second] or b[i] > b[second]
        if stays or i in (first, second):
            found[count] = i
            count += 1
    return count


@njit(cache=True, nogil=True)
@no_type_check
def _thin(a: Any, b: Any, found: Any, count: int) -> int:
    """Keep of ``found`` what fewer than two others match or beat: the first two Pareto layers.

    Of equal features the first counts as the better one, so that ties fall as documented.
    """
    keys = np.empty(count, a.dtype)
    for k in range(count):
        keys[k] = -a[found[k]]
    order = found[:count][np.argsort(keys, kind="mergesort")]
    top = runner_up = -np.inf
    kept = 0
    for i in order:
        if b[i] <= runner_up:
            continue
        if b[i] > top:
            top, runner_up = b[i], top
        else:
            runner_up = b[i]
        found[kept] = i
        kept += 1
    return kept


@njit(cache=True, nogil=True)
@no_type_check
def _pair(a: Any, b: Any, found: Any, count: int) -> tuple[int, int]:
    """The best pair among ``found``; of equal ones the first in lexicographic order."""
    best = 0.0
    p = q = -1
    for u in range(count):
        for v in range(u + 1, count):
            i, j = found[u], found[v]
            rise = np.float64(a[i]) + np.float64(a[j])
            fall = np.float64(b[i]) + np.float64(b[j])
            if rise > 0 and fall > 0 and rise * fall >= best:
                low, high = min(i, j), max(i, j)
                if rise * fall > best or p < 0 or low < p or (low == p and high < q):
                    best, p, q = rise * fall, low, high
    return p, q


@njit(cache=True, nogil=True)
@no_type_check
def _search(alpha: Any, beta: Any, domain: Any, sign: int) -> Any:
    rows, features = alpha.shape
    pairs = np.full((rows, 2), -1, np.int64)
    a, b = np.empty(features, alpha.dtype), np.empty(features, alpha.dtype)
    found = np.empty(features, np.int64)
    sign = a.dtype.type(sign)
    for row in range(rows if features > 1 else 0):
        np.multiply(alpha[row], sign, a)
        np.multiply(beta[row], -sign, b)
        for i in range(features):
            if not domain[row, i] or b[i] != b[i]:
                a[i] = b[i] = np.nan  # NaN is greater than nothing: never chosen
        count = _thin(a, b, found, _gather(a, b, found))
        pairs[row, 0], pairs[row, 1] = _pair(a, b, found, count)
    return pairs


def best_pairs(
    alpha: Float[np.ndarray, "sample feature"],
    beta: Float[np.ndarray, "sample feature"],
    domain: Bool[np.ndarray, "sample feature"],
    direction: Direction = "increase",
) -> Int64[np.ndarray, "sample 2"]:
    """The pair of features that maximises the paper's saliency map, exactly (its algorithm 3).

    Sums and products are taken in float64. Of equal pairs the first in lexicographic order is
    taken. Features whose derivatives are NaN are left out.

    Args:
        alpha: derivative of the target class, ∂F_t/∂x.
        beta: derivatives of all other classes together, Σ_{j≠t} ∂F_j/∂x.
        domain: the features that may be changed (the paper's Γ).
        direction: ``"increase"`` asks for α > 0 > β of the pair, ``"decrease"`` for α < 0 < β.

    Returns:
        (sample, 2): p < q, or -1, -1 where no pair is admissible.
    """
    sign = 1 if direction == "increase" else -1
    pairs: Int64[np.ndarray, "sample 2"] = _search(alpha, beta, domain, sign)
    return pairs


@njit(cache=True, nogil=True)
@no_type_check
def _largest(alpha: Any, domain: Any, sign: int) -> Any:
    rows, features = alpha.shape
    pairs = np.full((rows, 2), -1, np.int64)
    sign = alpha.dtype.type(sign)
    for row in range(rows):
        first = second = -1
        best = next_best = alpha.dtype.type(-np.inf)
        for i in range(features):
            value = sign * alpha[row, i]
            if value > next_best and domain[row, i]:
                if value > best:
                    first, second, best, next_best = i, first, value, best
                else:
                    second, next_best = i, value
        if second >= 0:
            pairs[row, 0], pairs[row, 1] = min(first, second), max(first, second)
    return pairs


def best_gradients(
    alpha: Float[np.ndarray, "sample feature"],
    domain: Bool[np.ndarray, "sample feature"],
    direction: Direction = "increase",
) -> Int64[np.ndarray, "sample 2"]:
    """The two features in which the target class grows most: the rule of other libraries.

    The other classes are not looked at, and the gradient may have either sign. Of equal features
    the first is taken; those whose derivative is NaN are left out.

    Args:
        alpha: derivative of the target class.
        domain: the features that may be changed.
        direction: ``"increase"`` takes the largest derivatives, ``"decrease"`` the smallest.

    Returns:
        (sample, 2): p < q, or -1, -1 where fewer than two features are left.
    """
    pairs: Int64[np.ndarray, "sample 2"] = _largest(
        alpha, domain, 1 if direction == "increase" else -1
    )
    return pairs
