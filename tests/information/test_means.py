"""Means of the matrices without the matrices, and the products they are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from undertow.errors import BadInput
from undertow.information import ESTIMATORS, NULLS
from undertow.information.backend import backend_of, using
from undertow.information.backend.numba import tiles
from undertow.information.coded import Coded, References
from undertow.information.matrices import Means, chance, means, source, target
from undertow.information.nulls import shift
from undertow.measuring.meter import by_row


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(
    rows=st.integers(1, 20), cols=st.integers(1, 70), terms=st.integers(1, 150),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_products_are_those_of_double_precision(rows, cols, terms, seed) -> None:
    one, two = noise(seed, rows, terms).numpy(), noise(seed + 1, cols, terms).numpy()
    truth = one.astype(np.float64) @ two.T.astype(np.float64)
    size = np.abs(one).astype(np.float64) @ np.abs(two).T
    found = tiles.products(one, two)
    assert (np.abs(found - truth) <= 4e-7 * size).all()
    # A row's products are its own, whatever stands beside it.
    row, col = seed % rows, seed % cols
    assert np.array_equal(tiles.products(one[row : row + 1], two)[0], found[row])
    assert np.array_equal(tiles.products(one, two[col : col + 1])[:, 0], found[:, col])


def test_families_are_turned_one_behind_the_other() -> None:
    own, shared = noise(0, 3, 5, 40).numpy(), noise(1, 1, 14, 40).numpy()
    found = tiles.turned((own, shared))
    assert found.shape == (3, 40, 32)
    for item in range(3):
        assert np.array_equal(found[item, :, :5], own[item].T)
        assert np.array_equal(found[item, :, 5:19], shared[0].T)
    assert not found[:, :, 19:].any()


SETTINGS: dict[str, dict[str, Any]] = {
    "all references": {},
    "drawn": {"chosen": torch.tensor([[0, 2], [3, 1], [1, 1]])},
    "shift": {"null": shift, "draws": by_row(0, 3)},
    "shuffle": {"null": NULLS["shuffle"], "draws": by_row(0, 3)},
}


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("setting", sorted(SETTINGS))
@pytest.mark.parametrize("name", ["gaussian_copula", "binned"])
def test_they_are_the_means_of_the_matrices(name, setting, backend) -> None:
    estimator, how = ESTIMATORS[name](), SETTINGS[setting]
    maps, inputs, evidence = (
        noise(0, 3, 7, 8, 8).relu(),
        noise(1, 3, 3, 16, 16),
        noise(2, 3, 4, 8, 8),
    )
    maps[:, 2] = 1.0  # a dead map
    others, theirs = References(noise(3, 4, 3, 16, 16)), References(noise(4, 4, 4, 8, 8))
    with using(backend):
        S = Means.of(source(estimator, inputs, maps, others, **how), maps=2)
        T = Means.of(target(estimator, maps, evidence, theirs, **how), maps=1)
        for truth, of in ((S, (inputs, others)), (T, (evidence, theirs))):
            for once in (False, True):
                found = means(estimator, maps, *of, once=once, **how)
                torch.testing.assert_close(found.by_map, truth.by_map, atol=2e-6, rtol=1e-5)
                torch.testing.assert_close(found.by_part, truth.by_part, atol=2e-6, rtol=1e-5)
                assert not found.by_map[:, 2].any()


def test_a_samples_means_are_its_own() -> None:
    """Bit for bit, whichever others share the batch, and however many threads there are."""
    estimator = ESTIMATORS["gaussian_copula"]()
    maps, evidence = noise(0, 40, 9, 24, 24).relu(), noise(1, 40, 3, 24, 24)
    chosen = torch.arange(40)[:, None] % torch.tensor([7, 5])
    theirs = References(noise(2, 8, 3, 24, 24))
    threads = torch.get_num_threads()
    try:
        for once in (False, True):
            found = []
            for count in (1, 2):
                torch.set_num_threads(count)
                found.append(means(estimator, maps, evidence, theirs, chosen=chosen, once=once))
            for row in (0, 17, 39):
                some = slice(row, row + 1)
                given = maps[some], evidence[some], theirs
                found.append(means(estimator, *given, chosen=chosen[some], once=not once))
                assert torch.equal(found[-1].by_map[0], found[0].by_map[row])
                assert torch.equal(found[-1].by_part[0], found[0].by_part[row])
            assert torch.equal(found[0].by_map, found[1].by_map)
            assert torch.equal(found[0].by_part, found[1].by_part)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ["gaussian_copula", "binned"])
def test_chance_is_the_mean_of_all_replacements(name) -> None:
    estimator, draws = ESTIMATORS[name](), by_row(0, 3)
    maps, evidence = Coded(noise(0, 3, 7, 8, 8)), Coded(noise(1, 3, 4, 8, 8))
    truth = target(estimator, maps, evidence, None, null=shift, draws=draws).null.mean((1, 2))
    found = chance(estimator, maps, evidence, shift, draws)
    torch.testing.assert_close(found.float(), truth, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_what_is_not_finite_is_refused_on_the_way(backend, value) -> None:
    maps = noise(0, 3, 7, 8, 8)
    maps[1, 2, 3, 4] = value
    with (
        using(backend),
        pytest.raises(BadInput, match="1 of 1344 values of the maps are NaN or inf"),
    ):
        means(
            ESTIMATORS["gaussian_copula"](), maps, noise(1, 3, 2, 8, 8),
            References(noise(2, 4, 2, 8, 8)), once=True,
        )  # fmt: skip


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_correlations_are_pearsons(backend) -> None:
    s, t = noise(0, 4, 11, 3).double(), noise(1, 4, 11, 3).double()
    s[2, :, 1] = 0.3
    with using(backend):
        found = backend_of(s).correlations(s, t)
    for item in range(4):
        for either in range(3):
            if (item, either) == (2, 1):
                assert found[item, either] == 0
                continue
            truth = np.corrcoef(s[item, :, either], t[item, :, either])[0, 1]
            assert found[item, either] == pytest.approx(truth, abs=1e-12)
