"""The pair search against brute force over all pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from undertow.attacks.parts import saliency, saliency_anywhere


class Anywhere:
    """The search in torch, asked with arrays as the other is."""

    @staticmethod
    def best_pairs(alpha, beta, domain, direction="increase"):
        given = (torch.from_numpy(np.ascontiguousarray(v)) for v in (alpha, beta, domain))
        return saliency_anywhere.best_pairs(*given, direction).numpy()

    @staticmethod
    def best_gradients(alpha, domain, direction="increase"):
        given = (torch.from_numpy(np.ascontiguousarray(v)) for v in (alpha, domain))
        return saliency_anywhere.best_gradients(*given, direction).numpy()


both = pytest.mark.parametrize("by", [saliency, Anywhere], ids=["compiled", "torch"])


def all_pairs(alpha, beta, domain, direction):
    """Algorithm 3 of the paper, line by line: value and pair, the first of equal ones."""
    best, pair = 0.0, (-1, -1)
    features = [i for i in range(len(alpha)) if domain[i]]
    for k, p in enumerate(features):
        for q in features[k + 1 :]:
            a = float(alpha[p]) + float(alpha[q])
            b = float(beta[p]) + float(beta[q])
            admissible = (a > 0 and b < 0) if direction == "increase" else (a < 0 and b > 0)
            if admissible and -a * b > best:
                best, pair = -a * b, (p, q)
    return best, pair


def value(pair, alpha, beta):
    if pair[0] < 0:
        return 0.0
    a, b = (float(v[pair[0]]) + float(v[pair[1]]) for v in (alpha, beta))
    return -a * b


directions = st.sampled_from(["increase", "decrease"])
small = st.integers(-3, 3).map(float)  # few values: ties everywhere
wide = st.floats(-1e6, 1e6, width=32)


def problems(numbers):
    return st.integers(1, 24).flatmap(
        lambda n: st.tuples(
            arrays(np.float32, n, elements=numbers),
            arrays(np.float32, n, elements=numbers),
            arrays(np.bool_, n),
            directions,
        )
    )


@both
@settings(max_examples=150, deadline=None)
@given(problems(small))
def test_the_pair_is_brute_forces_even_with_ties(by, problem):
    alpha, beta, domain, direction = problem
    _, expected = all_pairs(*problem)
    found = by.best_pairs(alpha[None], beta[None], domain[None], direction)
    assert tuple(found[0]) == expected


@both
@settings(max_examples=150, deadline=None)
@given(problems(wide))
def test_the_value_is_brute_forces_for_any_numbers(by, problem):
    alpha, beta, domain, direction = problem
    best, _ = all_pairs(*problem)
    found = by.best_pairs(alpha[None], beta[None], domain[None], direction)[0]
    assert value(found, alpha, beta) == best
    assert found[0] < 0 or (domain[found].all() and found[0] < found[1])


@both
@pytest.mark.parametrize("direction", ["increase", "decrease"])
@pytest.mark.parametrize("correlation", [-0.99, -0.5, 0.0, 0.9])
def test_long_rows_of_every_correlation(by, direction, correlation):
    rng = np.random.default_rng(3)
    alpha = rng.normal(size=(6, 300)).astype(np.float32)
    noise = rng.normal(size=(6, 300))
    beta = -(correlation * alpha + np.sqrt(1 - correlation**2) * noise).astype(np.float32)
    domain = rng.random((6, 300)) < 0.8
    found = by.best_pairs(alpha, beta, domain, direction)
    for row in range(6):
        assert tuple(found[row]) == all_pairs(alpha[row], beta[row], domain[row], direction)[1]


@both
def test_a_partner_may_be_negative_in_one_of_the_two(by):
    # The best single features are 2 and 3, but 0 and 1 make up for each other's weakness.
    alpha = np.array([[9.0, -1.0, 2.0, 2.0]], np.float32)
    beta = np.array([[1.0, -9.0, -2.0, -2.0]], np.float32)
    assert by.best_pairs(alpha, beta, np.ones((1, 4), bool)).tolist() == [[0, 1]]


@both
@pytest.mark.parametrize(
    ("alpha", "domain"),
    [
        ([-1.0, -2.0, -3.0], [True, True, True]),  # nothing helps
        ([5.0, 4.0, 3.0], [True, False, False]),  # one feature left
        ([5.0, 4.0, 3.0], [False, False, False]),
        ([0.0, 0.0, 0.0], [True, True, True]),
        ([5.0, np.nan, np.nan], [True, True, True]),
    ],
)
def test_no_admissible_pair(by, alpha, domain):
    alpha = np.array([alpha], np.float32)
    found = by.best_pairs(alpha, -np.ones_like(alpha), np.array([domain]))
    assert found.tolist() == [[-1, -1]]


@both
def test_softmax_outputs_need_the_top_two_only(by):
    alpha = np.random.default_rng(0).normal(size=(8, 500)).astype(np.float32)
    found = by.best_pairs(alpha, -alpha, np.ones(alpha.shape, bool))
    assert (found == np.sort(np.argsort(-alpha, axis=1)[:, :2], axis=1)).all()


@both
def test_an_antidiagonal_of_candidates_is_searched_in_full(by):
    # Every feature is on the first Pareto layer: no pair of the n² can be left out beforehand.
    alpha = np.linspace(0.5, 2.0, 400, dtype=np.float32)[None]
    beta = -1 / alpha
    _, expected = all_pairs(alpha[0], beta[0], np.ones(400, bool), "increase")
    assert tuple(by.best_pairs(alpha, beta, np.ones((1, 400), bool))[0]) == expected


@both
@given(problems(small))
def test_the_gradient_rule_takes_the_two_largest(by, problem):
    alpha, _, domain, direction = problem
    sign = 1 if direction == "increase" else -1
    order = sorted(np.flatnonzero(domain), key=lambda i: (-sign * alpha[i], i))
    expected = sorted(order[:2]) if len(order) >= 2 else [-1, -1]
    assert by.best_gradients(alpha[None], domain[None], direction).tolist() == [expected]


@both
def test_no_rows(by):
    empty = np.empty((0, 5), np.float32)
    assert by.best_pairs(empty, empty, np.empty((0, 5), bool)).shape == (0, 2)
    assert by.best_gradients(empty, np.empty((0, 5), bool)).shape == (0, 2)
