from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from undertow import craft
from undertow.attacks import IGSM, Noise, Record, Spectrum, Transplant, draws_for, settings_of
from undertow.errors import BadInput
from undertow.testing.attacks import CONTRACT, Case


def made_for(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return craft(IGSM(epsilon=0.2, steps=3), model, x, y).end - x


@pytest.fixture(scope="module")
def change(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """What an attack adds to inputs that the model gets right."""
    x = batch[0][:5]
    return made_for(model, x, model(x).argmax(1))


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", [Spectrum, Transplant])
def test_contract(
    kind: type[Spectrum | Transplant],
    check: object,
    model: nn.Module,
    batch: tuple[Tensor, Tensor],
    change: Tensor,
) -> None:
    attack = kind(perturbation=change[:1], l2=0.7)
    check(Case(attack=attack, model=model, x=batch[0][:5], y=batch[1][:5]))  # type: ignore[operator]


@pytest.mark.parametrize("kind", [Noise, Spectrum, Transplant])
def test_the_length_is_the_attack_s(
    kind: type, model: nn.Module, batch: tuple[Tensor, Tensor], change: Tensor
) -> None:
    x = batch[0][:5]
    y = model(x).argmax(1)
    lengths = change.flatten(1).norm(dim=1)
    more = {} if kind is Noise else {"perturbation": change.roll(1, 0)}
    t = craft(kind(l2=lengths, **more), model, x, y, record=Record(every=None))
    found = (t.end - x).flatten(1).norm(dim=1)
    torch.testing.assert_close(found, lengths, rtol=1e-5, atol=1e-6)
    assert t.end.min() >= 0
    assert t.end.max() <= 1


def grey(seed: int, size: int, rows: int = 3) -> tuple[Tensor, Tensor]:
    """Inputs far from the ends, and small perturbations of them: nothing is clipped."""
    generator = torch.Generator().manual_seed(seed)
    x = 0.4 + 0.2 * torch.rand((rows, 2, size, size), generator=generator, dtype=torch.float64)
    return x, 0.01 * torch.randn((rows, 2, size, size), generator=generator, dtype=torch.float64)


@given(st.integers(0, 10**6), st.integers(3, 9))
@settings(max_examples=25, deadline=None)
def test_the_spectrum_stays_and_the_phases_do_not(seed: int, size: int) -> None:
    """Power at every frequency of every channel; channels keep their phases to one another."""
    x, p = grey(seed, size)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * size * size, 3)).double().eval()
    t = craft(Spectrum(perturbation=p), model, x, model(x).argmax(1), seed=seed)
    moved = t.end - x
    before, after = torch.fft.fft2(p), torch.fft.fft2(moved)
    torch.testing.assert_close(after.abs(), before.abs(), rtol=1e-6, atol=1e-8)
    assert not torch.allclose(moved, p, atol=1e-3)
    across = [(f[:, 0] * f[:, 1].conj()) for f in (before, after)]
    torch.testing.assert_close(across[0], across[1], rtol=1e-5, atol=1e-8)


def test_phases_are_the_input_s_own(model: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    """The same input draws the same phases in any batch, other inputs other ones."""
    x = batch[0][:1].expand(3, -1, -1, -1)
    y = model(x).argmax(1)
    p = 0.01 * torch.randn(x[:1].shape, generator=torch.Generator().manual_seed(3)).expand_as(x)
    draws = draws_for(0, [7, 8, 7])
    whole = craft(Spectrum(perturbation=p), model, x, y, seed=draws).end
    assert torch.equal(whole[0], whole[2])
    assert not torch.allclose(whole[0], whole[1], atol=1e-4)
    alone = craft(
        Spectrum(perturbation=p[1:2]), model, x[1:2], y[1:2], seed=draws[torch.tensor([1])]
    )
    torch.testing.assert_close(alone.end, whole[1:2], rtol=0, atol=1e-6)


def test_nothing_comes_of_nothing(model: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch[0][:2], batch[1][:2]
    for kind in (Spectrum, Transplant):
        assert torch.equal(craft(kind(), model, x, y).end, x)
        assert torch.equal(
            craft(kind(perturbation=torch.zeros_like(x), l2=1.0), model, x, y).end, x
        )


def test_a_transplant_goes_the_same_way(model: nn.Module) -> None:
    x, p = grey(1, 8)
    model = nn.Sequential(nn.Flatten(), nn.Linear(128, 3)).double().eval()
    lengths = torch.tensor([0.02, 0.05, 0.1], dtype=torch.float64)
    t = craft(Transplant(perturbation=p, l2=lengths), model, x, model(x).argmax(1))
    unit = p / p.flatten(1).norm(dim=1)[:, None, None, None]
    torch.testing.assert_close(t.end - x, unit * lengths[:, None, None, None], rtol=1e-5, atol=1e-9)


def test_settings_leave_the_images_out(change: Tensor) -> None:
    assert settings_of(Transplant(perturbation=change, l2=0.5)) == {"l2": 0.5}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"perturbation": torch.zeros(5, 3)}, "perturbation is (5, 3)"),
        ({"perturbation": torch.full((5, 1, 4, 4), float("nan"))}, "NaN"),
        ({"l2": [0.1, float("inf")]}, "l2 is inf"),
    ],
)
def test_bad_perturbations(more: dict[str, object], words: str) -> None:
    for kind in (Spectrum, Transplant):
        with pytest.raises(BadInput) as told:
            kind(**more)
        assert words in str(told.value)


def test_a_perturbation_of_other_inputs(model: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(BadInput, match="for 5"):
        craft(Transplant(perturbation=torch.zeros(2, 1, 8, 8)), model, batch[0][:5], batch[1][:5])
