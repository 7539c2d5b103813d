"""Stand-ins for what adv-lib imports but its attacks never use, where it is not installed."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

__all__ = ["install"]


def install() -> None:
    """Let ``import adv_lib.attacks`` pass without torchvision and visdom."""
    for name in ("torchvision", "visdom"):
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            sys.modules[name] = ModuleType(name)
    torchvision = sys.modules.get("torchvision")
    if torchvision is not None and not hasattr(torchvision, "models"):
        torchvision.models = ModuleType("torchvision.models")
