"""Reading: one forward pass, the maps of every tap, and the logits' slopes at the last of them.

Hooks are put on for one pass and always come off. The trunk runs without a graph; from the last
spatial tap on a graph is kept, so that the gradients cost a pass through the head alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from undertow.errors import BadInput
from undertow.models.asking import plainly
from undertow.taps.class_tokens import Few, Learn, Plan
from undertow.taps.head import slopes
from undertow.taps.hooks import hooked
from undertow.taps.layout import Layout, layout
from undertow.taps.outputs import (
    at_home,
    evaluating,
    logits_of,
    main_tensor,
    swapped,
    unwrapped,
)
from undertow.types import Images, Logits, Tap

__all__ = ["Contract", "Pick", "Reading", "read"]

Contract: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""What to make of the maps (sample map row col) and gradients (class sample map row col) of some
classes, class being axis 1 of the result: (sample class ...)."""

Pick: TypeAlias = Callable[[Tensor], Tensor | None]
"""Which logits of each sample are differentiated: (sample, class) numbers from their values, or
``None`` for all of them."""

_Place: TypeAlias = tuple[str, int, int]
"""A tap, how many tokens it has, and how many of them are no positions."""

_overwritten: WeakKeyDictionary[nn.Module, set[str]] = WeakKeyDictionary()
"""Taps whose output a later in-place module was once seen to overwrite: they are copied."""

_plans: WeakKeyDictionary[nn.Module, dict[_Place, Plan | None]] = WeakKeyDictionary()
"""What needs the class token alone behind a tap; ``None`` where all is computed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """What one forward pass showed.

    Args:
        inputs: as they were given.
        logits: (sample, class), float32.
        maps: per tap (sample, map, row, col), or (sample, map) without spatial extent; float32.
        gradients: of every logit with respect to the maps of ``evidence_tap``; ``None`` unless
            asked for. Where the head is average pooling and a linear layer it is an expanded view
            that takes no memory.
        contracted: what ``contract`` made of maps and gradients of all classes, or of ``picked``.
        evidence_tap: the last spatial tap, at which the gradients are taken.
        picked: of which classes gradients were taken, (sample, class); ``None`` for all.
    """

    inputs: Images
    logits: Logits
    maps: dict[str, Float[Tensor, "sample ..."]] = field(repr=False)
    gradients: Float[Tensor, "class sample map row col"] | None = field(default=None, repr=False)
    contracted: Float[Tensor, "sample part ..."] | None = field(default=None, repr=False)
    evidence_tap: str | None = None
    picked: Int64[Tensor, "sample part"] | None = None


@plainly
def read(
    model: nn.Module,
    x: Images,
    taps: Sequence[Tap],
    *,
    gradients: bool = False,
    contract: Contract | None = None,
    pick: Pick | None = None,
) -> Reading:
    """Read the maps of every tap in one forward pass.

    Token sequences become maps on their grid, class tokens set aside. A tap that a later in-place
    module overwrites is copied (noticed by its version counter; the first time that happens the
    pass is run again). Nothing is left behind in the model, also after an error or Ctrl-C.

    Args:
        model: the module that ``taps`` were chosen for, in evaluation mode.
        x: (sample, channel, height, width), on any device; it is brought to the model's device
            and floating-point type.
        taps: from :func:`undertow.taps.choose`.
        gradients: keep the gradients of all logits at the last spatial tap: class × map × row ×
            col numbers a sample.
        contract: reduce the gradients a few classes at a time instead of keeping them.
        pick: of which classes; only asked where all of them are not had in one product.

    Raises:
        BadInput: if the model is in training mode, a tap is missing, gives another shape than
            when it was chosen, or the logits do not depend on its positions.
    """
    evaluating(model, x)
    model = unwrapped(model)
    if not taps:
        raise BadInput("no taps to read; choose some with undertow.taps.choose(model, example)")
    wants = gradients or contract is not None
    last = next((tap.name for tap in reversed(taps) if tap.spatial), None) if wants else None
    if wants and last is None:
        raise BadInput("no spatial tap to take gradients at; all taps are dense layers")
    view = at_home(model, x)
    caught = _pass(model, view, taps, last)
    overwritten = caught.overwritten()
    if overwritten:
        _overwritten.setdefault(model, set()).update(overwritten)
        caught = _pass(model, view, taps, last)
    if caught.shortcut is not None:
        caught = _shortened(model, view, taps, caught)
    return _reading(caught, x, taps, model, gradients=gradients, contract=contract, pick=pick)


def _reading(
    caught: _Caught,
    x: Images,
    taps: Sequence[Tap],
    model: nn.Module,
    *,
    gradients: bool,
    contract: Contract | None,
    pick: Pick | None,
) -> Reading:
    image = (x.shape[2], x.shape[3])
    layouts = {tap.name: _checked(tap, caught, image, len(x)) for tap in taps}
    maps = {n: found.view(caught.outputs[n].detach()).float() for n, found in layouts.items()}
    kept = contracted = picked = None
    if caught.last is not None:
        kept, contracted, picked = slopes(
            model,
            caught.outputs[caught.last],
            caught.logits,
            layouts[caught.last],
            contract,
            keep=gradients,
            tap=caught.last,
            pick=pick,
        )
    return Reading(
        inputs=x,
        logits=caught.logits.detach().float(),
        maps=maps,
        gradients=kept,
        contracted=contracted,
        evidence_tap=caught.last,
        picked=picked,
    )


def _checked(tap: Tap, caught: _Caught, image: tuple[int, int], samples: int) -> Layout:
    if tap.name not in caught.outputs:
        raise BadInput(f"tap '{tap.name}' gave nothing; was it chosen for this model?")
    shape = tuple(caught.outputs[tap.name].shape)
    found = layout(shape, image, sequence=1 in tap.shape[1:])
    if found is None or shape[0] != samples or found.shape != tap.shape:
        got = found.shape if found else shape
        raise BadInput(f"tap '{tap.name}' was chosen with maps {tap.shape} and now gives {got}")
    return found


@dataclass(slots=True, eq=False)
class _Caught:
    """Outputs as the hooks caught them, and their version when they did."""

    last: str | None
    logits: Tensor
    wanted: set[str]
    copied: set[str]
    image: tuple[int, int]
    plans: dict[_Place, Plan | None]
    until: ExitStack
    outputs: dict[str, Tensor] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    shortcut: Learn | Few | None = None
    place: _Place | None = None

    def catch(self, called: str, output: Any, args: Any) -> Any:
        """What is done where a tap is; what it returns takes the output's place."""
        tensor = main_tensor(output)
        if tensor is None:
            return None
        result = None
        if called == self.last:
            torch.set_grad_enabled(True)  # from here on; the pass around us restores it
            leaf = tensor.detach().requires_grad_()
            result, tensor = swapped(output, tensor, leaf.clone()), leaf
            self._shorten(leaf)
        elif called in self.copied:
            tensor = tensor.clone()
        self.outputs[called] = tensor
        self.versions[called] = tensor._version
        return result

    def _shorten(self, leaf: Tensor) -> None:
        """From here on, compute of a class token's block only what is read of it."""
        found = layout(tuple(leaf.shape), self.image)
        if self.last is None or found is None or not found.prefix:
            return
        rows, lead = leaf.shape[1], found.prefix
        self.place = (self.last, rows, lead)
        plan = self.plans.get(self.place)
        if plan is not None:
            self.shortcut = Few(rows, lead, plan)
        elif self.place not in self.plans:
            self.shortcut = Learn(rows, lead)
        if self.shortcut is not None:
            self.until.enter_context(self.shortcut)

    def overwritten(self) -> set[str]:
        return {n for n, tensor in self.outputs.items() if tensor._version != self.versions[n]}


