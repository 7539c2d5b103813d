"""Models of many classes: what is measured of a few of them is what is measured of all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn
from torch.nn.functional import interpolate

import undertow as ut
from undertow.attacks import make
from undertow.attacks.driver.craft import craft
from undertow.information.profiles import drift, drift_others
from undertow.measuring import among
from undertow.measuring.among import LEADING, LOT, drawn_classes, measured_classes
from undertow.measuring.seen import Pool
from undertow.taps import choose, head

CLASSES = 90


def smooth(n: int, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return interpolate(torch.rand(n, 3, 6, 6, generator=g), (16, 16), mode="bilinear")


def network(head: str) -> nn.Module:
    """90 classes after two blocks; its head is a pooled linear one, or is not."""
    torch.manual_seed(3)
    width = 6
    ends: dict[str, list[nn.Module]] = {
        "linear": [nn.Linear(width, CLASSES)],
        "bent": [nn.Linear(width, 12), nn.Tanh(), nn.Linear(12, CLASSES)],
    }
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(width, width, 3, padding=1, stride=2), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        *ends[head],
    ).eval()


@pytest.fixture
def all_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Measures every class, however many, until it is undone."""
    monkeypatch.setattr(among, "MANY", 10**6)
    return monkeypatch


@pytest.mark.parametrize("head", ["linear", "bent"])
@pytest.mark.parametrize("null", ["mismatch", "shift"])
@pytest.mark.parametrize("references", [4, 20])
def test_a_few_classes_are_measured_as_among_all(
    all_at_once: pytest.MonkeyPatch, head: str, null: str, references: int
) -> None:
    model, x, y = network(head), smooth(5, 0), torch.tensor([3, 14, 15, 62, 89])
    settings = {"references": smooth(references, 1), "null": null, "keep_matrices": [1]}
    whole = ut.measure(model, x, y, **settings)
    all_at_once.undo()
    few = ut.measure(model, x, y, **settings)
    measured = np.isfinite(few["flow"].values)
    logits = torch.from_numpy(few["logits"].values)
    lot = drawn_classes(CLASSES).numpy()
    for row in range(5):
        matter = logits[row].topk(LEADING).indices.tolist()
        expected = sorted({*lot.tolist(), *matter, int(y[row])})
        assert np.flatnonzero(measured[row, 0]).tolist() == expected
    for name in ("flow", "flow_raw", "flow_null"):
        a, b = few[name].values[measured], whole[name].values[measured]
        np.testing.assert_allclose(a, b, atol=1e-5, err_msg=name)
    for name in ("iip", "drift", "drift_raw", "rival", "turn", "logits"):
        np.testing.assert_allclose(few[name].values, whole[name].values, atol=1e-5, err_msg=name)
    for suffix in ("", "_raw", "_null"):
        over = whole[f"flow{suffix}"].values[:, :, lot].mean(axis=2)
        np.testing.assert_allclose(few[f"oip{suffix}"].values, over, atol=1e-5)
    T = few["T_net"].values[0]
    there = np.isfinite(T)
    np.testing.assert_allclose(T[there], whole["T_net"].values[0][there], atol=1e-5)
    assert (there.any(axis=(0, 1)) == measured[1, 0]).all()


