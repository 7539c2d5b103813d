from __future__ import annotations

import pytest

from undertow.models import MODELS
from undertow.models.cards import WEIGHTS, shipped, stem
from undertow.testing.models import CONTRACT


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", shipped())
def test_contract(name, check):
    check(name)


def test_nothing_but_weights_and_cards_is_shipped():
    assert {"good_init", "digits_cnn"} <= set(shipped())
    found = {p.name for p in WEIGHTS.iterdir() if p.suffix in {".json", ".safetensors"}}
    assert found == {f"{stem(n)}{e}" for n in shipped() for e in (".json", ".safetensors")}
    assert sum(p.stat().st_size for p in WEIGHTS.iterdir()) < 25e6


def test_the_kinds_differ():
    """Pooled and thin; strided and deepest; pooled in pairs with a dense head."""
    from torch import nn

    def count(name, kind, **attributes):
        return sum(
            isinstance(m, kind) and all(getattr(m, k) == v for k, v in attributes.items())
            for m in MODELS[name].build().modules()
        )

    depth = {
        n: count(n, nn.Conv2d, kernel_size=(3, 3)) for n in ("good_init", "deep_conv", "vgg_like")
    }
    assert depth["deep_conv"] == max(depth.values()) > depth["good_init"] > depth["vgg_like"]
    assert count("deep_conv", nn.MaxPool2d) == 0
    assert count("deep_conv", nn.Conv2d, stride=(2, 2)) == 2
    assert count("good_init", nn.MaxPool2d) == 2
    assert count("vgg_like", nn.MaxPool2d) == 3
    assert count("vgg_like", nn.Linear) == 2
    assert count("good_init", nn.Linear) == 1
