from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from undertow.attacks.parts.balls import distance, l0_project, l2_project, linf_project, project


@st.composite
def deltas(draw: st.DrawFn) -> Tensor:
    seed = draw(st.integers(0, 2**31))
    scale = draw(st.floats(1e-4, 100.0))
    rows = draw(st.integers(1, 4))
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, 2, 3, 3, generator=generator, dtype=torch.float64)


@settings(max_examples=60, deadline=None)
@given(delta=deltas(), radius=st.floats(1e-3, 100.0), norm=st.sampled_from(["l2", "linf"]))
def test_inside_stays_and_outside_lands_on_the_sphere(
    delta: Tensor, radius: float, norm: str
) -> None:
    zero = torch.zeros_like(delta)
    before = distance(delta, zero, norm)  # type: ignore[arg-type]
    found = project(delta, radius, norm)  # type: ignore[arg-type]
    after = distance(found, zero, norm)  # type: ignore[arg-type]
    inside = before <= radius
    assert torch.equal(found[inside], delta[inside]), "a point inside was moved"
    expected = torch.full_like(after[~inside], radius)
    assert torch.allclose(after[~inside], expected, rtol=1e-9)
    assert torch.allclose(project(found, radius, norm), found, rtol=1e-12)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(delta=deltas(), other=deltas(), radius=st.floats(1e-2, 10.0))
def test_no_point_of_the_ball_is_nearer(delta: Tensor, other: Tensor, radius: float) -> None:
    rows = min(len(delta), len(other))
    delta, other = delta[:rows], other[:rows]
    for norm in ("l2", "linf"):
        rival = project(other, radius, norm)  # type: ignore[arg-type]
        mine = distance(project(delta, radius, norm), delta, "l2")  # type: ignore[arg-type]
        assert (mine <= distance(rival, delta, "l2") + 1e-9).all()


@settings(max_examples=60, deadline=None)
@given(delta=deltas(), components=st.integers(0, 20))
def test_l0_keeps_the_largest(delta: Tensor, components: int) -> None:
    found = l0_project(delta, components).flatten(1)
    flat = delta.flatten(1)
    assert ((found != 0).sum(1) == min(components, 18)).all()
    assert torch.equal(found[found != 0], flat[found != 0])
    if components >= 18:
        assert torch.equal(found, flat)
        return
    dropped = flat.abs().where(found == 0, 0).amax(1)
    kept = flat.abs().where(found != 0, torch.inf).amin(1)
    assert (kept >= dropped).all()


def test_one_radius_a_row() -> None:
    delta = torch.ones(3, 1, 2, 2)
    radius = torch.tensor([0.5, 1.0, 4.0])
    assert torch.allclose(
        l2_project(delta, radius).flatten(1).norm(dim=1), torch.tensor([0.5, 1, 2])
    )
    assert torch.allclose(linf_project(delta, radius).flatten(1).amax(1), torch.tensor([0.5, 1, 1]))


@pytest.mark.parametrize("norm", ["l0", "l2", "linf"])
def test_nothing_is_at_distance_zero(norm: str) -> None:
    x = torch.rand(2, 1, 3, 3)
    assert torch.equal(distance(x, x, norm), torch.zeros(2))  # type: ignore[arg-type]
    assert torch.equal(project(torch.zeros_like(x), 1.0, norm), torch.zeros_like(x))  # type: ignore[arg-type]