def _pass(model: nn.Module, x: Tensor, taps: Sequence[Tap], last: str | None) -> _Caught:
    with ExitStack() as until:
        caught = _Caught(
            last,
            x,
            {tap.name for tap in taps},
            _overwritten.get(model, set()),
            (x.shape[2], x.shape[3]),
            _plans.setdefault(model, {}),
            until,
        )
        with hooked(model, caught.wanted, caught.catch), torch.no_grad():
            caught.logits = logits_of(model(x), len(x))
    return caught


def _shortened(model: nn.Module, x: Tensor, taps: Sequence[Tap], caught: _Caught) -> _Caught:
    """The pass with nothing computed behind the last tap that is not read, once that is known.

    What was learnt is used only if logits and slopes are the model's own on this very batch; and a
    pass that takes another way than the one learnt from is made again in full.
    """
    way, place, last = caught.shortcut, caught.place, caught.last
    if place is None or last is None or (isinstance(way, Few) and way.followed()):
        return caught
    plans = caught.plans
    plans[place] = None
    if isinstance(way, Learn) and caught.logits.requires_grad:
        plan = way.plan(caught.logits, caught.outputs[last])
        if plan.few:
            plans[place] = plan
            try:
                shorter = _pass(model, x, taps, last)
            except (RuntimeError, TypeError, ValueError, IndexError):
                plans[place] = None
            else:
                if way.agrees(shorter.logits, shorter.outputs[last]):
                    return shorter
                plans[place] = None
        return caught
    return _pass(model, x, taps, last)
