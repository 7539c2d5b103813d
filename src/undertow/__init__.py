"""Undertow: how information flows through a network, and how an attack bends it.

The public names are imported on first use, so ``import undertow`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_PUBLIC = {
    "attacks": "undertow.attacks",
    "carriers": "undertow.measuring.carriers.labelled:carriers",
    "craft": "undertow.attacks.driver.craft:craft",
    "explain": "undertow.studies.explain:explain",
    "figures": "undertow.figures",
    "Record": "undertow.attacks.driver.craft:Record",
    "load_data": "undertow.data:load_data",
    "load_model": "undertow.models:load_model",
    "measure": "undertow.measuring.measure:measure",
    "open_run": "undertow.store:open_run",
    "study": "undertow.studies.run:study",
    "trace": "undertow.studies.trace:trace",
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604

if TYPE_CHECKING:
    from undertow import attacks as attacks
    from undertow import figures as figures
    from undertow.attacks.driver.craft import Record as Record
    from undertow.attacks.driver.craft import craft as craft
    from undertow.data import load_data as load_data
    from undertow.measuring.carriers.labelled import carriers as carriers
    from undertow.measuring.measure import measure as measure
    from undertow.models import load_model as load_model
    from undertow.store import open_run as open_run
    from undertow.studies.explain import explain as explain
    from undertow.studies.run import study as study
    from undertow.studies.trace import trace as trace


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'undertow' has no attribute '{name}'")
    module, _, attribute = _PUBLIC[name].partition(":")
    found = import_module(module)
    value = getattr(found, attribute) if attribute else found
    if not attribute or attribute != module.rpartition(".")[2]:
        globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
