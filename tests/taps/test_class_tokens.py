"""Evidence where a class token is read: the same as computed in full, for less work."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from undertow import taps
from undertow.errors import BadInput
from undertow.information.matrices import evidence
from undertow.taps.class_tokens import Plan
from undertow.types import Tap

reading = importlib.import_module("undertow.taps.read")

VIT = {
    "image_size": 64, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 3,
    "num_attention_heads": 2, "intermediate_size": 24,
}  # fmt: skip


class Own(nn.Module):
    """A small transformer of torch's own layers, its tokens behind ``lead`` others."""

    def __init__(self, lead: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patch = nn.Conv2d(3, 16, 8, 8)
        self.lead = nn.Parameter(torch.randn(lead, 16))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(16, 2, 24, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(3)
        )
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch(x).flatten(2).mT
        h = torch.cat([self.lead.expand(len(x), -1, -1), patches], 1)
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h)[:, : len(self.lead)].mean(1))


class Branching(Own):
    """Goes another way through its last block for bright inputs."""

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch(x).flatten(2).mT
        h = torch.cat([self.lead.expand(len(x), -1, -1), patches], 1)
        h = self.blocks[0](h)
        tapped = self.blocks[1](h)
        if bool(x.mean() > 0.6):
            return self.head(self.norm(torch.relu(tapped)).mean(1))
        return self.head(self.norm(self.blocks[2](tapped))[:, 0])


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    reading._plans.clear()
    yield
    reading._plans.clear()


def plans(model: nn.Module) -> list[Plan | None]:
    return list(reading._plans[model].values())


def in_full(
    model: nn.Module, x: Tensor, chosen: tuple[Tap, ...], contract: taps.Contract | None = None
) -> taps.Reading:
    """Computed with no plan: the slow twin."""
    known = reading._plans.pop(model, None)
    last = [tap for tap in chosen if tap.spatial][-1]
    shape = taps.read(model, x, chosen).maps[last.name]
    plain = {(last.name, 1 + n + shape[0, 0].numel(), 1 + n): None for n in range(8)}
    reading._plans[model] = plain
    found = taps.read(model, x, chosen, gradients=True, contract=contract)
    assert len(reading._plans[model]) == len(plain)  # nothing was learnt
    reading._plans[model] = known or {}
    return found


