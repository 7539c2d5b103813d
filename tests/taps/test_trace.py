from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from undertow.taps.outputs import swapped
from undertow.taps.trace import Trace, call_name, trace


class Web(nn.Module):
    """Convolutions in a random acyclic graph: node ``i`` adds up some of what came before it."""

    def __init__(self, sources: list[list[int]]) -> None:
        super().__init__()
        self.sources = sources
        self.nodes = nn.ModuleList([nn.Conv2d(3, 3, 1, bias=False) for _ in sources])
        self.fc = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for node, sources in zip(self.nodes, self.sources, strict=True):
            values.append(node(torch.stack([values[s] for s in sources]).sum(0)))
        return self.fc(values[-1].mean((2, 3)))


@st.composite
def webs(draw: st.DrawFn) -> list[list[int]]:
    count = draw(st.integers(1, 6))
    return [sorted(draw(st.sets(st.integers(0, i), min_size=1, max_size=3))) for i in range(count)]


def is_cut(model: nn.Module, x: Tensor, name: str, number: int = 1) -> bool:
    """By the definition: cut the graph at this output, and the logits know nothing of the input."""
    calls = 0

    def cut(module: nn.Module, args: object, output: Tensor) -> Tensor | None:
        nonlocal calls
        calls += 1
        return swapped(output, output, output.detach()) if calls == number else None

    handle = model.get_submodule(name).register_forward_hook(cut)
    try:
        return not model(x.clone().requires_grad_()).requires_grad
    finally:
        handle.remove()


@given(sources=webs())
@settings(max_examples=60)
def test_cuts_are_the_outputs_that_nothing_flows_past(sources) -> None:
    model = Web(sources).eval().requires_grad_(False)
    x = torch.rand(1, 3, 2, 2)
    for call in trace(model, x).calls:
        assert call.cut == is_cut(model, x, call.name), (sources, call.name)


@pytest.mark.parametrize("name", ["plain", "vgg", "resnet", "densenet", "channels_last"])
def test_cuts_of_real_architectures(net, images, name) -> None:
    model = net(name).requires_grad_(False)
    seen = trace(model, images)
    assert any(call.cut for call in seen.calls)
    for call in seen.calls:
        place, _, number = call.name.partition("#")
        if not isinstance(model.get_submodule(place), nn.ReLU):  # in place: no output to detach
            assert call.cut == is_cut(model, images[:1], place, int(number or 1)), call.name


def test_hooks_of_the_trace_come_off(any_net, images) -> None:
    trace(any_net, images)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in any_net.modules())
    assert all(p.grad is None for p in any_net.parameters())


def test_costs_do_not_depend_on_the_number_of_examples(any_net, images) -> None:
    def costs(seen: Trace) -> list[tuple[str, int, int]]:
        return [(call.name, call.begun, call.macs) for call in seen.calls]

    assert costs(trace(any_net, images)) == costs(trace(any_net, images[:1]))


def test_names_of_calls() -> None:
    assert [call_name("a.b", n) for n in (1, 2, 3)] == ["a.b", "a.b#2", "a.b#3"]
