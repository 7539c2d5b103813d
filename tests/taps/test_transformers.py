"""Hugging Face models with random weights: the blocks that are chosen, and what is read there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from undertow import taps
from undertow.errors import BadInput

ENCODER = {"hidden_sizes": [8, 12], "depths": [2, 2]}
MODELS = {
    "ResNet": ({"embedding_size": 8, **ENCODER, "layer_type": "basic"}, 5, "layers"),
    "RegNet": ({"embedding_size": 8, **ENCODER, "groups_width": 4}, 5, "layers"),
    "MobileNetV1": ({"depth_multiplier": 0.25, "image_size": 64}, 27, "layer"),
    "MobileNetV2": ({"depth_multiplier": 0.35, "image_size": 64}, 20, "layer"),
    "ConvNext": ({**ENCODER, "num_stages": 2, "image_size": 64}, 6, "layers"),
    "Swin": (
        {"image_size": 64, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4},
        6,
        "blocks",
    ),
    "ViT": (
        {
            "image_size": 64,
            "patch_size": 8,
            "hidden_size": 16,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "intermediate_size": 24,
        },
        3,
        "layers",
    ),
}


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_every_block_is_tapped_and_read(kind, x, transformer) -> None:
    settings, count, block = MODELS[kind]
    model = transformer(kind, **settings)
    chosen = taps.choose(model, x)
    assert len(chosen) == count
    assert all(tap.spatial and tap.shape[1] == tap.shape[2] for tap in chosen)
    inner = [tap.name for tap in chosen if block in tap.name.split(".")]
    assert len(inner) >= count / 2
    assert len({name.rpartition(".")[0] for name in inner}) <= 2  # siblings, not insides
    reading = taps.read(model, x, chosen, gradients=True)
    with torch.no_grad():
        torch.testing.assert_close(reading.logits, model(x).logits)
    assert reading.gradients.shape == (5, 2, *chosen[-1].shape)
    assert reading.gradients.any()
    assert not any(m._forward_hooks for m in model.modules())


def test_tokens_become_maps_on_their_grid(x, transformer) -> None:
    model = transformer("ViT", **MODELS["ViT"][0])
    chosen = taps.choose(model, x)
    reading = taps.read(model, x, chosen)
    with torch.no_grad():
        tokens = model.vit(x, output_hidden_states=True).hidden_states
        tokens = [tokens[1], model.vit.layers[2].layernorm_before(tokens[2])]
    for tap, hidden in zip(chosen[1:], tokens, strict=True):
        truth = hidden[:, 1:].mT.reshape(2, 16, 8, 8)
        torch.testing.assert_close(reading.maps[tap.name], truth)
    with torch.no_grad():
        patches = model.vit.embeddings.patch_embeddings.projection(x)
    torch.testing.assert_close(reading.maps[chosen[0].name], patches)


def test_a_last_block_of_which_only_the_class_token_is_read_is_no_tap(x, transformer) -> None:
    model = transformer("ViT", **MODELS["ViT"][0])
    assert [tap.name for tap in taps.choose(model, x)][-1].endswith("layers.2.layernorm_before")
    named = taps.choose(model, x, "**.layers.*")
    assert len(named) == 3
    with pytest.raises(BadInput, match="only its class token is read"):
        taps.read(model, x, named, gradients=True)


@pytest.mark.parametrize(("height", "width"), [(32, 64), (40, 56)])
def test_swin_on_oblong_and_padded_inputs(height, width, transformer) -> None:
    model = transformer("Swin", **MODELS["Swin"][0])
    x = torch.rand(1, 3, height, width)
    for tap in taps.choose(model, x):
        scale = height / tap.shape[1]
        assert tap.shape[2] == pytest.approx(width / scale, abs=0.5)
        assert taps.read(model, x, [tap]).maps[tap.name].shape == (1, *tap.shape)


def test_timm_where_it_can_be_imported(x) -> None:
    timm = pytest.importorskip("timm")
    for name in ("resnet18", "vit_tiny_patch16_224", "convnext_atto"):
        size = {"img_size": 64} if name.startswith("vit") else {}
        model = timm.create_model(name, pretrained=False, num_classes=5, **size).eval()
        chosen = taps.choose(model, x)
        assert len(chosen) >= 8
        assert taps.read(model, x, chosen, gradients=True).gradients.any()
