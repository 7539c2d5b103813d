"""Controls: perturbations of an attack's own length, each unlike the attack in one thing.

``noise`` keeps its length only; ``spectrum`` its length and power spectrum; ``transplant`` is a
whole perturbation of the same attack that was made for another input. None asks the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.attacks.parts.balls import distance
from undertow.attacks.parts.settings import check
from undertow.errors import BadInput
from undertow.types import Attack, Draws, Goal, Images, Iterate, Iterates, Norm, Oracle

__all__ = ["Noise", "Spectrum", "Transplant"]

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
        object.__setattr__(self, name, _lengths(self, name))

    def for_rows(self, rows: Tensor, total: int) -> Noise:
        """The same noise for some of the inputs: lengths given one an input are picked out."""
        name = "l2" if self.linf is None else "linf"
        some: Any = {name: _picked(self, name, rows, total)}
        return replace(self, **some)

    def iterates(self, model: Oracle, x0: Images, goal: Goal, *, draws: Draws) -> Iterates:
        """Yield the one step."""
        d = draws.normal(x0.shape[1:]).to(x0)
        d = d.sign() if self.kind == "sign" else d
        norm: Norm = "l2" if self.linf is None else "linf"
        asked: Any = self.l2 if norm == "l2" else self.linf
        lengths = torch.as_tensor(asked, dtype=x0.dtype, device=x0.device).expand(len(x0))
        yield Iterate(step=1, x=_reach(x0, d, lengths, norm))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spectrum(Attack):
    """The attack's own perturbation with other phases: as long, and as strong at each frequency.

    Each channel's two-dimensional Fourier transform is turned by phases that are drawn once an
    input for all its channels, so that what the channels do together stays; frequencies that are
    their own mirror image keep or change their sign, so the result is real. Then it is clipped and
    brought to the perturbation's L2 length, as :class:`Noise` is.

    Args:
        perturbation: what the attack added, (sample, channel, height, width), or (1, …) for all
            inputs; ``None``: nothing.
        l2: the length, one an input; ``None``: that of the perturbation.
    """

    name: ClassVar[str] = "spectrum"
    norm: ClassVar[Norm] = "l2"

    perturbation: Tensor | None = field(default=None, metadata={"stored": False})
    l2: float | Sequence[float] | Tensor | None = None

    def __post_init__(self) -> None:
        _check_given(self)

    def for_rows(self, rows: Tensor, total: int) -> Spectrum:
        """The same for some of the inputs."""
        return replace(self, **_given_rows(self, rows, total))

    def iterates(self, model: Oracle, x0: Images, goal: Goal, *, draws: Draws) -> Iterates:
        """Yield the one step."""
        given, lengths = _given(self, x0)
        waves = torch.fft.fft2(given.double())
        noise = draws.normal(x0.shape[2:]).to(x0.device).double()
        # The transform of real numbers: its phases are odd, so what is turned by them stays real.
        turned = torch.fft.fft2(noise)
        phase = turned / turned.abs().clamp(min=1e-30)
        moved = torch.fft.ifft2(waves * phase[:, None]).real.to(x0)
        yield Iterate(step=1, x=_reach(x0, moved, lengths, "l2"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Transplant(Attack):
    """A perturbation that was made for another input, brought to a given L2 length in the box.

    Where the box leaves too little room for that length, components that have more room on their
    other side go that way; what falls short even so is as long as it can be.

    Args:
        perturbation: (sample, channel, height, width), or (1, …) for all inputs; ``None``: nothing.
        l2: the length, one an input; ``None``: that of the perturbation.
    """

    name: ClassVar[str] = "transplant"
    norm: ClassVar[Norm] = "l2"

    perturbation: Tensor | None = field(default=None, metadata={"stored": False})
    l2: float | Sequence[float] | Tensor | None = None

    def __post_init__(self) -> None:
        _check_given(self)

    def for_rows(self, rows: Tensor, total: int) -> Transplant:
        """The same for some of the inputs."""
        return replace(self, **_given_rows(self, rows, total))

    def iterates(self, model: Oracle, x0: Images, goal: Goal, *, draws: Draws) -> Iterates:
        """Yield the one step."""
        given, lengths = _given(self, x0)
        x = _reach(x0, given, lengths, "l2")
        short = distance(x, x0, "l2") < 0.999 * lengths
        room = torch.where(given > 0, 1 - x0, x0)
        turned = torch.where((room < 0.5) & short[:, None, None, None], -given, given)
        yield Iterate(step=1, x=_reach(x0, turned, lengths, "l2"))


def _check_given(attack: Spectrum | Transplant) -> None:
    p = attack.perturbation
    if p is not None and not (isinstance(p, Tensor) and p.ndim == 4 and p.is_floating_point()):
        told = f"{tuple(p.shape)} {p.dtype}" if isinstance(p, Tensor) else type(p).__name__
        raise BadInput(
            f"{attack.name}: perturbation is {told} (allowed: floats of sample, channel, height, "
            "width)"
        )
    if p is not None and not bool(torch.isfinite(p).all()):
        raise BadInput(f"{attack.name}: the perturbation holds NaN or infinite values")
    if attack.l2 is not None:
        object.__setattr__(attack, "l2", _lengths(attack, "l2"))


def _given(attack: Spectrum | Transplant, x0: Images) -> tuple[Images, Float[Tensor, " sample"]]:
    """The perturbation, and the length that it shall have.

    Raises:
        BadInput: where it is not one of these inputs.
    """
    p = torch.zeros_like(x0) if attack.perturbation is None else attack.perturbation.to(x0)
    if p.shape[1:] != x0.shape[1:] or len(p) not in (1, len(x0)):
        raise BadInput(
            f"{attack.name}: a perturbation of {tuple(p.shape)} for inputs of {tuple(x0.shape)}"
        )
    p = p.expand_as(x0)
    if attack.l2 is None:
        return p, p.flatten(1).norm(dim=1)
    asked: Any = attack.l2
    return p, torch.as_tensor(asked, dtype=x0.dtype, device=x0.device).expand(len(x0))


def _given_rows(attack: Spectrum | Transplant, rows: Tensor, total: int) -> dict[str, Any]:
    p = attack.perturbation
    if p is not None and len(p) not in (1, total):
        raise BadInput(f"{attack.name}: a perturbation of {len(p)} inputs for {total}")
    some = p if p is None or len(p) == 1 else p[rows.to(p.device)]
    return {"perturbation": some, "l2": _picked(attack, "l2", rows, total)}


def _picked(attack: Any, name: str, rows: Tensor, total: int) -> Any:
    """Lengths of some rows, where there is one an input."""
    given = getattr(attack, name)
    if not isinstance(given, tuple):
        return given
    if len(given) != total:
        raise BadInput(f"{attack.name}: {name} has {len(given)} lengths for {total} inputs")
    return tuple(given[int(r)] for r in rows)


def _lengths(attack: Any, name: str) -> float | tuple[float, ...]:
    """One length or a tuple of lengths, each positive or zero and finite."""
    given = getattr(attack, name)
    try:
        plain: Any = given.tolist() if isinstance(given, Tensor) else given
        single = isinstance(plain, int | float)
        numbers = [float(plain)] if single else [float(v) for v in plain]
    except (TypeError, ValueError):
        raise BadInput(
            f"{attack.name}: {name} is {given!r}; it must be a number or one a input"
        ) from None
    wrong = [v for v in numbers if not (math.isfinite(v) and v >= 0)]
    if wrong or (single and numbers[0] == 0):
        least = "above 0" if single else "at least 0"
        raise BadInput(
            f"{attack.name}: {name} is {(wrong or numbers)[0]}; it must be finite and {least}"
        )
    return numbers[0] if single else tuple(numbers)


def _reach(x0: Images, d: Images, lengths: Float[Tensor, " sample"], norm: Norm) -> Images:
    """x0 + s·d inside [0, 1], s found by bisection: the length grows with s and then stays."""
    low = torch.zeros_like(lengths)
    largest = d.flatten(1).abs().amax(dim=1).clamp(min=1e-30)  # of nothing nothing comes
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
