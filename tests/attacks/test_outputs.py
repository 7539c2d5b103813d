"""Models that put out tuples, mappings and records are attacked as those that put out logits."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import undertow as ut
from undertow.attacks import IGSM, JSMA, DeepFool, Expectation
from undertow.errors import BadInput

Batch = tuple[Tensor, Tensor]

WRAPPED: dict[str, Callable[[Tensor], Any]] = {
    "tuple": lambda z: (z, torch.zeros(3)),
    "mapping": lambda z: {"features": torch.ones(len(z), 4), "logits": z},
    "record": lambda z: SimpleNamespace(logits=z, hidden_states=None),
}


class Wrapped(nn.Module):
    def __init__(self, network: nn.Module, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.network = network
        self.wrap = wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.network(x))


@pytest.mark.parametrize("wrap", WRAPPED)
@pytest.mark.parametrize(
    "attack", [IGSM(steps=5), DeepFool(), JSMA()], ids=lambda attack: attack.name
)
def test_the_trajectory_is_that_of_the_logits(
    model: nn.Module, batch: Batch, attack: Any, wrap: str
) -> None:
    plain = ut.craft(attack, model, *batch)
    found = ut.craft(attack, Wrapped(model, WRAPPED[wrap]).eval(), *batch)
    assert torch.equal(plain.end, found.end)
    assert torch.equal(plain.images, found.images)
    assert torch.equal(plain.end_logits, found.end_logits)


def test_a_classifier_of_transformers_as_it_is_built() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=5
    )
    network = transformers.ResNetForImageClassification(config).eval()
    x = torch.rand(3, 3, 32, 32)
    y = network(x).logits.argmax(dim=1)
    found = ut.craft(IGSM(steps=10, epsilon=0.3), network, x, y)
    assert torch.equal(network(found.end).logits.argmax(dim=1) != y, found.success)
    smoothed = Expectation(network, lambda x, generator: x, samples=2).eval()
    assert torch.allclose(smoothed(x), network(x).logits.log_softmax(dim=1), atol=1e-5)


def test_what_holds_no_logits_is_refused(model: nn.Module, batch: Batch) -> None:
    with pytest.raises(BadInput, match="the model gives str for one image"):
        ut.craft(IGSM(), Wrapped(model, lambda z: "cat").eval(), *batch)
