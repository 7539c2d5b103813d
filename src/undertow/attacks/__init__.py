"""The attacks: generators of iterates, and the driver that runs and records them.

``undertow.attacks.FGSM(epsilon=8 / 255)`` is an attack, ``make("fgsm", epsilon=...)`` the same by
name, :func:`undertow.craft` runs it. Public names are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from undertow.registry import Registry

if TYPE_CHECKING:
    from undertow.attacks.adapters.listen import listen as listen
    from undertow.attacks.cw import CW as CW
    from undertow.attacks.cw_l0 import CWL0 as CWL0
    from undertow.attacks.cw_linf import CWLinf as CWLinf
    from undertow.attacks.deepfool import DeepFool as DeepFool
    from undertow.attacks.driver.craft import draws_for as draws_for
    from undertow.attacks.driver.disk import open_trajectory as open_trajectory
    from undertow.attacks.driver.match import Matched as Matched
    from undertow.attacks.driver.match import match as match_strength
    from undertow.attacks.driver.record import Record as Record
    from undertow.attacks.ensemble import Ensemble as Ensemble
    from undertow.attacks.fgsm import FGSM as FGSM
    from undertow.attacks.igsm import IGSM as IGSM
    from undertow.attacks.jsma import JSMA as JSMA
    from undertow.attacks.noise import Noise as Noise
    from undertow.attacks.parts.settings import make as make
    from undertow.attacks.parts.settings import settings_of as settings_of
    from undertow.attacks.parts.wrappers import BPDA as BPDA
    from undertow.attacks.parts.wrappers import Expectation as Expectation
    from undertow.attacks.pgd import PGD as PGD
    from undertow.types import Attack

ATTACKS: Final[Registry[type[Attack]]] = Registry("attack")
ATTACKS.add("fgsm", "undertow.attacks.fgsm:FGSM", "one step along the gradient's sign (L∞)")
ATTACKS.add("igsm", "undertow.attacks.igsm:IGSM", "small steps along the gradient's sign (L∞)")
ATTACKS.add("pgd", "undertow.attacks.pgd:PGD", "projected gradient from a random start (L∞, L2)")
ATTACKS.add(
    "deepfool", "undertow.attacks.deepfool:DeepFool", "to the nearest linearised border (L2)"
)
ATTACKS.add("cw", "undertow.attacks.cw:CW", "Carlini and Wagner, search over the constant (L2)")
ATTACKS.add(
    "cw_l0", "undertow.attacks.cw_l0:CWL0", "Carlini and Wagner, shrinking set of components (L0)"
)
ATTACKS.add(
    "cw_linf", "undertow.attacks.cw_linf:CWLinf", "Carlini and Wagner, falling threshold (L∞)"
)
ATTACKS.add("jsma", "undertow.attacks.jsma:JSMA", "pairs of components by saliency (L0)")
ATTACKS.add(
    "ensemble", "undertow.attacks.ensemble:Ensemble", "any attack on several models at once"
)
ATTACKS.add("noise", "undertow.attacks.noise:Noise", "control: random noise of a given norm")

_PUBLIC: Final = {
    "BPDA": "parts.wrappers", "CW": "cw", "CWL0": "cw_l0", "CWLinf": "cw_linf",
    "DeepFool": "deepfool", "Ensemble": "ensemble", "Expectation": "parts.wrappers",
    "FGSM": "fgsm", "IGSM": "igsm", "JSMA": "jsma", "Matched": "driver.match", "Noise": "noise",
    "PGD": "pgd", "Record": "driver.record", "draws_for": "driver.craft", "listen": "adapters",
    "make": "parts.settings", "match_strength": "driver.match:match",
    "open_trajectory": "driver.disk", "settings_of": "parts.settings",
}  # fmt: skip

__all__ = [
    "ATTACKS",
    "BPDA",
    "CW",
    "CWL0",
    "FGSM",
    "IGSM",
    "JSMA",
    "PGD",
    "CWLinf",
    "DeepFool",
    "Ensemble",
    "Expectation",
    "Matched",
    "Noise",
    "Record",
    "draws_for",
    "listen",
    "make",
    "match_strength",
    "open_trajectory",
    "settings_of",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'undertow.attacks' has no attribute '{name}'")
    module, _, attribute = _PUBLIC[name].partition(":")
    value = getattr(import_module(f"undertow.attacks.{module}"), attribute or name)
    globals()[name] = value
    return value
