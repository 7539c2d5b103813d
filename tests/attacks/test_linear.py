"""Against the closed form: on a linear model the nearest adversarial input is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from undertow import craft
from undertow.attacks import CW, CWL0, FGSM, PGD, CWLinf, DeepFool
from undertow.attacks.driver.craft import Record
from undertow.attacks.parts.balls import distance
from undertow.testing.linear import linear_case, optimum
from undertow.types import Goal

ENDS = Record(every=None)


@pytest.mark.parametrize(
    ("attack", "norm"),
    [
        (DeepFool(), "l2"),
        (DeepFool(slack=None), "l2"),
        (CW(rounds=7, steps=200), "l2"),
        (CWLinf(shrink=0.97, steps=100, learning_rate=0.005), "linf"),
        (CWL0(steps=100, learning_rate=0.05, drop=0.0), "l0"),
    ],
    ids=["deepfool", "deepfool, all classes", "cw", "cw_linf", "cw_l0"],
)
def test_within_five_percent_of_the_optimum(attack: Any, norm: Any) -> None:
    case = linear_case()
    best = optimum(case, norm)
    t = craft(attack, case.model, case.x, case.y, record=ENDS)
    found = distance(t.end, t.benign, norm)
    assert t.success.all()
    assert (found >= best * (1 - 1e-4)).all(), "nearer than the optimum: the closed form is wrong"
    assert (found <= best * 1.05 + (0 if norm != "l0" else 0.01)).all(), (found / best).tolist()


def test_fgsm_succeeds_exactly_beyond_the_optimum() -> None:
    # With two classes the gradient's sign is the optimal direction for L∞.
    case = linear_case(classes=2)
    best = optimum(case, "linf")
    for share, expected in ((0.99, False), (1.01, True)):
        for i in range(len(case.x)):
            attack = FGSM(epsilon=float(best[i]) * share)
            t = craft(attack, case.model, case.x[i : i + 1], case.y[i : i + 1])
            assert bool(t.success) is expected


def test_pgd_l2_moves_along_the_optimal_direction() -> None:
    case = linear_case(classes=2)
    best = optimum(case, "l2")
    for i in range(3):
        attack = PGD(norm="l2", epsilon=float(best[i]) * 1.02, random_start=False, steps=5)
        t = craft(attack, case.model, case.x[i : i + 1], case.y[i : i + 1])
        assert bool(t.success)


def test_targeted_deepfool_reaches_the_border_of_its_target() -> None:
    case = linear_case(classes=3)
    target = (case.y + 1) % 3
    t = craft(DeepFool(), case.model, case.x, case.y, target=target)
    W = case.model[1].weight  # type: ignore[index]
    logits = case.model(case.x)
    rows = torch.arange(len(target))
    gap = logits[rows, case.y] - logits[rows, target]
    plane = gap / (W[target] - W[case.y]).norm(dim=1)
    assert t.success.all()
    assert (t.l2 >= plane * (1 - 1e-4)).all()
    assert Goal(case.y, target).reached(case.model(t.end)).all()


def test_cw_with_confidence_leads_by_it() -> None:
    case = linear_case(samples=3)
    cw = CW(constant=0.1, rounds=4, steps=80)
    t = craft(replace(cw, confidence=0.5), case.model, case.x, case.y, record=ENDS)
    top = t.end_logits.topk(2, dim=1).values
    assert t.success.all()
    assert ((top[:, 0] - top[:, 1]) >= 0.5 - 1e-4).all()
    nearer = craft(cw, case.model, case.x, case.y, record=ENDS)
    assert (nearer.l2 < t.l2).all()
