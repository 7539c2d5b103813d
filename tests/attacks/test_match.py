from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
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
from undertow.attacks.driver.match import RANGES, _Scale, _search, _setting
from undertow.errors import BadInput
from undertow.types import Attack

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
    """All but the controls that are given a perturbation: its length is theirs."""
    for name in ATTACKS:
        if "perturbation" in ATTACKS.needs(name):
            with pytest.raises(BadInput, match="has no strength"):
                _setting(make(name))
        else:
            assert _setting(make(name)) in RANGES, name


@pytest.mark.parametrize("l2", [0.0, -1.0, float("nan")])
def test_a_length_that_is_none(model: nn.Module, batch: Batch, l2: float) -> None:
    with pytest.raises(BadInput, match="above 0"):
        match_strength(FGSM(), model, *batch, l2=l2)


def test_an_attack_without_a_strength(model: nn.Module, batch: Batch) -> None:
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Plain(Attack):
        name = "plain"
        norm = "l2"

        def iterates(self, model: Any, x0: Tensor, goal: Any, *, draws: Any) -> Any:
            raise AssertionError("never run")

    with pytest.raises(BadInput, match="plain has no strength"):
        match_strength(Plain(), model, *batch, l2=1.0)


def test_the_same_seed_matches_the_same(model: nn.Module, batch: Batch) -> None:
    a = match_strength(PGD(), model, *batch, l2=0.6, seed=1)
    b = match_strength(PGD(), model, *batch, l2=0.6, seed=1)
    assert repr(a.table) == repr(b.table)
    assert torch.isfinite(torch.tensor(a.reached["l2"]))


@pytest.mark.parametrize(
    ("attack", "most"), [(FGSM(), 3), (PGD(norm="l2", steps=10), 3), (DeepFool(), 5)]
)
def test_a_search_takes_few_probes(model: nn.Module, digits: Batch, attack: Any, most: int) -> None:
    x, y = digits[0][1220:1235], digits[1][1220:1235]
    found = match_strength(attack, model, x, y, l2=1.0)
    assert found.matched
    assert len(found.table) <= most, [(p["strength"], p["l2"]) for p in found.table]


@given(
    power=st.floats(0.2, 3.0), factor=st.floats(0.1, 10.0), limit=st.floats(1.5, 20.0),
    jump=st.floats(1.0, 3.0), where=st.floats(0.01, 0.9),
)  # fmt: skip
def test_a_search_ends_where_the_distance_is(
    power: float, factor: float, limit: float, jump: float, where: float
) -> None:
    """A rising distance, straight in logarithms but for a limit and a jump: found, or bracketed."""

    def distance(strength: float) -> float:
        steep = jump if strength > where else 1.0
        return min(factor * strength**power * steep, limit)

    def probe(strength: float) -> Any:
        l2 = distance(strength)
        return {"strength": strength, "l2": l2, "l0": 1.0, "linf": l2, "success": 1.0}

    l2, tolerance = 1.0, 0.05
    table = _search(
        probe, lambda p: p["l2"] < l2, l2, (1e-4, 1.0), None, _Scale(0.0), tolerance, 16,
        lambda: None,
    )  # fmt: skip
    best = min(abs(p["l2"] / l2 - 1) for p in table)
    grid = np.geomspace(1e-4, 1.0, 4001)
    reachable = np.array([distance(s) for s in grid])
    inside = np.abs(reachable / l2 - 1) <= tolerance / 2
    if inside.sum() > 100:  # more than a sliver of the range is near enough
        assert best <= tolerance
    strengths = [p["strength"] for p in table]
    assert all(1e-4 <= s <= 1.0 for s in strengths)
    assert len(table) <= 16
