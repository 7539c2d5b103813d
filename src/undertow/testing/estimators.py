"""What every estimator of mutual information must do; parametrise over :data:`CHECKS`.

A check takes an estimator and raises ``AssertionError`` with what it saw. Estimators of one's own
are tested by ``for check in CHECKS.values(): check(MyEstimator())``.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log2, sqrt
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.errors import BadInput
from undertow.types import Estimator

__all__ = ["CHECKS"]

Maps = Float[Tensor, "*shape position"]


def _normal(seed: int, *shape: int) -> Maps:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _relu(seed: int, *shape: int, zeros: float = 0.5) -> Maps:
    """Maps with this share of zeros, as behind a ReLU."""
    values = _normal(seed, *shape)
    threshold = values.flatten().kthvalue(max(1, int(zeros * values.numel()))).values
    return torch.relu(values - threshold)


def _bits(
    estimator: Estimator,
    a: Float[Tensor, "*batch_a row position"],
    b: Float[Tensor, "*batch_b col position"],
) -> Float[Tensor, "*batch row col"]:
    return estimator.pairwise(estimator.encode(a), estimator.encode(b))


def is_an_estimator(estimator: Estimator) -> None:
    """It has a name and both phases."""
    assert isinstance(estimator, Estimator), f"{estimator!r} lacks name, encode or pairwise"
    assert estimator.name


def shape_and_dtype(estimator: Estimator) -> None:
    """Every row with every column, batch axes broadcast, float32."""
    a, b = _normal(0, 2, 1, 3, 64), _normal(1, 1, 4, 5, 64)
    bits = _bits(estimator, a, b)
    assert bits.shape == (2, 4, 3, 5), f"shape {tuple(bits.shape)}, expected (2, 4, 3, 5)"
    assert bits.dtype == torch.float32, f"dtype {bits.dtype}, expected float32"
    alone = _bits(estimator, a[1, 0, 2:], b[0, 3, 4:])
    torch.testing.assert_close(bits[1, 3, 2:, 4:], alone, rtol=0, atol=0)


def batch_does_not_matter(estimator: Estimator) -> None:
    """A sample's bits are the same, bit for bit, alone and among others, whatever the threads."""
    a, b = _relu(2, 16, 3, 64), _normal(3, 16, 7, 64)
    together = _bits(estimator, a, b)
    for sample in (0, 7, 15):
        part = slice(sample, sample + 1)
        alone = _bits(estimator, a[part], b[part])
        assert torch.equal(together[part], alone), f"sample {sample} depends on its batch"
    codes = estimator.encode(a)[5:9]
    assert torch.equal(estimator.pairwise(codes, estimator.encode(b[5:9])), together[5:9])


def codes_are_indexed(estimator: Estimator) -> None:
    """Codes picked by batch and map are those of the picked maps: so references are drawn."""
    a, pool = _relu(4, 3, 2, 64), _relu(5, 7, 4, 64)
    reference = torch.tensor([[0, 6, 6], [3, 1, 0], [2, 2, 5]])
    part = torch.tensor([[3, 0, 1], [2, 2, 0], [1, 3, 3]])
    picked = estimator.pairwise(estimator.encode(a), estimator.encode(pool)[reference, part])
    torch.testing.assert_close(picked, _bits(estimator, a, pool[reference, part]))


def no_more_than_the_entropy(estimator: Estimator) -> None:
    """A map that is live at one of 64 positions holds 0.12 bit, whatever it is held against."""
    maps = torch.zeros(2, 64)
    maps[0, 5], maps[1] = 1.0, torch.arange(64.0)
    share = torch.tensor([1 / 64, 63 / 64])
    most = float(-(share * share.log2()).sum())
    found = _bits(estimator, maps[:1], maps)
    assert float(found.max()) <= most + 1e-6, f"{float(found.max()):.3f} of {most:.3f} bits"


def swapping_the_arguments(estimator: Estimator) -> None:
    """I(a; b) = I(b; a)."""
    a, b = _relu(4, 2, 3, 100), _normal(5, 2, 5, 100)
    forth, back = _bits(estimator, a, b), _bits(estimator, b, a).transpose(-1, -2)
    torch.testing.assert_close(forth, back, rtol=1e-5, atol=1e-5)


def permuting_the_positions(estimator: Estimator) -> None:
    """Positions are samples: their order says nothing."""
    a, b = _relu(6, 1, 3, 144), _normal(7, 1, 4, 144)
    order = torch.randperm(144, generator=torch.Generator().manual_seed(8))
    there, here = _bits(estimator, a[..., order], b[..., order]), _bits(estimator, a, b)
    torch.testing.assert_close(there, here, rtol=1e-5, atol=1e-5)


