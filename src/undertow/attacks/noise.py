"""Noise: the control. A random perturbation of a given length, the same for every class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.attacks.parts.balls import distance
from undertow.attacks.parts.settings import check
from undertow.errors import BadInput
from undertow.types import Attack, Draws, Goal, Images, Iterate, Iterates, Norm, Oracle

__all__ = ["Noise"]

Kind = Literal["sign", "gaussian"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Noise(Attack):
    """x + s·d clipped to [0, 1]; s is such that the change has the length asked for once clipped.

    Where even the corners of the box are nearer than that, the change is as long as it can be. It
    needs no gradient. Give exactly one of ``l2`` and ``linf``.

    Args:
        l2: Euclidean length, one for all inputs or one an input (tensor or sequence).
        linf: largest change of a component, one for all inputs or one an input.
        kind: ``sign``: every component moves by the same amount; ``gaussian``: normal numbers.
    """

    name: ClassVar[str] = "noise"
    norm: ClassVar[Norm] = "l2"
    strength: ClassVar[str | None] = "l2"

    l2: float | Sequence[float] | Tensor | None = None
    linf: float | Sequence[float] | Tensor | None = None
    kind: Kind = "sign"

    def __post_init__(self) -> None:
        check(self)
        if self.l2 is None and self.linf is None:
            object.__setattr__(self, "l2", 1.0)
        if self.l2 is not None and self.linf is not None:
            raise BadInput("noise: l2 and linf are both given; give one of them")
        name = "l2" if self.linf is None else "linf"
        object.__setattr__(self, name, _lengths(name, getattr(self, name)))

    def for_rows(self, rows: Tensor, total: int) -> Noise:
        """The same noise for some of the inputs: lengths given one an input are picked out."""
        name = "l2" if self.linf is None else "linf"
        given = getattr(self, name)
        if not isinstance(given, tuple):
            return self
        if len(given) != total:
            raise BadInput(f"noise: {name} has {len(given)} lengths for {total} inputs")
        some: Any = {name: tuple(given[int(r)] for r in rows)}
        return replace(self, **some)

    def iterates(self, model: Oracle, x0: Images, goal: Goal, *, draws: Draws) -> Iterates:
        """Yield the one step."""
        d = draws.normal(x0.shape[1:]).to(x0)
        d = d.sign() if self.kind == "sign" else d
        norm: Norm = "l2" if self.linf is None else "linf"
        asked: Any = self.l2 if norm == "l2" else self.linf
        lengths = torch.as_tensor(asked, dtype=x0.dtype, device=x0.device).expand(len(x0))
        yield Iterate(step=1, x=_reach(x0, d, lengths, norm))


def _lengths(name: str, given: Any) -> float | tuple[float, ...]:
    """One length or a tuple of lengths, each positive or zero and finite."""
    try:
        plain: Any = given.tolist() if isinstance(given, Tensor) else given
        single = isinstance(plain, int | float)
        numbers = [float(plain)] if single else [float(v) for v in plain]
    except (TypeError, ValueError):
        raise BadInput(f"noise: {name} is {given!r}; it must be a number or one a input") from None
    wrong = [v for v in numbers if not (math.isfinite(v) and v >= 0)]
    if wrong or (single and numbers[0] == 0):
        least = "above 0" if single else "at least 0"
        raise BadInput(f"noise: {name} is {(wrong or numbers)[0]}; it must be finite and {least}")
    return numbers[0] if single else tuple(numbers)


def _reach(x0: Images, d: Images, lengths: Float[Tensor, " sample"], norm: Norm) -> Images:
    """x0 + s·d inside [0, 1], s found by bisection: the length grows with s and then stays."""
    low = torch.zeros_like(lengths)
    largest = d.flatten(1).abs().amax(dim=1)
    smallest = torch.where(d == 0, torch.inf, d.abs()).flatten(1).amin(dim=1)
    high = (1 / smallest).clamp(max=1e6 / largest)  # every component has reached a side of the box
    x = x0
    for _ in range(64):
        middle = (low + high) / 2
        x = (x0 + middle[:, None, None, None] * d).clamp(0, 1)
        short = distance(x, x0, norm) < lengths
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    high = torch.where(lengths > 0, high, 0)
    return (x0 + high[:, None, None, None] * d).clamp(0, 1)