KINDS = {
    "ViT": lambda build: build("ViT", **VIT),
    "eager": lambda build: build("ViT", **VIT, attn_implementation="eager"),
    "DeiT": lambda build: build("DeiT", **VIT),
    "ViTMSN": lambda build: build("ViTMSN", **VIT),
    "torch": lambda _: Own(),
    "three": lambda _: Own(3),
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_evidence_is_that_of_the_whole_block(kind, transformer) -> None:
    model = KINDS[kind](transformer).eval()
    x, other = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    chosen = taps.choose(model, x)
    truth = [in_full(model, batch, chosen, evidence) for batch in (x, other)]
    for batch, true in zip((x, other), truth, strict=True):
        found = taps.read(model, batch, chosen, gradients=True, contract=evidence)
        torch.testing.assert_close(found.logits, true.logits)
        for part in ("gradients", "contracted"):
            ours, full = getattr(found, part), getattr(true, part)
            assert full.abs().max() > 0
            torch.testing.assert_close(ours, full, rtol=1e-4, atol=1e-5 * float(full.abs().max()))
    (plan,) = plans(model)
    assert plan is not None
    assert plan.few


def test_most_of_the_block_is_saved(transformer) -> None:
    model = transformer("ViT", **{**VIT, "hidden_size": 32, "intermediate_size": 128})
    x = torch.rand(2, 3, 64, 64)
    chosen = taps.choose(model, x)
    taps.read(model, x, chosen, contract=evidence)  # learns
    spent = []
    for _ in range(2):
        with FlopCounterMode(display=False) as counter:
            taps.read(model, x, chosen, contract=evidence)
        spent.append(counter.get_total_flops())
        reading._plans[model] = dict.fromkeys(reading._plans[model])
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    passed = counter.get_total_flops()
    assert spent[0] - passed < (spent[1] - passed) / 3


def test_a_pass_that_goes_another_way_is_computed_in_full() -> None:
    model = Branching().eval()
    dark = 0.3 * torch.rand(2, 3, 64, 64)
    bright = 1 - dark
    chosen = taps.choose(model, dark, ["patch", "blocks.1"])
    wanted = in_full(model, bright, chosen).gradients
    taps.read(model, dark, chosen, gradients=True)
    (plan,) = plans(model)
    assert plan is not None
    found = taps.read(model, bright, chosen, gradients=True)
    torch.testing.assert_close(found.gradients, wanted)
    with torch.no_grad():
        torch.testing.assert_close(found.logits, model(bright))
    assert plans(model) == [None]


class Crosswise(Own):
    """Its norms run over the tokens: one row cannot be computed without the others."""

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch(x).flatten(2).mT
        h = torch.cat([self.lead.expand(len(x), -1, -1), patches], 1)
        tapped = self.blocks[1](self.blocks[0](h))
        weights = torch.softmax(tapped, dim=1)
        return self.head((weights * torch.tanh(tapped))[:, 0])


def test_what_needs_other_rows_is_not_taken_for_a_single_one() -> None:
    model = Crosswise().eval()
    x = torch.rand(2, 3, 64, 64)
    chosen = taps.choose(model, x, ["patch", "blocks.1"])
    wanted = in_full(model, x, chosen)
    found = taps.read(model, x, chosen, gradients=True)
    torch.testing.assert_close(found.gradients, wanted.gradients)
    torch.testing.assert_close(found.logits, wanted.logits)


def test_before_a_norm_over_the_maps_there_is_no_evidence(transformer) -> None:
    # Euler's theorem: a function that no factor changes has no slope along its own argument.
    model = transformer("ViT", **VIT)
    x = torch.rand(2, 3, 64, 64)
    before = taps.choose(model, x, ["vit.layers.0", "vit.layers.1"])
    found = taps.read(model, x, before, gradients=True)
    terms = found.maps["vit.layers.1"] * found.gradients
    assert terms.sum(2).abs().max() < 1e-4 * terms.abs().sum(2).max()
    with pytest.raises(BadInput, match=r"cancels at every position of tap 'vit\.layers\.1'"):
        taps.read(model, x, before, contract=evidence)
    assert taps.choose(model, x)[-1].name == "vit.layers.2.layernorm_before"


def test_evidence_of_pooled_tokens_is_each_tokens_share_of_the_logits(transformer) -> None:
    settings = {"image_size": 64, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2]}
    model = transformer("Swin", window_size=4, **settings)
    x = torch.rand(2, 3, 64, 64)
    chosen = taps.choose(model, x)
    assert chosen[-1].name == "swin.layernorm"
    found = taps.read(model, x, chosen, contract=evidence)
    with torch.no_grad():
        tokens = model.swin(x).last_hidden_state
        share = torch.einsum("mc,suc->smu", model.classifier.weight, tokens) / tokens.shape[1]
    torch.testing.assert_close(found.contracted.flatten(2), share, rtol=1e-4, atol=1e-7)


class Functional(Own):
    """Its norms are functions, so no module puts out what they give."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.patch(x).flatten(2).mT
        for block in self.blocks:
            h = h + block.linear2(torch.tanh(block.linear1(functional.layer_norm(h, (16,)))))
        return self.head(functional.layer_norm(h, (16,)).mean(1))


def test_where_no_module_gives_the_norm_an_earlier_tap_is_the_last() -> None:
    model = Functional().eval()
    x = torch.rand(2, 3, 64, 64)
    chosen = taps.choose(model, x)
    found = taps.read(model, x, chosen, gradients=True, contract=evidence)
    terms = found.maps[found.evidence_tap] * found.gradients
    assert found.contracted.norm() > 0.05 * terms.abs().sum(2).norm()
