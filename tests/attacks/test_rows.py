"""Rows of a batch: which go on, how large they are, whether they are the same."""

from __future__ import annotations

import pytest
import torch

from undertow.attacks.parts.rows import kept, same, size


def test_kept_rows() -> None:
    x = torch.arange(6.0).view(3, 2)
    assert kept(torch.ones(3, dtype=torch.bool), x) is x
    assert kept(torch.tensor([True, False, True]), x).tolist() == [[0, 1], [4, 5]]


def test_the_same_values() -> None:
    x = torch.arange(9.0).view(3, 3)
    assert same(x, x.detach())
    assert same(x, x.clone())
    assert not same(x, x.clone() + 1)
    assert not same(x, x.t()), "the same memory, read in another order"
    assert not same(x, x[:2])
    assert not same(x, x.to(torch.float64).view(torch.float32)[:, :3])


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1.0, 1e30])
def test_sizes_are_zero_and_finite_where_rows_are(scale: float) -> None:
    """Also where squares leave the range of float32."""
    g = torch.zeros(5, 1, 2, 2)
    g[1, 0, 0, 1], g[2] = scale, -scale
    g[3, 0, 1, 1] = torch.inf
    g[4, 0, 1, 0] = torch.nan
    assert ((size(g) == 0) == (g == 0).flatten(1).all(1)).all()
    assert (torch.isfinite(size(g)) == torch.isfinite(g).flatten(1).all(1)).all()
    whole = size(g[1:3])
    assert (whole > 0).all()
    assert torch.isfinite(whole).all()
