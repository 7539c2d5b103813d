"""Behind the last tap only the class token's rows are computed where no other is read.

A transformer's answer is read off its class token. Of its last block the keys and values of all
tokens matter, but the query, projection, residual, norm and MLP of the class token alone: the
gradient of a class costs a backward pass through the whole block if that is not known. Which calls
these are is learnt once, from the rows at which the slopes of the logits vanish, and the answer so
computed is held against the model's own before it is used.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from undertow.taps.head import weighed

__all__ = ["Few", "Learn", "Plan"]

BY_ROW: Final[frozenset[Any]] = frozenset({
    functional.linear, functional.layer_norm, functional.rms_norm, functional.gelu, functional.relu,
    functional.silu, functional.dropout, functional.softmax, torch.softmax, Tensor.softmax,
    Tensor.add, torch.add, operator.add, Tensor.sub, torch.sub, Tensor.mul, torch.mul, operator.mul,
    Tensor.div, torch.div,
})  # fmt: skip
"""Functions of which a row of the output depends on that row of the inputs alone."""
BY_ROW_OF_THE_FIRST: Final[frozenset[Any]] = frozenset({
    torch.matmul, Tensor.matmul, operator.matmul, torch.bmm, Tensor.bmm,
    functional.scaled_dot_product_attention,
})  # fmt: skip
"""The same, of the first input; of the second every row matters."""
ATTENTION: Final = functional.multi_head_attention_forward
"""The same; its tokens come before its samples, and its weights with its output."""
CLOSE: Final = 1e-5
"""What rounding may change, of the largest number."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which calls behind a tap need the leading rows alone.

    Args:
        names: of every call that works row by row, in their order.
        few: the numbers of those that need few rows.
    """

    names: tuple[str, ...]
    few: frozenset[int]


class _Rows(TorchFunctionMode):
    """Numbers the calls that work row by row, of tensors with so many rows.

    Args:
        rows: how many there are: the tokens.
        lead: how many of them come first and are no positions.
    """

    def __init__(self, rows: int, lead: int) -> None:
        super().__init__()
        self.rows, self.lead = rows, lead
        self.names: list[str] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        axis = _axis(args[0], self.rows, func) if args and _by_row(func) else None
        if axis is None:
            return func(*args, **kwargs)
        self.names.append(func.__name__)
        return self.call(len(self.names) - 1, axis, func, args, kwargs)

    def call(self, number: int, axis: int, func: Any, args: Any, kwargs: Any) -> Any:
        """What is done instead of such a call, given its number and the axis of its rows."""
        raise NotImplementedError


class Learn(_Rows):
    """Watches a pass from the tap on; :meth:`plan` tells what was learnt."""

    def __init__(self, rows: int, lead: int) -> None:
        super().__init__(rows, lead)
        self.edges: list[tuple[GradientEdge, int] | None] = []
        self.logits = self.slope = torch.empty(0)

    def call(self, number: int, axis: int, func: Any, args: Any, kwargs: Any) -> Any:
        """Make the call, and remember where its output is in the graph."""
        out = func(*args, **kwargs)
        main = out[0] if func is ATTENTION else out
        fits = isinstance(main, Tensor) and _axis(main, self.rows, func) == axis
        self.edges.append((get_gradient_edge(main), axis) if fits and main.requires_grad else None)
        return out

    def plan(self, logits: Tensor, leaf: Tensor) -> Plan:
        """Calls at whose other rows a weighted sum of all logits has no slope."""
        there = {n: edge for n, edge in enumerate(self.edges) if edge is not None}
        wanted = [get_gradient_edge(leaf), *(edge for edge, _ in there.values())]
        self.logits = logits.detach()
        self.slope, *slopes = torch.autograd.grad(
            weighed(logits), wanted, retain_graph=True, allow_unused=True
        )
        few = set()
        for (number, (_, axis)), slope in zip(there.items(), slopes, strict=True):
            others = None if slope is None else slope.narrow(axis, self.lead, self.rows - self.lead)
            if others is None or not bool(others.any()):
                few.add(number)
        return Plan(tuple(self.names), frozenset(few))

    def agrees(self, logits: Tensor, leaf: Tensor) -> bool:
        """Whether logits and slopes of another pass are those of this one, to rounding.

        Slopes at the positions are held against the largest of their own: the class token's may be
        larger by far.
        """
        if not logits.requires_grad or self.slope is None:
            return False
        (slope,) = torch.autograd.grad(
            weighed(logits), leaf, retain_graph=True, materialize_grads=True
        )
        at = slice(self.lead, None)
        pairs = ((logits.detach(), self.logits), (slope[:, at], self.slope[:, at]))
        return all(bool((a - b).abs().max() <= CLOSE * b.abs().max()) for a, b in pairs)


@dataclass(slots=True)
class _Kept:
    """A tensor whose leading rows alone are true, and those rows."""

    whole: Tensor
    lead: Tensor
    version: int = field(init=False)

    def __post_init__(self) -> None:
        self.version = self.whole._version


class Few(_Rows):
    """Computes the calls of a plan for the leading rows alone, others stand for the rest."""

    def __init__(self, rows: int, lead: int, plan: Plan) -> None:
        super().__init__(rows, lead)
        self.plan = plan
        self.kept: dict[int, _Kept] = {}

    def call(self, number: int, axis: int, func: Any, args: Any, kwargs: Any) -> Any:
        """Make the call for the leading rows, if it is one of the plan."""
        if number not in self.plan.few:
            return func(*args, **kwargs)
        like, rest = args[0].ndim, args[1:]
        if func in BY_ROW:
            rest = [self._few(a, axis, like) for a in rest]
        few = [self._few(args[0], axis, like), *rest]
        named = {k: self._mask(v) if k == "attn_mask" else v for k, v in kwargs.items()}
        out = func(*few, **named)
        lead = out[0] if func is ATTENTION else out
        shape = list(lead.shape)
        shape[axis] = self.rows - self.lead
        whole = torch.cat([lead, lead.narrow(axis, self.lead - 1, 1).expand(shape)], axis)
        self.kept[id(whole)] = _Kept(whole, lead)
        return (whole, *out[1:]) if func is ATTENTION else whole

    def followed(self) -> bool:
        """Whether the pass made the very calls that were planned."""
        return tuple(self.names) == self.plan.names

    def _few(self, value: Any, axis: int, like: int) -> Any:
        there = isinstance(value, Tensor) and value.ndim == like
        if not there or value.shape[axis] != self.rows:
            return value
        kept = self.kept.get(id(value))
        if kept is not None and kept.version == value._version:
            return kept.lead
        return value.narrow(axis, 0, self.lead)

    def _mask(self, mask: Any) -> Any:
        at = isinstance(mask, Tensor) and mask.ndim >= 2 and mask.shape[-2] == self.rows
        return mask.narrow(-2, 0, self.lead) if at else mask


def _by_row(func: Callable[..., Any]) -> bool:
    try:
        return func in BY_ROW or func in BY_ROW_OF_THE_FIRST or func is ATTENTION
    except TypeError:
        return False


def _axis(value: Any, rows: int, func: Any = None) -> int | None:
    """The axis of the tokens: (sample, token, ·) or (sample, head, token, ·)."""
    if not isinstance(value, Tensor) or value.ndim not in (3, 4):
        return None
    axis = 0 if func is ATTENTION else value.ndim - 2
    return axis if value.shape[axis] == rows else None
