from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from undertow import craft
from undertow.attacks import (
    ATTACKS,
    CW,
    FGSM,
    IGSM,
    JSMA,
    PGD,
    DeepFool,
    Ensemble,
    Noise,
    make,
    match_strength,
)
from undertow.attacks.match import RANGES, _setting
from undertow.errors import BadInput

Batch = tuple[Tensor, Tensor]


@pytest.mark.parametrize(
    ("attack", "l2"),
    [
        (FGSM(), 1.0),
        (IGSM(steps=10), 0.8),
        (PGD(norm="l2", steps=10), 0.9),
        (DeepFool(), 1.0),
        (CW(rounds=2, steps=20, constant=3.0, learning_rate=0.05), 1.2),
        (JSMA(gamma=0.5), 1.0),
        (Noise(), 1.5),
        (Ensemble(attack=FGSM()), 1.0),
    ],
    ids=lambda a: getattr(a, "name", ""),
)
def test_the_mean_distance_of_successes_is_matched(
    model: nn.Module, digits: Batch, attack: Any, l2: float
) -> None:
    x, y = digits[0][1220:1235], digits[1][1220:1235]
    found = match_strength(attack, model, x, y, l2=l2)
    assert found.matched, found.table
    t = craft(found.attack, model, x, y)
    won = t.success & (t.l2 > 0)
    assert float(t.l2[won].mean()) == pytest.approx(l2, rel=0.05)
    assert found.reached["l2"] == pytest.approx(float(t.l2[won].mean()), rel=1e-4)
    assert found.reached["success"] == pytest.approx(float(t.success.float().mean()))
    strengths = [p["strength"] for p in found.table]
    assert strengths == sorted(strengths)
    assert found.reached in found.table


def test_what_cannot_be_reached_is_said(model: nn.Module, batch: Batch) -> None:
    found = match_strength(FGSM(), model, *batch, l2=50.0, probes=5)
    assert not found.matched
    assert found.reached["l2"] == max(p["l2"] for p in found.table if p["l2"] > 0)
    assert len(found.table) <= 5


def test_every_attack_has_a_strength() -> None:
    for name in ATTACKS:
        assert _setting(make(name)) in RANGES, name


@pytest.mark.parametrize("l2", [0.0, -1.0, float("nan")])
def test_a_length_that_is_none(model: nn.Module, batch: Batch, l2: float) -> None:
    with pytest.raises(BadInput, match="above 0"):
        match_strength(FGSM(), model, *batch, l2=l2)


def test_an_attack_without_a_strength(model: nn.Module, batch: Batch) -> None:
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Plain:
        name = "plain"
        norm = "l2"
        stops_at_success = True

        def iterates(self, model: Any, x0: Tensor, goal: Any, *, draws: Any) -> Any:
            raise AssertionError("never run")

    with pytest.raises(BadInput, match="plain has no strength"):
        match_strength(Plain(), model, *batch, l2=1.0)  # type: ignore[arg-type]


def test_the_same_seed_matches_the_same(model: nn.Module, batch: Batch) -> None:
    a = match_strength(PGD(), model, *batch, l2=0.6, seed=1)
    b = match_strength(PGD(), model, *batch, l2=0.6, seed=1)
    assert repr(a.table) == repr(b.table)
    assert torch.isfinite(torch.tensor(a.reached["l2"]))
