"""Choosing taps: by name, by glob, by kind of module, or the output of every block."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import groupby

from torch import Tensor, nn

from undertow.errors import BadInput, of_kind
from undertow.models.asking import plainly
from undertow.taps.hooks import module_name, modules_of
from undertow.taps.outputs import unwrapped
from undertow.taps.trace import Call, Trace, trace
from undertow.types import Images, Tap

__all__ = ["choose", "table"]

KIND = "kind:"
CHAINS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@plainly
def choose(
    model: nn.Module, example: Images, which: Sequence[str] | str | None = None
) -> tuple[Tap, ...]:
    """The taps of a model, in the order in which they are computed.

    ``which`` is one pattern or several:

    - a module's dotted name, ``"layer3.0"``; a module that is called several times has a tap a
      call: ``"relu"`` is its first call, ``"relu#2"`` its second; ``"layer1:in"`` is what a
      function, an activation, puts into a module;
    - a glob over all calls, where ``*`` stays within one part of the name and ``**`` does not:
      ``"layer3.*"``, ``"**.conv?"``;
    - ``"kind:Conv2d"``: modules of that class or of one that inherits from it (globs too);
    - ``None``: the output of every block. A block ends where all that the logits know of the
      input passes through one tensor (found by counting paths in the autograd graph), once per
      stretch of weighted work; of a convolution with its norm and activation the last before
      pooling is taken, also where the activation is a function (then it is what goes into the next
      module), of a residual, dense or attention block its output. The logits themselves
      are no tap, nor is the output of a last block of which only the class token is read. Where a
      norm over the maps follows the last tap, its output is that tap: before it, gradient × maps
      is zero at every position.

    Equal outputs (a Sequential and its last module) are counted once. Multiply-adds are counted
    at the operators (convolutions, matrix products, attention), not at the modules.

    Args:
        model: any module from images to logits, in evaluation mode.
        example: (sample, channel, height, width); the first input is used.
        which: the patterns.

    Raises:
        BadInput: if a pattern matches nothing (names the nearest names), or a named module puts
            out nothing that could be read as maps.
    """
    of_kind(model, nn.Module, "the model", "a torch.nn.Module")
    of_kind(example, Tensor, "the example", "images, (sample, channel, row, col)")
    return tuple(tap for tap, _ in _chosen(model, example, which))


def _chosen(
    model: nn.Module, example: Images, which: Sequence[str] | str | None
) -> list[tuple[Tap, str]]:
    """The taps, each with the reason why it is one."""
    seen = trace(model, example)
    patterns = [which] if isinstance(which, str) else which
    if patterns is not None:
        of_kind(patterns, (list, tuple), "taps", "names or patterns of modules")
        for pattern in patterns:
            of_kind(pattern, str, "a tap", "the name or pattern of modules")
    if patterns is None:
        calls = _blocks(seen)
    else:
        calls = [(call, "asked for") for call in _matching(seen, model, patterns)]
    if not calls:
        raise BadInput("the model has no block to tap; name the modules to read")
    return [(_tap(call, seen), why) for call, why in calls]


@plainly
def table(
    model: nn.Module, example: Images, which: Sequence[str] | str | None = None
) -> list[dict[str, str | float | int]]:
    """One row a tap: its name, kind of module, shape, depth, multiply-adds, and why it is one.

    Args:
        model: any module from images to logits, in evaluation mode.
        example: (sample, channel, height, width); the first input is used.
        which: as for :func:`choose`.

    Returns:
        rows with ``name``, ``kind``, ``shape`` ("map × row × col"), ``depth`` in [0, 1], ``macs``
        (multiply-adds of one input up to and including the tap) and ``why``.
    """
    modules = modules_of(unwrapped(model))
    return [
        {
            "name": tap.name,
            "kind": type(modules[module_name(tap.name)]).__name__,
            "shape": " × ".join(map(str, tap.shape)),
            "depth": tap.depth,
            "macs": tap.macs,
            "why": why,
        }
        for tap, why in _chosen(model, example, which)
    ]


def _tap(call: Call, seen: Trace) -> Tap:
    if call.layout is None:
        raise BadInput(f"the output of '{call.name}' has no maps to read; leave it out")
    return Tap(call.name, call.layout.shape, call.macs / max(seen.macs, 1), call.macs)


# By pattern -------------------------------------------------------------------------------------


def _matching(seen: Trace, model: nn.Module, patterns: Sequence[str]) -> list[Call]:
    if not patterns:
        raise BadInput("no taps asked for; name at least one module, or leave it to the model")
    exact = {name for pattern in patterns for name in [pattern] if not _is_glob(pattern)}
    wanted: set[str] = set()
    for pattern in patterns:
        wanted |= _names(pattern, seen, model)
    chosen = [call for call in seen.calls if call.name in wanted]
    chosen.sort(key=lambda call: call.name not in exact)  # a name given wins over a glob's
    kept = {call.name for call in _distinct(chosen)}
    return [call for call in seen.calls if call.name in kept]


def _is_glob(pattern: str) -> bool:
    return pattern.startswith(KIND) or any(sign in pattern for sign in "*?[")


def _names(pattern: str, seen: Trace, model: nn.Module) -> set[str]:
    if not isinstance(pattern, str):
        raise BadInput(f"a tap is named by a string, got {pattern!r}")
    if pattern.startswith(KIND):
        glob = _regex(pattern.removeprefix(KIND))
        own = [c for c in seen.calls if not c.entry]
        found = {c.name for c in own if any(map(glob.fullmatch, _kinds(c.module)))}
        known: Iterable[str] = (KIND + k for c in seen.calls for k in _kinds(c.module))
    elif _is_glob(pattern):
        glob = _regex(pattern)
        own = [c for c in seen.calls if not c.entry]
        found = {c.name for c in own if glob.fullmatch(c.name.partition("#")[0])}
        found |= {c.name for c in own if glob.fullmatch(c.name)}
        known = (c.name for c in seen.calls)
    else:
        found = {c.name for c in seen.calls if c.name == pattern}
        known = (c.name for c in seen.calls)
        if not found and pattern in modules_of(unwrapped(model)):
            raise BadInput(f"module '{pattern}' puts out no tensor in a forward pass; tap another")
    if not found:
        raise BadInput(f"no module matches '{pattern}'; nearest: {_nearest(pattern, known)}")
    if _is_glob(pattern):
        found = {c.name for c in seen.calls if c.name in found and c.layout is not None}
        if not found:
            raise BadInput(f"no module that matches '{pattern}' puts out maps")
    return found


def _kinds(module: nn.Module) -> list[str]:
    return [kind.__name__ for kind in type(module).__mro__ if issubclass(kind, nn.Module)][:-1]


def _regex(glob: str) -> re.Pattern[str]:
    """A glob over dotted names: ``*`` and ``?`` do not cross a dot, ``**`` does."""
    signs = {"**": ".*", "*": "[^.]*", "?": "[^.]"}
    parts = re.split(r"(\*\*|\*|\?|\[[^\]]+\])", glob)
    return re.compile(
        "".join(
            signs.get(p, p if p.startswith("[") and p.endswith("]") else re.escape(p))
            for p in parts
        )
    )


def _nearest(pattern: str, known: Iterable[str]) -> str:
    names = list(dict.fromkeys(known))
    near = get_close_matches(pattern, names, n=3, cutoff=0.3) or names[:3]
    return ", ".join(near) or "(the model calls no modules)"


def _distinct(calls: Iterable[Call]) -> list[Call]:
    first: dict[object, Call] = {}
    for call in calls:
        first.setdefault(call.same, call)
    return list(first.values())


# The output of every block ----------------------------------------------------------------------


def _blocks(seen: Trace) -> list[tuple[Call, str]]:
    whole = _whole(seen)
    cuts = [
        call
        for call in seen.calls
        if call.cut and call.layout is not None and call.macs and not _inside(call, whole)
    ]
    done = 0
    chosen: list[tuple[Call, str]] = []
    for macs, group in groupby(cuts, key=lambda call: call.macs):
        place = _place(list(group), done, last=macs == seen.macs)
        done = macs
        if place is not None:
            chosen.append(place)
    while len(chosen) > 1 and not chosen[-1][0].read:
        chosen.pop()
    return _weighing(chosen, seen)


def _weighing(chosen: list[tuple[Call, str]], seen: Trace) -> list[tuple[Call, str]]:
    """The same, with a last tap at which maps can be weighed by their slopes.

    Where a norm over the maps comes next they cannot; there its output takes the tap's place, or
    where no module puts that out an earlier tap is the last.
    """
    while len(chosen) > 1 and seen.cancelled(chosen[-1][0]):
        last = chosen.pop()[0]
        after = seen.calls[seen.calls.index(last) + 1 :]
        alike = (c for c in after if c.layout == last.layout and c.read and not c.answer)
        norm = next((c for c in alike if not seen.cancelled(c)), None)
        if norm is not None:
            return [*chosen, (norm, f"{type(norm.module).__name__} behind {last.name}")]
    return chosen


def _place(group: list[Call], done: int, *, last: bool) -> tuple[Call, str] | None:
    """Of calls with the same work behind them, the one that ends the block, and why."""
    if last:
        group = [c for c in group if not c.answer and c.layout and len(c.layout.shape) == 3]
    blocks = [c for c in group if not c.single and not _chain(c) and done <= c.begun < c.macs]
    if blocks:
        return blocks[0], f"output of a block, {type(blocks[0].module).__name__}"
    singles = _distinct([c for c in group if c.single] or group)
    if not singles:
        return None
    spatial = [c.layout.shape for c in singles if c.layout and len(c.layout.shape) == 3]
    shape = spatial[0] if spatial else singles[0].layout.shape  # type: ignore[union-attr]
    alike = [c for c in singles if c.layout and c.layout.shape == shape]
    # A block around nothing but this step is named before the step.
    around = [c for c in group if c.same == alike[-1].same and c.begun >= done and _holds(c)]
    return (around or alike)[-1], _why(alike)


def _holds(call: Call) -> bool:
    """Whether it is of a module with others inside that is more than a chain of them."""
    return not (_chain(call) or call.entry) and any(True for _ in call.module.children())


def _why(alike: Sequence[Call]) -> str:
    """Why the last of these calls is tapped: weighted work, then norm and activation."""
    *before, chosen = alike
    if chosen.entry:
        made = re.sub(r"Backward\d*$", "", chosen.made)
        return f"{made}, a function, behind {before[-1].name}" if before else f"{made}, a function"
    kind = type(chosen.module).__name__
    return f"{kind} behind {before[0].name}" if before else f"output of {kind}"


def _chain(call: Call) -> bool:
    return type(call.module) in CHAINS


def _parents(name: str) -> Iterable[str]:
    parts = module_name(name).split(".")
    return (".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1))


def _whole(seen: Trace) -> set[str]:
    """Modules to take as one block: of a kind in which something flows past an inner module."""
    own = [c for c in seen.calls if not c.entry]
    modules = {c.name.partition("#")[0]: c.module for c in own}
    cuts = {c.name.partition("#")[0] for c in own if c.cut}
    kinds: set[type] = set()
    for call in own:
        if call.single and not call.cut and call.macs > call.begun:
            around = next((name for name in _parents(call.name) if name in cuts), None)
            if around is not None:
                kinds.add(type(modules[around]))
    return {name for name, module in modules.items() if type(module) in kinds and name in cuts}


def _inside(call: Call, whole: set[str]) -> bool:
    return any(parent in whole for parent in _parents(call.name))
