"""One watched forward pass: every module call in order, its cost, and whether it is a bottleneck.

A call is a **cut** when every path from the input to the logits runs through its output: then
nothing flows past it. Cuts are found exactly, by counting paths in the autograd graph. Costs are
counted below the modules, where the operators run, so matrix products that no module owns
(attention, functional calls) count too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from undertow.models.asking import uncompiled
from undertow.taps.head import cancels, weighed
from undertow.taps.hooks import ENTRY, call_name, modules_of
from undertow.taps.layout import Layout, layout
from undertow.taps.outputs import at_home, evaluating, logits_of, main_tensor, unwrapped
from undertow.types import Images

__all__ = ["Call", "Trace", "trace"]

WEIGHTED = ("Convolution", "MkldnnConvolution", "Addmm", "Mm", "Bmm")
"""Nodes of the autograd graph that are weighted work."""
ACTIVATIONS = (
    "Relu", "Hardtanh", "LeakyRelu", "PreluKernel", "Elu", "Gelu", "Silu", "Mish", "Hardswish",
    "Softplus", "Tanh", "Sigmoid", "Hardsigmoid", "Threshold",
)  # fmt: skip
"""Nodes of activations; the input of a module is a place to tap where one of them made it."""
ROWS = 2  # two inputs tell the sample axis from one of length one


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of one module.

    Args:
        name: dotted name; ``name#2`` for the second call of the same module, ``name:in`` for what
            goes into it, where a function made that and no module puts it out.
        module: the module.
        made: the operation that made the output, by its node in the autograd graph.
        layout: how its output is laid out; ``None`` where it has no maps.
        begun: multiply-adds of one input before the call.
        macs: multiply-adds of one input when the call is done.
        same: equal for calls that put out the very same values.
        cut: whether everything the logits know of the input passes here.
        answer: whether the output is the logits themselves.
        read: whether the logits depend on the positions (they do not after the last block of a
            transformer that only reads its class token).
    """

    name: str
    module: nn.Module
    made: str
    layout: Layout | None
    begun: int
    macs: int
    same: object
    cut: bool
    answer: bool
    read: bool

    @property
    def entry(self) -> bool:
        """Whether it is what goes into a module."""
        return self.name.partition("#")[0].endswith(ENTRY)

    @property
    def single(self) -> bool:
        """Whether it is one step of a block, not a block.

        That is a module without modules inside, what goes into a module, or a module that puts out
        what its convolution or matrix product gave, before any norm or activation: one with padding
        of its own, or with a reparametrised weight (weight and spectral norm).
        """
        leaf = not any(True for _ in self.module.children())
        return leaf or self.entry or self.made.startswith(WEIGHTED)


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """All calls in the order in which they finished, and the cost of the whole model."""

    calls: tuple[Call, ...]
    macs: int
    cancelled: Callable[[Call], bool]
    """Whether gradient × maps cancels at every position of a call's output."""


@dataclass(slots=True, eq=False)
class _Seen:
    """What is noted at a call; kept until the pass is over so that no memory is used twice."""

    name: str
    module: nn.Module
    tensor: Tensor
    node: tuple[Any, int]
    same: object
    begun: int
    macs: int


