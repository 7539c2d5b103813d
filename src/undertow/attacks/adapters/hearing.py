"""Hears every forward call of a model while another library's attack runs on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from undertow.attacks.driver.record import Record
from undertow.errors import BadInput
from undertow.types import Goal, Images, Logits

__all__ = ["Heard", "Listener", "owners"]

ROUNDING = 1e-5
"""How far outside [0, 1] an input may be asked about."""


@dataclass(slots=True, eq=False)
class Heard:
    """What was asked about one sample: its distinct inputs, in order.

    Args:
        policy: what to keep.
        steps: the step of every input, by its digest.
        records: step -> input and logits, of those kept.
    """

    policy: Record
    steps: dict[bytes, int] = field(default_factory=dict)
    records: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    stride: int = 1
    won: int | None = None

    def say(self, x: Tensor, logits: Tensor, reached: bool, *, keep: bool = False) -> int:
        """One input asked about; its step, which is its first one if it was asked before.

        ``keep`` says that it is to be kept whatever its step.
        """
        key = _key(x)
        new = key not in self.steps
        step = self.steps.setdefault(key, len(self.steps))
        first = reached and self.won is None
        if first:
            self.won = step
        every = self.policy.every
        due = new and every is not None and step % (every * self.stride) == 0
        if keep or step == 0 or due or (first and self.policy.success):
            self.records.setdefault(step, (x.clone(), logits.clone()))
            if not keep:
                self._thin()
        return step

    def _thin(self) -> None:
        """Double the spacing where there are too many records, with room for the end."""
        most = self.policy.at_most
        if most is None or len(self.records) <= most - 1:
            return
        self.stride *= 2
        spacing = (self.policy.every or 1) * self.stride
        special = {0, self.won if self.policy.success else 0}
        self.records = {s: r for s, r in self.records.items() if s % spacing == 0 or s in special}


def _key(x: Tensor) -> bytes:
    data = x.detach().float().cpu().contiguous().numpy().tobytes()
    return blake2b(data, digest_size=16).digest()


class Listener:
    """Writes down, sample by sample, what a model is asked.

    Args:
        benign: the inputs handed to the attack.
        logits: the model's answers there.
        goal: when an input counts as a success.
        policy: what to keep.
    """

    def __init__(self, benign: Images, logits: Logits, goal: Goal, policy: Record) -> None:
        self.benign, self.goal = benign, goal
        self.last = benign.clone()
        self.heard = [Heard(policy) for _ in benign]
        for heard, x, z in zip(self.heard, benign, logits, strict=True):
            heard.say(x, z, reached=False)
        self.forwards = torch.zeros(len(benign), dtype=torch.int64)
        self.backwards = torch.zeros_like(self.forwards)
        self.vanished = torch.zeros(len(benign), dtype=torch.bool)

    @contextmanager
    def on(self, model: nn.Module) -> Iterator[None]:
        """Listen to ``model`` for a while."""
        handle = model.register_forward_hook(self._hear)
        try:
            yield
        finally:
            handle.remove()

    def _hear(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        asked = args[0]
        x, logits = asked.detach().to(self.benign), output.detach().to(self.benign)
        self._check(x)
        whose = owners(x, self.benign, self.last)
        self.forwards.index_add_(0, whose, torch.ones_like(whose))
        if asked.requires_grad:
            asked.register_hook(lambda g: self._differentiated(g, whose))
        x = x.clamp(0, 1)
        self.last[whose.to(x.device)] = x
        reached = self.goal[whose.to(x.device)].reached(logits).tolist()
        for row, sample in enumerate(whose.tolist()):
            self.heard[sample].say(x[row], logits[row], reached[row])

    def _check(self, x: Tensor) -> None:
        if x.shape[1:] != self.benign.shape[1:]:
            given, own = tuple(x.shape[1:]), tuple(self.benign.shape[1:])
            raise BadInput(f"the attack asks about images of shape {given}; the inputs are {own}")
        low, high = float(x.min()), float(x.max())
        if not (low >= -ROUNDING and high <= 1 + ROUNDING):
            raise BadInput(
                f"the attack asks about images from {low:.4g} to {high:.4g}; it must stay in "
                "[0, 1]: set its bounds, and keep normalisation inside the model"
            )

    def _differentiated(self, g: Tensor, whose: Tensor) -> None:
        self.backwards.index_add_(0, whose, torch.ones_like(whose))
        zero = (g.detach().flatten(1).abs().amax(dim=1) == 0).cpu()
        self.vanished[whose] = zero


CLEARLY = 0.5
"""A row is another sample's if it is nearer to that by this factor."""


def owners(
    rows: Float[torch.Tensor, "row channel height width"], benign: Images, last: Images
) -> Int64[torch.Tensor, " row"]:
    """The sample that each row of a forward call belongs to.

    A row belongs to the sample whose benign input, or whose last input asked about, is nearest
    (L2). A call of as many rows as there are samples keeps their order, unless a row is clearly
    nearer to another sample.

    Args:
        rows: the inputs of one call (row, channel, height, width).
        benign: the inputs of all samples.
        last: what was last asked about each sample.

    Raises:
        BadInput: if a row is as near to two samples; one input at a time always works.
    """
    if len(benign) == 1:
        return torch.zeros(len(rows), dtype=torch.int64)
    flat = rows.flatten(1).float()
    near = torch.minimum(
        torch.cdist(flat, benign.flatten(1).float()), torch.cdist(flat, last.flatten(1).float())
    )
    best, whose = near.min(dim=1)
    if len(rows) == len(benign) and (best >= CLEARLY * near.diagonal()).all():
        return torch.arange(len(rows))
    others = near.scatter(1, whose[:, None], torch.inf).amin(dim=1)
    doubtful = torch.nonzero(others <= best / CLEARLY)
    if len(doubtful):
        row = int(doubtful[0])
        a, b = near[row].topk(2, largest=False).indices.tolist()
        raise BadInput(
            f"cannot tell whether the attack asked about input {a} or {b}; give batch_size=1"
        )
    return whose.cpu()
