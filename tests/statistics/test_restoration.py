"""Areas and intervals of restoration curves against closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertow.statistics.effects import proportion, wilson
from undertow.statistics.restoration import area, share


def test_area_of_lines_over_doublings() -> None:
    count = np.array([1, 2, 4, 8, -1])
    assert area(np.array([1.0, 1.0, 1.0, 1.0, np.nan]), count) == 1
    assert area(np.array([0.0, 1 / 3, 2 / 3, 1.0, np.nan]), count) == pytest.approx(0.5)
    assert area(np.array([0.0, 0.0, 0.0, 1.0, np.nan]), count) == pytest.approx(1 / 6)


def test_unequal_steps_count_by_their_doublings() -> None:
    found = area(np.array([0.0, 0.0, 1.0, 1.0]), np.array([1, 4, 6, 16]))
    wanted = (np.log2(6 / 4) / 2 + np.log2(16 / 6)) / 4
    assert found == pytest.approx(wanted)


def test_one_map_is_its_own_area_and_batches_keep_their_axes() -> None:
    assert area(np.array([1.0, np.nan]), np.array([1, -1])) == 1
    curve = np.random.default_rng(0).random((5, 2, 3, 4))
    count = np.array([[1, 2, 4, 8], [1, 2, 3, -1]])
    found = area(curve, count[None, :, None])
    assert found.shape == (5, 2, 3)
    assert found[4, 1, 2] == pytest.approx(float(area(curve[4, 1, 2], count[1])))


@given(st.integers(1, 500), st.data())
def test_wilson_is_that_of_scipy(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    low, high = wilson(np.array([hits / n]), n)
    wanted = proportion(hits, n)
    assert (low[0], high[0]) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


def test_shares_of_several_orders_lie_inside_their_interval() -> None:
    values = np.array([[0.25, np.nan], [0.75, np.nan], [1.0, np.nan]])
    mean, low, high = share(values)
    assert mean[0] == pytest.approx(2 / 3)
    assert low[0] < 2 / 3 < high[0]
    assert np.isnan([mean[1], low[1], high[1]]).all()
