"""Replacing: what a model answers when a tap's maps are others than it computed.

Here a map is the whole of what a module puts out along the map axis: of token sequences the class
tokens go with it, since what is put back at a tap must be able to be all that passes there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from undertow.errors import BadInput
from undertow.taps.hooks import hooked
from undertow.taps.layout import layout
from undertow.taps.outputs import at_home, evaluating, logits_of, main_tensor, swapped, unwrapped
from undertow.taps.replay import Rows, replayed
from undertow.types import Images, Logits, Tap

__all__ = ["Rest", "TapOutputs", "Value", "close", "outputs"]

Value: TypeAlias = Callable[[Logits], Float[Tensor, " sample"]]
"""One number an input, of which the slopes are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TapOutputs:
    """What a model put out at some taps in one pass.

    Args:
        logits: (sample, class), float32.
        maps: per tap (sample, map, ...), in the model's own type; other axes as the model has them.
        axes: per tap which axis of the module's output the maps lie along.
        slopes: per tap the gradient of a value of the logits, of the same shape; empty where none
            was asked for.
    """

    logits: Logits
    maps: dict[str, Float[Tensor, "sample map ..."]] = field(repr=False)
    axes: dict[str, int] = field(repr=False)
    slopes: dict[str, Float[Tensor, "sample map ..."]] = field(default_factory=dict, repr=False)


def outputs(
    model: nn.Module, x: Images, taps: Sequence[Tap], value: Value | None = None
) -> TapOutputs:
    """The maps of every tap; with ``value`` its slopes at all of them, by one backward pass.

    What lies before the first tap runs without a graph. Maps that a later module overwrites are
    those of before.

    Args:
        model: in evaluation mode.
        x: inputs.
        taps: from :func:`undertow.taps.choose`.
        value: of the logits.

    Raises:
        BadInput: if the model is in training mode, a tap is missing or gives another shape than
            when it was chosen, or the logits have no slope at it.
    """
    evaluating(model, x)
    model = unwrapped(model)
    noted = _Noted(value is not None, model in _overwriting)
    with hooked(model, [tap.name for tap in taps], noted.note), torch.no_grad():
        logits = logits_of(model(at_home(model, x)), len(x))
        if noted.overwritten():
            _overwriting[model] = True
            return outputs(model, x, taps, value)
        axes = {tap.name: _axis(tap, noted.caught.get(tap.name), x) for tap in taps}
        slopes = _slopes(value, logits, noted.caught) if value is not None else {}
    return TapOutputs(
        logits=logits.detach().float(),
        maps={n: t.detach().movedim(axes[n], 1) for n, t in noted.caught.items()},
        axes=axes,
        slopes={n: g.movedim(axes[n], 1) for n, g in slopes.items()},
    )


_overwriting: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()
"""Models of which a module was once seen to overwrite what a tap put out: taps are copied."""


@dataclass(slots=True, eq=False)
class _Noted:
    """What the taps put out; with ``sloped`` what comes after the first of them has a graph."""

    sloped: bool
    copied: bool
    caught: dict[str, Tensor] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)

    def note(self, called: str, output: Any, args: Any) -> Any:
        tensor = main_tensor(output)
        if tensor is None:
            return None
        if self.sloped:
            torch.set_grad_enabled(True)  # from here on; the pass around us restores it
        own = tensor.clone() if self.copied else tensor
        leaf = self.sloped and not own.requires_grad
        if leaf:
            own = own.detach().requires_grad_()
        self.caught[called], self.versions[called] = own, own._version
        # The model goes on from a copy where it may overwrite what was noted.
        return swapped(output, tensor, own.clone()) if leaf or self.copied else None

    def overwritten(self) -> bool:
        """Whether what was noted is no longer what the tap put out."""
        return any(t._version != self.versions[name] for name, t in self.caught.items())


def _slopes(value: Value, logits: Tensor, caught: dict[str, Tensor]) -> dict[str, Tensor]:
    whole = value(logits.float()).sum()
    found = (
        torch.autograd.grad(whole, list(caught.values()), allow_unused=True)
        if whole.requires_grad
        else (None,) * len(caught)
    )
    for name, slope in zip(caught, found, strict=True):
        if slope is None:
            raise BadInput(
                f"the logits have no slope at tap '{name}': nothing that it puts out is used, or "
                "the model works without gradients; leave the tap out"
            )
    return {n: slope for n, slope in zip(caught, found, strict=True) if slope is not None}


