"""Hooks on the modules that taps name, put on for one pass.

A tap's name is a module's dotted name, ``layer1.0``; ``relu#2`` is the second call of a module,
and ``layer1:in`` what goes into one, for what no module puts out (an activation that is a
function). Wrappers that only stand around a network, ours and those of ``torch.compile``, are no
part of names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from torch import nn

from undertow.errors import BadInput
from undertow.models.asking import COMPILED, Around, uncompiled

__all__ = ["ENTRY", "Catch", "call_name", "hooked", "module_name", "modules_of"]

ENTRY: Final = ":in"
Catch: TypeAlias = Callable[[str, Any, Any], Any]
"""Called with the call's name, the value there, and what went in; what it returns takes the
value's place, or nothing does."""


def call_name(name: str, number: int) -> str:
    """The name of the ``number``-th call of a module (1 is the module's own name)."""
    return name if number == 1 else f"{name}#{number}"


def module_name(name: str) -> str:
    """The module that a tap is at."""
    return name.partition("#")[0].removesuffix(ENTRY)


def modules_of(model: nn.Module) -> dict[str, nn.Module]:
    """The modules by the names that taps have."""
    inner = model
    while isinstance(inner, Around):
        inner = inner.network
    found: dict[str, nn.Module] = {}
    for name, module in inner.named_modules():
        parts = [part for part in name.split(".") if part != COMPILED]
        if parts and parts != [""] and not hasattr(module, COMPILED):
            found[".".join(parts)] = module
    return found


@dataclass(slots=True, eq=False)
class _Hook:
    """Counts the calls of one module and hands on those that are wanted."""

    base: str
    wanted: frozenset[str]
    catch: Catch
    calls: int = 0

    def after(self, module: nn.Module, args: Any, output: Any) -> Any:
        return self._seen(output, args)

    def before(self, module: nn.Module, args: Any) -> Any:
        return self._seen(args, args)

    def _seen(self, value: Any, args: Any) -> Any:
        self.calls += 1
        called = call_name(self.base, self.calls)
        return self.catch(called, value, args) if called in self.wanted else None


@contextmanager
def hooked(model: nn.Module, wanted: Iterable[str], catch: Catch) -> Iterator[None]:
    """While it is open, ``catch`` sees what passes at the taps of these names.

    Nothing is left behind in the model, also after an error or Ctrl-C.

    Raises:
        BadInput: if the model has no such module.
    """
    names = frozenset(wanted)
    modules = modules_of(model)
    with ExitStack() as stack:
        stack.enter_context(uncompiled(model))
        for base in dict.fromkeys(name.partition("#")[0] for name in sorted(names)):
            module = modules.get(module_name(base))
            if module is None:
                raise BadInput(
                    f"the model has no module '{module_name(base)}'; choose its taps anew"
                )
            hook = _Hook(base, names, catch)
            stack.callback(
                module.register_forward_pre_hook(hook.before).remove
                if base.endswith(ENTRY)
                else module.register_forward_hook(hook.after).remove
            )
        yield