class _Cost(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts multiply-adds of convolutions, matrix products and attention."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler here, which takes a second

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        packet = func._overloadpacket
        if packet in flop_registry:
            self.macs += int(flop_registry[packet](*args, **kwargs, out_val=out)) // 2
        elif packet is torch.ops.aten._scaled_dot_product_flash_attention_for_cpu:
            query, key, value = (tensor.shape for tensor in args[:3])
            self.macs += query[:-1].numel() * key[-2] * (query[-1] + value[-1])
        return out


def trace(model: nn.Module, example: Images) -> Trace:
    """Watch one forward pass of the first input.

    Raises:
        BadInput: if the model is in training mode or puts out no logits.
    """
    evaluating(model, example)
    model = unwrapped(model)
    x = at_home(model, example[:1]).detach().repeat(ROWS, 1, 1, 1).requires_grad_()
    cost, seen = _Cost(), list[_Seen]()
    with ExitStack() as hooks, torch.enable_grad():
        _watch(model, hooks, cost, seen)
        with cost:
            logits = logits_of(model(x.clone()), ROWS)
        total = cost.macs // ROWS
        paths = _Paths(logits, x)
        image = (x.shape[2], x.shape[3])
        calls = tuple(_call(s, image, paths, logits) for s in seen)
    tensors = {s.name: s.tensor for s in seen}
    return Trace(calls, total, lambda call: _cancelled(tensors[call.name], call.layout, logits))


def _watch(model: nn.Module, hooks: ExitStack, cost: _Cost, seen: list[_Seen]) -> None:
    hooks.enter_context(uncompiled(model))
    for name, module in modules_of(model).items():
        watch = _Watch(name, cost, seen)
        hooks.callback(module.register_forward_pre_hook(watch.before).remove)
        hooks.callback(module.register_forward_hook(watch.after).remove)


@dataclass(slots=True, eq=False)
class _Watch:
    """The hooks of one module: what each of its calls puts out, and at what cost."""

    name: str
    cost: _Cost
    seen: list[_Seen]
    calls: int = 0
    entered: int = 0
    begun: list[int] = field(default_factory=list)

    def before(self, module: nn.Module, args: Any) -> None:
        self.begun.append(self.cost.macs)
        self.entered += 1
        tensor = main_tensor(args)
        if tensor is None or not _made(tensor).startswith(ACTIVATIONS):
            return
        if not any(s.same == _place(tensor) for s in self.seen):
            self._note(module, call_name(self.name + ENTRY, self.entered), tensor, self.cost.macs)

    def after(self, module: nn.Module, args: Any, output: Any) -> None:
        self.calls += 1
        start = self.begun.pop()
        tensor = main_tensor(output)
        if tensor is not None:
            self._note(module, call_name(self.name, self.calls), tensor, start)

    def _note(self, module: nn.Module, called: str, tensor: Tensor, start: int) -> None:
        node = (tensor.grad_fn, tensor.output_nr)
        spent = (start // ROWS, self.cost.macs // ROWS)
        self.seen.append(_Seen(called, module, tensor, node, _place(tensor), *spent))


def _place(tensor: Tensor) -> tuple[Any, ...]:
    """Equal for tensors that are the same memory in the same state."""
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor._version


def _made(tensor: Tensor) -> str:
    """The operation that made a tensor, as its node in the autograd graph is called."""
    node = tensor.grad_fn
    while node is not None and node.name().startswith(("View", "UnsafeView", "Alias", "Clone")):
        node = next((n for n, _ in node.next_functions if n is not None), None)
    return "" if node is None else node.name()


def _call(seen: _Seen, image: tuple[int, int], paths: _Paths, logits: Tensor) -> Call:
    tensor = seen.tensor
    steps = isinstance(seen.module, nn.RNNBase)
    found = layout(tuple(tensor.shape), image, sequence=steps) if len(tensor) == ROWS else None
    return Call(
        name=seen.name,
        module=seen.module,
        made=_made(tensor),
        layout=found,
        begun=seen.begun,
        macs=seen.macs,
        same=seen.same,
        cut=paths.all_through(seen.node),
        answer=tensor is logits,
        read=found is None or found.prefix == 0 or _reaches(tensor, logits, found),
    )


def _reaches(tensor: Tensor, logits: Tensor, found: Layout) -> bool:
    """Whether any logit has a slope at a position of the grid."""
    slope = _slope(tensor, logits)
    return slope is None or bool(found.view(slope).any())


def _cancelled(tensor: Tensor, found: Layout | None, logits: Tensor) -> bool:
    slope = _slope(tensor, logits)
    if found is None or slope is None or len(found.shape) == 1:
        return False
    return cancels(found.view(tensor.detach()), found.view(slope))


def _slope(tensor: Tensor, logits: Tensor) -> Tensor | None:
    """The slope of a sum of all logits at a call's output; ``None`` where there is none."""
    if not tensor.requires_grad:
        return None
    (slope,) = torch.autograd.grad(weighed(logits), tensor, retain_graph=True, allow_unused=True)
    return slope


class _Paths:
    """Counts paths from the logits back to the input in the autograd graph, exactly."""

    def __init__(self, logits: Tensor, x: Tensor) -> None:
        root = logits.grad_fn
        order = list(_children_first(root)) if root is not None else []
        self.down: dict[Any, int] = {}
        for node in order:
            own = int(getattr(node, "variable", None) is x)
            self.down[node] = own + sum(self.down[child] for child, _ in _edges(node))
        self.total = self.down.get(root, 0)
        self.up: Counter[tuple[Any, int]] = Counter()
        ways: Counter[Any] = Counter({root: 1})
        self.up[root, logits.output_nr] = 1
        for node in reversed(order):
            for child, number in _edges(node):
                self.up[child, number] += ways[node]
                ways[child] += ways[node]

    def all_through(self, place: tuple[Any, int]) -> bool:
        """Whether every path passes this output; true of all where the input has no gradient."""
        if not self.total:
            return True
        return self.up[place] * self.down.get(place[0], 0) == self.total


def _edges(node: Any) -> Iterator[tuple[Any, int]]:
    return ((child, number) for child, number in node.next_functions if child is not None)


def _children_first(root: Any) -> Iterator[Any]:
    """Every node of the graph once, after all it leads to."""
    begun = {root}
    stack = [(root, _edges(root))]
    while stack:
        node, edges = stack[-1]
        child = next((child for child, _ in edges if child not in begun), None)
        if child is None:
            stack.pop()
            yield node
        else:
            begun.add(child)
            stack.append((child, _edges(child)))
