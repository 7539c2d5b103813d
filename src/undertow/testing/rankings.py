"""What every ranking of maps must do; parametrise over :data:`CHECKS`.

A check takes a ranking and raises ``AssertionError`` with what it saw. Rankings of one's own are
tested by ``for check in CHECKS.values(): check(my_ranking)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from undertow.measuring.carriers.compared import Compared, Ranking
from undertow.taps import choose

__all__ = ["CHECKS", "compared_by", "few_carry"]

CARRY: Final = (1, 4)
"""The maps of :func:`few_carry` that an attack on it must use: all others reach no logit."""


def few_carry() -> tuple[nn.Module, Tensor]:
    """A network in which the logits read two of six maps, and inputs of it."""
    generator = torch.Generator().manual_seed(3)
    head = nn.Linear(6, 3)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), head,
    ).eval()  # fmt: skip
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
        read = torch.zeros(6)
        read[list(CARRY)] = 8.0
        head.weight.mul_(read)
    return model, torch.rand(7, 2, 8, 8, generator=generator)


def compared_by(model: nn.Module, x: Tensor, taps: str | None = None) -> Compared:
    """Inputs, and others at some distance in whose direction some class gains."""
    generator = torch.Generator().manual_seed(4)
    worse = (x + 0.3 * (torch.rand(x.shape, generator=generator) - 0.5)).clamp(0, 1)
    with torch.no_grad():
        before, after = model(x), model(worse)
    label = before.argmax(dim=1)
    rival = (after - before).scatter(1, label[:, None], -torch.inf).argmax(dim=1)
    return Compared(model, choose(model, x, taps), x, worse, label, rival)


def gives_a_number_a_map(ranking: Ranking) -> None:
    """(sample, map), finite wherever the tap has positions."""
    pair = compared_by(*few_carry(), "0")
    scores = ranking(pair, pair.taps[0])
    assert tuple(scores.shape) == (7, 6), f"shape {tuple(scores.shape)}, expected (7, 6)"
    assert bool(torch.isfinite(scores).all()), "scores are not finite"


def ranks_inputs_alone(ranking: Ranking) -> None:
    """An input's scores do not depend on what else is in the batch."""
    model, x = few_carry()
    pair = compared_by(model, x, "0")
    one = slice(2, 3)
    alone = Compared(
        model, pair.taps, x[one], pair.adversarial[one], pair.label[one], pair.rival[one]
    )
    together = ranking(pair, pair.taps[0])[one]
    torch.testing.assert_close(
        ranking(alone, pair.taps[0]), together, rtol=1e-3, atol=1e-5, equal_nan=True
    )


def leaves_the_model_alone(ranking: Ranking) -> None:
    """No hook stays on, no gradient on a weight, no weight changes."""
    model, x = few_carry()
    before = [weight.detach().clone() for weight in model.parameters()]
    pair = compared_by(model, x, "0")
    ranking(pair, pair.taps[0])
    assert not any(module._forward_hooks for module in model.modules()), "a hook was left"
    for weight, old in zip(model.parameters(), before, strict=True):
        assert weight.grad is None, "a weight has a gradient"
        assert torch.equal(weight, old), "a weight changed"


CHECKS: Final[dict[str, Callable[[Ranking], None]]] = {
    check.__name__: check
    for check in (gives_a_number_a_map, ranks_inputs_alone, leaves_the_model_alone)
}