def _axis(tap: Tap, output: Tensor | None, x: Images) -> int:
    if output is None:
        raise BadInput(f"tap '{tap.name}' gave nothing; was it chosen for this model?")
    shape = tuple(output.shape)
    found = layout(shape, (x.shape[2], x.shape[3]), sequence=1 in tap.shape[1:])
    if found is None or shape[0] != len(x) or found.shape != tap.shape:
        got = found.shape if found else shape
        raise BadInput(f"tap '{tap.name}' was chosen with maps {tap.shape} and now gives {got}")
    return found.axis


def close(a: Logits, b: Logits, rounding: float = 5e-3) -> bool:
    """Whether two answers are the same but for rounding, by default of half precision at worst."""
    scale = 1 + float(b.abs().max()) if b.numel() else 1.0
    return a.shape == b.shape and float((a - b).abs().max()) <= rounding * scale


class Rest:
    """The rest of a model behind a tap: maps are put in there, and logits come out.

    Where all that the logits know of the input passes through the tap, the modules before it run
    on a single stand-in, once, and answer from memory thereafter; the tap's hook puts in as many
    rows as there are. Whether that holds is seen, not assumed: the maps of ``x`` put in behind
    another input must give the logits of ``x``. Else the model runs on the inputs of the rows,
    which what flows past the tap comes from.

    Args:
        model: in evaluation mode.
        tap: where maps are put in.
        x: the inputs.
        seen: what the model put out for them.
        other: one input of the same size, other than the first of ``x``.
    """

    def __init__(
        self,
        model: nn.Module,
        tap: Tap,
        x: Images,
        seen: TapOutputs,
        other: Float[Tensor, "1 channel height width"],
    ) -> None:
        self.model, self.tap = unwrapped(model), tap
        self._axis = seen.axes[tap.name]
        self._own, self._other = at_home(model, x), at_home(model, other)
        self._rows: Rows | None = None
        self._by = "one"
        """Which inputs run: ``one`` stand-in, ``repeated`` for every row, or the rows' ``own``."""
        # More rows than inputs, so that a model may object.
        alike = self._gives(seen, "one")
        self.cut = alike or self._gives(seen, "repeated")
        """Whether all that the logits know of the input passes through the tap."""
        self._by = "one" if alike else "own"
        if self.cut:
            self._shorten(seen, self._by if alike else "repeated")

    def _shorten(self, seen: TapOutputs, by: str) -> None:
        """Answer what comes before the tap from memory, where that gives the same logits."""
        whole, before = self.model, self._by
        try:
            self.model, self._rows = replayed(whole, self.tap, self._other)
            if self._gives(seen, by):
                return
        except Exception:  # modules that cannot be copied, or know each other: the model as it is
            pass
        self.model, self._rows, self._by = whole, None, before

    def _gives(self, seen: TapOutputs, by: str) -> bool:
        """Whether what was seen at the tap gives the logits that were seen."""
        self._by = by
        rows = torch.arange(len(seen.logits)).repeat(2)
        try:
            found = self(seen.maps[self.tap.name][rows.to(seen.logits.device)], rows)
        except (RuntimeError, ValueError, IndexError, AssertionError):  # whatever a model objects
            return False
        maps = seen.maps[self.tap.name]
        exact = maps.device.type == "cpu" and maps.dtype in (torch.float32, torch.float64)
        return close(found, seen.logits.repeat(2, 1), 1e-4 if exact else 5e-3)

    def __call__(self, maps: Float[Tensor, "row map ..."], rows: Int64[Tensor, " row"]) -> Logits:
        """Logits with ``maps`` in place of what the tap puts out.

        Args:
            maps: as in :class:`TapOutputs`; they are taken over, not copied.
            rows: which of the inputs each row is of.
        """
        put = _Put(maps.movedim(1, self._axis))
        if self._by == "own":
            x = self._own[rows.to(self._own.device)]
        else:
            x = self._other.expand(1 if self._by == "one" else len(maps), -1, -1, -1)
        if self._rows is not None:
            self._rows.count = len(x)
        with hooked(self.model, [self.tap.name], put.put), torch.no_grad():
            return logits_of(self.model(x.clone()), len(maps)).float()


@dataclass(slots=True, eq=False)
class _Put:
    """The hook that puts maps in."""

    maps: Tensor

    def put(self, called: str, output: Any, args: Any) -> Any:
        tensor = main_tensor(output)
        if tensor is None:
            return None
        maps = self.maps.to(tensor.device, tensor.dtype)
        in_place = output is not args and any(tensor is given for given in args)
        if in_place and tensor.shape == maps.shape:
            return swapped(output, tensor, tensor.copy_(maps))  # it works in place: so do we
        return swapped(output, tensor, maps.contiguous())
