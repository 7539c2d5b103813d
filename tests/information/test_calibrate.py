"""The tasks' stated truths, against numerical integration; the table itself."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_t, t

from undertow.errors import BadInput, UnknownName
from undertow.information import truths
from undertow.information.calibrate import PARTS, Calibration, calibrate
from undertow.information.truths import TASKS


def test_student_truth_is_the_integral() -> None:
    """I = ∫∫ p log2 (p / p_x p_y), by the midpoint rule on arctan axes."""
    rho, freedom, steps = 0.8, 5, 1200
    angle = (np.arange(steps) + 0.5) / steps * np.pi - np.pi / 2
    axis = np.tan(angle)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    joint = multivariate_t([0, 0], [[1, rho], [rho, 1]], df=freedom).pdf(np.stack([x, y], -1))
    margin = t(freedom).pdf(axis)
    inner = joint * np.log2(joint / np.outer(margin, margin)) * (1 + x**2) * (1 + y**2)
    bits = inner.sum() * (np.pi / steps) ** 2
    assert truths.student(rho, freedom).bits == pytest.approx(bits, abs=1e-3)


@pytest.mark.parametrize("epsilon", [0.1, 0.4])
def test_additive_noise_truth_is_the_integral(epsilon: float) -> None:
    """h(Y) - h(noise) with the trapezoid density of Y."""
    y = np.linspace(-epsilon, 1 + epsilon, 2_000_001)
    density = np.clip(np.minimum(y + epsilon, 1 + epsilon - y) / (2 * epsilon), 1e-300, 1)
    entropy = -np.sum(density * np.log2(density)) * (y[1] - y[0])
    truth = entropy - np.log2(2 * epsilon)
    assert truths.additive_noise(epsilon).bits == pytest.approx(truth, abs=1e-4)


@pytest.mark.parametrize("task", [task for task in TASKS if task.monotone], ids=lambda x: x.name)
def test_monotone_tasks_are_gaussian_copulas(task: truths.KnownPair) -> None:
    """Transforms keep the order of each variable, so ranks are those of the Gaussian pair."""
    x, y = task.draw(np.random.default_rng(0), (1, 500))
    plain = truths.gaussian(np.sqrt(1 - 2.0 ** (-2 * task.bits)))
    u, v = plain.draw(np.random.default_rng(0), (1, 500))
    np.testing.assert_array_equal(x.argsort(), u.argsort())
    np.testing.assert_array_equal(y.argsort(), v.argsort())


def test_shared_zeros() -> None:
    x, y = truths.shared_zeros(0.9).draw(np.random.default_rng(0), (1, 10_000))
    np.testing.assert_array_equal(x == 0, y == 0)
    assert (x == 0).mean() == pytest.approx(0.9, abs=0.02)
    assert truths.shared_zeros(0.5).bits == 1


@pytest.fixture(scope="module")
def table() -> list[Calibration]:
    return calibrate(estimators=["gaussian_copula", "binned"], samples=1 << 14)


def test_every_part_and_estimator_is_there(table: list[Calibration]) -> None:
    assert {(line.part, line.estimator) for line in table} == {
        (part, name) for part in PARTS for name in ("gaussian_copula", "binned")
    }
    assert {line.n for line in table if line.part == "independence"} == {16, 64, 256, 1024}
    assert all(np.isfinite([line.mean, line.std, line.error]).all() for line in table)


def test_what_the_estimators_are_meant_for_comes_out(table: list[Calibration]) -> None:
    """At most 0.01 bit at independence, 5 % elsewhere, beyond three errors of the mean."""
    for line in table:
        noise = 3 * line.std / line.repeats**0.5
        if line.part in {"independence", "zeros"}:
            assert abs(line.bias) <= 0.01 + noise, line
        if line.part == "truth" and line.estimator == "gaussian_copula" and line.expected:
            assert abs(line.bias) <= 0.05 * line.truth + noise, line


def test_the_copula_is_blind_where_the_table_says_so(table: list[Calibration]) -> None:
    found = {(line.estimator, line.task): line for line in table if line.n == 1024}
    blind, seen = found["gaussian_copula", "half turn"], found["binned", "half turn"]
    assert not blind.expected
    assert blind.bias < -0.6
    assert seen.bias > -0.15


def test_what_an_estimate_is_meant_to_be(table: list[Calibration]) -> None:
    """Lower bounds lie below the truth; the copula on shared zeros may lie on either side."""
    for line in table:
        if line.reads == "lower bound":
            assert line.mean <= line.truth + 3 * line.std / line.repeats**0.5, line
    shared = [line for line in table if line.task.startswith("shared zeros") and line.n == 1024]
    for line in shared:
        if line.estimator == "binned":
            assert line.reads == "value"
            assert line.mean == pytest.approx(line.truth, abs=0.03)
    copula = {line.task: line for line in shared if line.estimator == "gaussian_copula"}
    assert all(line.reads == "no bound" for line in copula.values())
    assert copula["shared zeros 50%"].bias < -0.2
    assert copula["shared zeros 90%"].bias > 0.5


def test_nulls_on_smooth_maps(table: list[Calibration]) -> None:
    found = {
        line.null: line.mean
        for line in table
        if (line.estimator, line.task, line.n) == ("binned", "blur 3", 1024)
    }
    assert found[""] > 0.1
    assert abs(found["mismatch"]) < found[""] / 3
    assert abs(found["shift"]) < found[""] / 3
    assert found["shuffle"] > found[""] / 2


def test_same_seed_same_table() -> None:
    def one(seed: int) -> list[Calibration]:
        return calibrate(estimators=["binned"], parts=["independence"], samples=512, seed=seed)

    assert one(1) == one(1)
    assert one(1) != one(2)


def test_unknown_names() -> None:
    with pytest.raises(UnknownName, match="allowed: binned, binned_width, gaussian_copula, ksg"):
        calibrate(estimators=["kraskov"])
    with pytest.raises(BadInput, match="allowed: truth, independence, zeros, smoothness"):
        calibrate(parts=["truths"])