def test_coupling_is_over_the_classes_of_the_lot() -> None:
    x, references = smooth(4, 0), smooth(20, 1)
    model = network("linear")
    few_classes = nn.Sequential(*model[:-1], nn.Linear(6, LOT)).eval()
    lot = drawn_classes(CLASSES)
    found = ut.measure(model, x, references=references)
    with torch.no_grad():
        few_classes[-1].weight.copy_(model[-1].weight[lot])
        few_classes[-1].bias.copy_(model[-1].bias[lot])
    alone = ut.measure(few_classes, x, references=references)
    for name in ("ioc", "ioc_raw", "ioc_null", "oip", "oip_shift"):
        np.testing.assert_allclose(found[name].values, alone[name].values, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("head", ["linear", "bent"])
def test_others_in_the_batch_change_nothing(head: str) -> None:
    model, x, references = network(head), smooth(4, 0), smooth(20, 1)
    together = ut.measure(model, x, references=references, batch_size=4)
    apart = ut.measure(model, x, references=references, batch_size=1)
    for name in ("flow", "oip", "ioc", "iip"):
        np.testing.assert_allclose(together[name], apart[name], atol=1e-5, err_msg=name)


def test_iterates_share_the_classes_of_their_ends() -> None:
    model, x = network("linear"), smooth(3, 0)
    y = model(x).argmax(1)
    trajectory = craft(make("igsm", epsilon=0.3, steps=4), model, x, y)
    found = ut.measure(model, trajectory, references=smooth(8, 1))
    assert bool(np.isfinite(found["drift"]).all())
    end = trajectory.end_logits.topk(LEADING).indices
    for record in range(found.sizes["record"]):
        classes = end[int(found["sample"][record])].numpy()
        assert np.isfinite(found["flow"].values[record][:, classes]).all()


def test_a_head_that_is_affine_on_some_references_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is judged batch by batch, and one batch may have all classes and the next a few."""
    model, references = network("linear"), smooth(12, 1)
    taps = choose(model, references[:1])
    classes = torch.tensor([[3, 60, 7], [60, 88, 2]])
    whole = Pool(model, taps, references).evidence.values
    truth, calls = head.pooled_linear, []

    def sometimes(*args: Any) -> Any:
        calls.append(None)
        return truth(*args) if len(calls) % 2 else None

    monkeypatch.setattr(head, "pooled_linear", sometimes)
    found, places = Pool(model, taps, references, batch=4).towards(classes)
    assert len(calls) == 3
    torch.testing.assert_close(found.values[:, places], whole[:, classes])


def test_the_lot_is_the_same_for_everyone_and_all_of_a_few() -> None:
    assert drawn_classes(among.MANY).tolist() == list(range(among.MANY))
    lot = drawn_classes(1000)
    assert len(set(lot.tolist())) == LOT
    assert torch.equal(lot, drawn_classes(1000))
    assert measured_classes(torch.zeros(2, among.MANY)) is None
    both = measured_classes(torch.randn(2, 1000), torch.tensor([[7], [9]]))
    assert both is not None
    assert torch.equal(both[:, :LOT], lot.expand(2, -1))
    assert both[:, -1].tolist() == [7, 9]


def test_the_result_says_over_which_classes(all_at_once: pytest.MonkeyPatch) -> None:
    def said(model: nn.Module) -> xr.Dataset:
        return ut.measure(model, smooth(2, 0), references=smooth(4, 1))

    assert said(network("linear")).attrs["classes"] == "all"
    all_at_once.undo()
    told = said(network("linear")).attrs["classes"]
    assert f"{LOT} of {CLASSES} drawn by lot" in told


@pytest.mark.parametrize("kind", ["many", "few"])
def test_drift_towards_others_is_a_mean_over_classes_that_nobody_asked_for(kind: str) -> None:
    """By the definition, class by class; and the mean of all drifts where all are measured."""
    classes = CLASSES if kind == "many" else 10
    rng = torch.Generator().manual_seed(0)
    flow = torch.rand(4, 3, classes, generator=rng)
    lot = drawn_classes(classes)
    true, rival = lot[:4], torch.tensor([int(lot[0]), int(lot[0]), 5, 6])
    found = drift_others(flow, true, rival, lot)
    for i in range(4):
        others = [int(m) for m in lot if int(m) not in (int(true[i]), int(rival[i]))]
        slow = torch.stack([flow[i, :, m] - flow[i, :, true[i]] for m in others]).mean(0)
        torch.testing.assert_close(found[i], slow)


def test_a_change_that_only_takes_from_the_true_class_moves_drift_and_its_control_alike() -> None:
    flow = torch.rand(2, 3, 10, generator=torch.Generator().manual_seed(0))
    true, rival, lot = torch.tensor([1, 2]), torch.tensor([3, 4]), torch.arange(10)
    less = flow.clone()
    less[torch.arange(2), :, true] -= 0.25
    for measure in (drift, lambda *a: drift_others(*a, lot)):
        torch.testing.assert_close(
            measure(less, true, rival) - measure(flow, true, rival), torch.full((2, 3), 0.25)
        )
