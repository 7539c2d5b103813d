from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from undertow import craft
from undertow.attacks import Noise
from undertow.attacks.controls import _reach
from undertow.errors import BadInput

Batch = tuple[Tensor, Tensor]


@pytest.mark.parametrize("kind", ["sign", "gaussian"])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_length_is_that_asked_for(model: nn.Module, batch: Batch, kind: str, norm: str) -> None:
    lengths = torch.linspace(0.05, 0.4, len(batch[0]))
    t = craft(Noise(**{norm: lengths, "kind": kind}), model, *batch)  # type: ignore[arg-type]
    moved = t.forwards > 1
    assert moved.any()
    assert torch.allclose(getattr(t, norm)[moved], lengths[moved], rtol=1e-4)
    assert (t.backwards == 0).all()


def test_lengths_go_with_their_inputs_whatever_the_batch(model: nn.Module, batch: Batch) -> None:
    lengths = torch.linspace(0.1, 0.9, len(batch[0]))
    whole = craft(Noise(l2=lengths), model, *batch)
    parts = craft(Noise(l2=lengths), model, *batch, batch_size=3)
    assert torch.equal(whole.end, parts.end)
    with pytest.raises(BadInput, match="3 lengths for 8 inputs"):
        craft(Noise(l2=lengths[:3]), model, *batch)


def test_a_length_of_zero_moves_nothing(model: nn.Module, batch: Batch) -> None:
    t = craft(Noise(l2=torch.zeros(len(batch[0]))), model, *batch)
    assert torch.equal(t.end, t.benign)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6), length=st.floats(1e-3, 50.0), norm=st.sampled_from(["l2", "linf"])
)
def test_as_long_as_asked_or_as_long_as_the_box_allows(seed: int, length: float, norm: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(3, 1, 4, 4, generator=generator, dtype=torch.float64)
    x[0] = x[0].round()  # every component at a side of the box
    d = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    asked = torch.full((3,), length, dtype=torch.float64)
    found = _reach(x, d, asked, norm)  # type: ignore[arg-type]
    assert found.min() >= 0
    assert found.max() <= 1
    p = 2 if norm == "l2" else float("inf")
    far = (found - x).flatten(1).norm(dim=1, p=p)
    corner = (d > 0).to(x) - x
    most = corner.flatten(1).norm(dim=1, p=p)
    assert torch.allclose(far, torch.minimum(asked, most), rtol=1e-6)
