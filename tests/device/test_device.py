"""What must hold on an accelerator: the same contracts, and the CPU's own numbers.

``python -m benchmarks.device`` runs them; ``UNDERTOW_TEST_DEVICE=cpu`` has the CPU stand in.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import undertow as ut
from undertow.attacks import ATTACKS
from undertow.attacks.parts import saliency, saliency_anywhere
from undertow.information import ESTIMATORS
from undertow.information.backend import using
from undertow.models import load_model
from undertow.studies.run import study
from undertow.testing.attacks import CONTRACT, Case, quick
from undertow.testing.estimators import CHECKS

pytestmark = pytest.mark.gpu

DEVICE = os.environ.get("UNDERTOW_TEST_DEVICE", "cuda")
UNFIT = ("calls_are_counted",)
"""The counter stands around the module that moves images, and the layouts tried are a CPU's."""


class There(nn.Module):
    """A network on the device that takes images from anywhere and answers where they are."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner.to(DEVICE)

    def forward(self, x: Tensor) -> Tensor:
        weight = next(self.inner.parameters())
        answer: Tensor = self.inner(x.to(weight)).to(x)
        return answer


class Sent:
    """An estimator whose maps are sent to the device and whose bits come back."""

    def __init__(self, inner: object) -> None:
        self.inner, self.name = inner, inner.name  # type: ignore[attr-defined]

    def encode(self, maps: Tensor) -> object:
        return self.inner.encode(maps.to(DEVICE))  # type: ignore[attr-defined]

    def pairwise(self, a: object, b: object) -> Tensor:
        return self.inner.pairwise(a, b).cpu()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def batch() -> tuple[Tensor, Tensor]:
    x, y = ut.load_data("digits")[:5]
    return 0.05 + 0.9 * x, y


@pytest.fixture(scope="module", params=ATTACKS)
def case(request: pytest.FixtureRequest, batch: tuple[Tensor, Tensor]) -> Case:
    model = There(load_model("digits_cnn")).eval()
    return Case(attack=quick(request.param), model=model, x=batch[0], y=batch[1])


@pytest.mark.parametrize(
    "check", [c for c in CONTRACT if c.__name__ not in UNFIT], ids=lambda c: c.__name__
)
def test_attacks_keep_their_contract(case: Case, check: Callable[[Case], None]) -> None:
    check(case)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_keep_their_contract(name: str, check: str) -> None:
    with using("torch"):
        CHECKS[check](Sent(ESTIMATORS[name]()))  # type: ignore[arg-type]


@pytest.mark.parametrize("direction", ["increase", "decrease"])
@pytest.mark.parametrize("values", [(-3, 4), (-1000, 1000)], ids=["ties", "few ties"])
def test_jsma_finds_the_same_pairs_on_the_device(direction: str, values: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    alpha, beta = (rng.integers(*values, (40, 3072)).astype(np.float32) for _ in range(2))
    domain = rng.random((40, 3072)) < 0.7
    there = (torch.from_numpy(v).to(DEVICE) for v in (alpha, beta, domain))
    found = saliency_anywhere.best_pairs(*there, direction)  # type: ignore[arg-type]
    expected = saliency.best_pairs(alpha, beta, domain, direction)  # type: ignore[arg-type]
    assert found.cpu().numpy().tolist() == expected.tolist()


@pytest.mark.parametrize("name", ["igsm", "pgd", "deepfool", "jsma"])
def test_attacks_end_where_the_cpu_ends(name: str) -> None:
    """The same successes, and distances that differ by rounding."""
    x, y = ut.load_data("digits")[:24]
    attack = quick(name)
    here, there = (
        ut.craft(attack, load_model("digits_cnn").to(device), x, y) for device in ("cpu", DEVICE)
    )
    assert (here.success == there.success.cpu()).float().mean() >= 0.95
    both = here.success & there.success.cpu()
    assert torch.allclose(here.l2[both], there.l2.cpu()[both], rtol=0.05, atol=0.05)


def test_what_is_measured_is_what_the_cpu_measures() -> None:
    x, _ = ut.load_data("digits")[:12]
    here, there = (ut.measure(load_model("digits_cnn").to(d), x.to(d)) for d in ("cpu", DEVICE))
    for name in ("flow", "drift", "iip", "oip"):
        assert np.nanmax(np.abs(here[name].values - there[name].values)) < 2e-3, name


def test_bfloat16_pays_and_is_verified() -> None:
    """On an accelerator without a warning; every success is one of the model as it is."""
    x, y = ut.load_data("digits")[:24]
    model = load_model("digits_cnn").to(DEVICE)
    with warnings.catch_warnings():
        # Of processors some have the instruction and gain nothing by it.
        warnings.simplefilter("ignore" if DEVICE == "cpu" else "error")
        t = ut.craft(ut.attacks.IGSM(epsilon=0.2), model, x, y, precision="bf16")
    said = model(t.end.to(DEVICE)).argmax(1).cpu() != y
    assert torch.equal(said, t.success.cpu())


@pytest.mark.skipif(DEVICE == "cpu", reason="the CPU has no memory of its own to limit")
def test_a_batch_is_halved_when_the_devices_memory_is_full() -> None:
    x, y = (t.repeat(*([8] + [1] * (t.ndim - 1))) for t in ut.load_data("digits")[:256])
    model = load_model("digits_cnn").to(DEVICE)
    attack = ut.attacks.IGSM(epsilon=0.2, steps=3)
    whole = ut.craft(attack, model, x, y, batch_size=64)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**25) / total)
    try:
        tight = ut.craft(attack, model, x, y, batch_size=len(x))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert (whole.success == tight.success).float().mean() > 0.99


def test_a_study_runs_there(tmp_path: object, small_spec: object) -> None:
    run = study(small_spec, out=f"{tmp_path}/run", device=DEVICE)  # type: ignore[arg-type]
    assert run.answers is not None
    assert {q.id for q in run.answers.questions} == {"q1", "q2"}
