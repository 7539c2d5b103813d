"""The model as an attack sees it: every row sent through it is counted, sample by sample.

One forward call serves everybody: the driver's question whether the goal is reached keeps its
graph, and the attack's next gradient at the same place uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from undertow.attacks.parts.rows import same, size
from undertow.errors import BadInput
from undertow.models.asking import ask, uncompiled
from undertow.models.defended import Aware
from undertow.types import Goal, Images, Keep, Logits

__all__ = ["ModelOracle", "Tally", "frozen"]

Loss = Callable[[Tensor], Tensor]


@contextmanager
def frozen(models: Sequence[nn.Module]) -> Iterator[None]:
    """For a while parameters have no gradients, so that graphs hold nothing for them.

    Compiled parts are the plain ones inside: their graphs cannot be gone through twice.
    """
    thawed = [p for model in models for p in model.parameters() if p.requires_grad]
    for p in thawed:
        p.requires_grad_(False)
    try:
        with ExitStack() as plain:
            for model in models:
                plain.enter_context(uncompiled(model))
            yield
    finally:
        for p in thawed:
            p.requires_grad_(True)


@dataclass(slots=True, eq=False)
class Tally:
    """What was asked for each sample of a batch."""

    forwards: Int64[Tensor, " sample"]
    backwards: Int64[Tensor, " sample"]

    @classmethod
    def of(cls, samples: int) -> Tally:
        """Nothing asked yet."""
        zeros = torch.zeros(samples, dtype=torch.int64)
        return cls(zeros, zeros.clone())


@dataclass(slots=True, eq=False)
class _Memory:
    """The last forward call with its graph; ``rows`` are those that are still asked about."""

    leaf: Tensor
    logits: Tensor
    rows: Tensor | None = None
    used: bool = False

    def place(self) -> Tensor:
        """Where it was made, for the rows that are still asked about."""
        at = self.leaf.detach()
        return at if self.rows is None else at[self.rows]

    def answer(self) -> Tensor:
        """The logits of those rows, with their graph."""
        return self.logits if self.rows is None else self.logits[self.rows]


class ModelOracle:
    """A counting oracle around one model.

    Inputs go to the model in the model's own floating-point type and answers come back in the
    input's, so that an attack computes in float32 around a model in half precision.

    Args:
        model: gives logits of shape (sample, class); in evaluation mode. Of an
            :class:`~undertow.models.defended.Aware` one the last is that of rejection.
        classes: how many logits there are.
        channels_last: hand images over with their channels innermost, which a CPU convolves some
            1.3 × faster.
        half: the type in which gradients are computed; every success is then verified in the
            model's own, in one more forward call. ``None``: the model's own throughout.
    """

    def __init__(
        self,
        model: nn.Module,
        classes: int,
        *,
        channels_last: bool = False,
        half: torch.dtype | None = None,
    ) -> None:
        self.model = model
        self.half = half
        self.channels_last = channels_last
        self.classes = classes
        self.rejecting = isinstance(model, Aware)
        weight = next((p for p in model.parameters() if p.is_floating_point()), None)
        self.dtype = None if weight is None else weight.dtype
        self.device = torch.device("cpu") if weight is None else weight.device
        self.open(0, 0)

    def open(self, samples: int, first: int) -> None:
        """Count anew, for a batch of which the first is number ``first`` of all; a row a sample."""
        self.first = first
        self.tally = Tally.of(samples)
        self.spread(torch.arange(samples))

    def spread(self, owner: Int64[Tensor, " row"]) -> None:
        """From now on rows belong to the samples ``owner``, of which several may be the same."""
        self.owner = owner
        self.rows = torch.arange(len(owner))
        self._whose = owner
        self.vanished = torch.zeros(len(owner), dtype=torch.bool)
        self._memory: _Memory | None = None

    def keep(self, mask: Keep) -> None:
        """Only these rows go on; the last forward call can still be used for them."""
        if mask.all():
            return
        self.rows = self.rows[mask.to(self.rows.device)]
        self._whose = self.owner[self.rows]
        if self._memory is not None:
            rows = torch.nonzero(mask).flatten()
            old = self._memory.rows
            self._memory.rows = rows if old is None else old[rows]

    def logits(self, x: Images) -> Logits:
        """One forward call, without a graph; none if the last one was made at ``x``."""
        self._memory = self._known(x)
        if self._memory is not None:
            return self._memory.answer().detach()
        with torch.no_grad():
            return self._forward(x)

    def benign(self, x: Images) -> Logits:
        """The answers at the benign inputs, in the model's own type; see :meth:`judge`."""
        if self.half is None:
            return self.judge(x)
        self._memory = None
        with torch.no_grad():
            return self._forward(x, exact=True)

    def judge(self, x: Images) -> Logits:
        """One forward call whose graph is kept for the gradient that may follow at ``x``."""
        self._memory = None  # its graph is freed before the next is built
        self._memory = self._ask(x)
        return self._memory.logits.detach()

    def verdict(self, x: Images, logits: Logits | None, goal: Goal) -> Logits:
        """The logits by which success at ``x`` is told: those given, or else asked for now."""
        given = self.judge(x) if logits is None else logits
        return given if self.half is None else self.verified(x, given, goal.reached(given))

    def verified(self, x: Images, logits: Logits, which: Keep) -> Logits:
        """The logits, those of some rows asked for once more in the model's own type."""
        rows = torch.nonzero(which).flatten()
        if not len(rows):
            return logits
        exact = logits.clone()
        with torch.no_grad():
            exact[rows] = self._asked(x[rows], exact=True)
        self.tally.forwards.index_add_(0, self._whose[rows.cpu()], torch.ones_like(rows).cpu())
        return exact

    def gradient_later(self, x: Images) -> Logits:
        """Logits now, of a forward call that the next gradient at ``x`` will use."""
        self._memory = self._recall(x)
        return self._memory.answer().detach()

    def gradient(self, x: Images, loss: Loss) -> tuple[Logits, Images]:
        """Logits, and the gradient at ``x`` of ``loss(logits)``, which has one value a row."""
        memory = self._recall(x)
        with torch.enable_grad():
            logits = memory.answer()
            value = loss(logits).sum()
        g = self._backward(value, memory)
        self._look(g, memory)
        return logits.detach(), g

    def jacobian(
        self, x: Images, cotangents: Float[Tensor, "k sample class"]
    ) -> tuple[Logits, Float[Tensor, "k sample channel height width"]]:
        """Logits, and the gradients at ``x`` of ``k`` linear forms of the logits, one forward.

        The ``k`` backward passes run one after the other: on a CPU that is as fast as batching
        them, and it needs a k-th of the memory. The graph stays, for more of them at ``x``. A row
        whose cotangent is zero is not asked about, and not counted.
        """
        memory = self._recall(x)
        with torch.enable_grad():
            logits = memory.answer()
            values = [(logits * c).sum() for c in cotangents]
        gs = torch.stack([self._backward(v, memory, retain=True) for v in values])
        self._memory = memory
        self._look(gs.transpose(0, 1), memory, (cotangents != 0).any(dim=2).sum(dim=0))
        return logits.detach(), gs

    def _forward(self, x: Tensor, *, exact: bool = False) -> Tensor:
        logits = self._asked(x, exact=exact)
        self._count(self.tally.forwards, len(x))
        return logits

    def _asked(self, x: Tensor, *, exact: bool) -> Tensor:
        given = x if self.dtype is None else x.to(self.dtype)
        if self.channels_last:
            given = given.contiguous(memory_format=torch.channels_last)
        half = self.half is not None and not exact
        with torch.autocast(self.device.type, dtype=self.half, enabled=half):
            logits: Tensor = ask(self.model, given)
        if logits.shape != (len(x), self.classes):
            shape = tuple(logits.shape)
            raise BadInput(
                f"the model gives shape {shape} for {len(x)} inputs; "
                f"it must be ({len(x)}, {self.classes})"
            )
        finite = torch.isfinite(logits).all(dim=1)
        if not finite.all():
            row = int(self.rows[int(torch.nonzero(~finite)[0]) % len(self.rows)])
            wrong = self.first + int(self.owner[row])
            raise BadInput(f"the model's logits are not finite (NaN or inf) for input {wrong}")
        return logits.to(x.dtype)

    def _ask(self, x: Tensor) -> _Memory:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            return _Memory(leaf, self._forward(leaf))

    def _known(self, x: Tensor) -> _Memory | None:
        """The last forward call if it was made at ``x``; it is forgotten."""
        memory, self._memory = self._memory, None
        at = None if memory is None else memory.place()
        return memory if at is not None and same(at, x) else None

    def _recall(self, x: Tensor) -> _Memory:
        """The last forward call if it was made at ``x``, else a new one."""
        return self._known(x) or self._ask(x)

    def _backward(self, value: Tensor, memory: _Memory, *, retain: bool = False) -> Tensor:
        if not value.requires_grad:  # the model's answer does not depend on its input
            g = torch.zeros_like(memory.leaf)
        else:
            (g,) = torch.autograd.grad(
                value, memory.leaf, retain_graph=retain, materialize_grads=True
            )
        return g if memory.rows is None else g[memory.rows]

    def _look(self, g: Tensor, memory: _Memory, asked: Int64[Tensor, " row"] | None = None) -> None:
        """Count gradients asked for; note where all vanished; refuse what is not finite.

        ``asked`` says how many were asked about each row, by default one.
        """
        self._count(self.tally.backwards, len(g), asked)
        length = size(g.detach())
        if not torch.isfinite(length).all():
            raise BadInput("the model's gradient is not finite (NaN or inf)")
        if len(g) == len(self.rows):
            zero, before = (length == 0).to(self.vanished.device), self.vanished[self.rows]
            if zero.any() or before.any():
                new = zero & before if memory.used else zero
                if asked is not None:
                    new = torch.where(asked.to(new.device) > 0, new, before)
                self.vanished[self.rows] = new
        memory.used = True

    def _count(self, what: Tensor, rows: int, asked: Int64[Tensor, " row"] | None = None) -> None:
        """Add to the samples' counts what was asked about the rows that move, or copies of them."""
        moving = len(self.rows)
        assert moving, "no row moves"
        assert rows % moving == 0, "ask about all rows that move, or multiples of them"
        each = torch.full_like(self.rows, rows // moving) if asked is None else asked.cpu()
        what.index_add_(0, self._whose, each)