def shifting_and_scaling(estimator: Estimator) -> None:
    """Neither the unit nor the zero of a map matters; powers of two change no bit of a value."""
    a, b = _relu(9, 1, 3, 100), _normal(10, 1, 4, 100).mul(256).round().div(256)
    moved = _bits(estimator, 4 * a, 0.5 * b + 2)
    torch.testing.assert_close(moved, _bits(estimator, a, b), rtol=1e-5, atol=1e-5)


def constant_maps(estimator: Estimator) -> None:
    """A dead channel has exactly 0 bits, whatever its value and its partner's."""
    dead = torch.stack([torch.zeros(64), torch.full((64,), -3.7), torch.full((64,), 1e30)])
    for other in (_normal(11, 4, 64), _relu(12, 4, 64, zeros=0.9), dead):
        for bits in (_bits(estimator, dead, other), _bits(estimator, other, dead)):
            assert (bits == 0).all(), f"constant maps read {bits}"


def hard_values(estimator: Estimator) -> None:
    """Zeros, ties, outliers, tiny and huge values, few positions: finite, and never NaN."""
    for n in (4, 9, 64, 100):
        rows = _normal(13, 6, n)
        maps = torch.stack([
            torch.relu(rows[0]), _relu(14, n, zeros=0.95), rows[1].round(), rows[2] * 1e-38,
            rows[3].clamp(-1, 1) * 3e38, rows[4] + 1e6, rows[5] + 1e30 * torch.eye(n)[1],
            torch.eye(n)[0], torch.zeros(n).copysign(rows[5]), torch.arange(n).float(),
        ])  # fmt: skip
        bits = _bits(estimator, maps, maps)
        assert torch.isfinite(bits).all(), f"not finite with {n} positions: {bits}"
        assert bits.max() <= 1.5 * log2(n) + 2, f"{bits.max():.2f} bits from {n} positions"


def not_finite_values(estimator: Estimator) -> None:
    """NaN and infinity have no place in an order: an error that counts them."""
    for value in (float("nan"), float("inf"), float("-inf")):
        maps = _normal(15, 2, 3, 64)
        maps[1, 2, 7] = value
        message = _refusal(estimator, maps)
        assert "1 of 384" in message, f"a map with {value}: {message}"


def a_single_position(estimator: Estimator) -> None:
    """There is nothing to compare: an error that says so."""
    message = _refusal(estimator, _normal(16, 2, 3, 1))
    assert "got maps with 1" in message, f"maps of a single position: {message}"


def _refusal(estimator: Estimator, maps: Maps) -> str:
    """What the error says, or that there was none."""
    try:
        estimator.encode(maps)
    except BadInput as error:
        return str(error)
    return "accepted"


def independence(estimator: Estimator) -> None:
    """Independent Gaussians: at most 0.01 bit off, beyond the error of the mean itself."""
    for n, pairs in ((64, 60), (256, 12)):
        bits = _bits(estimator, _normal(17, pairs, 3, n), _normal(18, pairs, 4, n)).flatten()
        error = 3 * float(bits.std()) / sqrt(len(bits))
        off = abs(float(bits.mean()))
        assert off <= 0.01 + error, f"{off:.4f} bit at independence, n = {n}"


def independent_zeros(estimator: Estimator) -> None:
    """Zeros at independent positions are no dependence (argsort ranks read 0.3 bit here)."""
    for zeros in (0.5, 0.9):
        a, b = _relu(19, 20, 3, 256, zeros=zeros), _relu(20, 20, 4, 256, zeros=zeros)
        mean = float(_bits(estimator, a, b).mean())
        assert abs(mean) <= 0.08, f"{mean:.4f} bit from {zeros:.0%} independent zeros"


def known_truth(estimator: Estimator) -> None:
    """Bivariate Gaussians: no more than the truth, a third of it at least, rising with ρ."""
    last = 0.0
    for rho in (0.5, 0.8, 0.95):
        a, noise = _normal(21, 12, 1, 256), _normal(22, 12, 4, 256)
        mean = float(_bits(estimator, a, rho * a + sqrt(1 - rho**2) * noise).mean())
        truth = -0.5 * log2(1 - rho**2)
        assert truth / 3 <= mean <= 1.15 * truth, f"{mean:.3f} of {truth:.3f} bit, ρ = {rho}"
        assert mean > last
        last = mean


CHECKS: Final[dict[str, Callable[[Estimator], None]]] = {
    check.__name__: check
    for check in (
        is_an_estimator, shape_and_dtype, batch_does_not_matter, codes_are_indexed,
        no_more_than_the_entropy, swapping_the_arguments, permuting_the_positions,
        shifting_and_scaling, constant_maps, hard_values,
        not_finite_values, a_single_position, independence, independent_zeros, known_truth,
    )
}  # fmt: skip
"""All checks by name."""
