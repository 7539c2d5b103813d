"""The attacks: generators of iterates, and the driver that runs and records them.

``undertow.attacks.FGSM(epsilon=8 / 255)`` is an attack, ``make("fgsm", epsilon=...)`` the same by
name, :func:`undertow.craft` runs it. Public names are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from undertow.registry import Look, Registry

if TYPE_CHECKING:
    from undertow.attacks.adapters.listen import listen as listen
    from undertow.attacks.controls import Noise as Noise
    from undertow.attacks.controls import Spectrum as Spectrum
    from undertow.attacks.controls import Transplant as Transplant
    from undertow.attacks.cw import CW as CW
    from undertow.attacks.cw_l0 import CWL0 as CWL0
    from undertow.attacks.cw_linf import CWLinf as CWLinf
    from undertow.attacks.deepfool import DeepFool as DeepFool
    from undertow.attacks.driver.craft import draws_for as draws_for
    from undertow.attacks.driver.disk import open_trajectory as open_trajectory
    from undertow.attacks.driver.match import Matched as Matched
    from undertow.attacks.driver.match import match as match_strength  # noqa: F401
    from undertow.attacks.driver.match import match_success as match_success
    from undertow.attacks.driver.record import Record as Record
    from undertow.attacks.ensemble import Ensemble as Ensemble
    from undertow.attacks.fgsm import FGSM as FGSM
    from undertow.attacks.igsm import IGSM as IGSM
    from undertow.attacks.jsma import JSMA as JSMA
    from undertow.attacks.opgd import OPGD as OPGD
    from undertow.attacks.parts.settings import make as make
    from undertow.attacks.parts.settings import settings_of as settings_of
    from undertow.attacks.parts.wrappers import BPDA as BPDA
    from undertow.attacks.parts.wrappers import Expectation as Expectation
    from undertow.attacks.pgd import PGD as PGD
    from undertow.types import Attack

ATTACKS: Final[Registry[type[Attack]]] = Registry(
    "attack", check="undertow.attacks.driver.contract:check_kind"
)
ATTACKS.add(
    "fgsm",
    "undertow.attacks.fgsm:FGSM",
    "one step along the gradient's sign (L∞)",
    label="FGSM",
    color="#e69f00",
    marker="square",
)
ATTACKS.add(
    "igsm",
    "undertow.attacks.igsm:IGSM",
    "small steps along the gradient's sign (L∞)",
    label="IGSM",
    color="#d55e00",
    marker="diamond",
)
ATTACKS.add(
    "pgd",
    "undertow.attacks.pgd:PGD",
    "projected gradient from a random start (L∞, L2)",
    label="PGD",
    color="#882255",
    marker="hexagon",
    variants={
        "unaware": Look("PGD, unaware", "#aa7799", "triangle"),
        "aware": Look("PGD, aware", "#aa3377", "star"),
        "adaptive": Look("PGD, adaptive", "#661144", "star"),
    },
)
ATTACKS.add(
    "opgd",
    "undertow.attacks.opgd:OPGD",
    "projected gradient that spends no step on being seen by a detector (L∞)",
    label="Orthogonal PGD",
    color="#117733",
    marker="hexagon",
)
ATTACKS.add(
    "deepfool",
    "undertow.attacks.deepfool:DeepFool",
    "to the nearest linearised border (L2)",
    label="DeepFool",
    color="#009e73",
    marker="triangle",
)
ATTACKS.add(
    "cw",
    "undertow.attacks.cw:CW",
    "Carlini and Wagner, search over the constant (L2)",
    label="C&W",
    color="#cc79a7",
    marker="cross",
    variants={
        "unaware": Look("C&W, unaware", "#ddaacc", "triangle"),
        "aware": Look("C&W, aware", "#bb5588", "star"),
    },
)
ATTACKS.add(
    "cw_l0",
    "undertow.attacks.cw_l0:CWL0",
    "Carlini and Wagner, shrinking set of components (L0)",
    label="C&W L0",
    color="#aa4499",
    marker="down",
)
ATTACKS.add(
    "cw_linf",
    "undertow.attacks.cw_linf:CWLinf",
    "Carlini and Wagner, falling threshold (L∞)",
    label="C&W L∞",
    color="#661100",
    marker="square",
)
ATTACKS.add(
    "jsma",
    "undertow.attacks.jsma:JSMA",
    "pairs of components by saliency (L0)",
    label="JSMA",
    color="#0072b2",
    marker="down",
    variants={
        "adaptive": Look("JSMA, adaptive", "#56b4e9", "star"),
        "softmax": Look("JSMA, softmax", "#332288", "hexagon"),
        "gradient": Look("JSMA, gradient", "#999933", "triangle"),
    },
)
ATTACKS.add(
    "ensemble",
    "undertow.attacks.ensemble:Ensemble",
    "any attack on several models at once",
    color="#44aa99",
    marker="star",
    needs={"models"},
)
ATTACKS.add(
    "noise",
    "undertow.attacks.controls:Noise",
    "control: random noise of a given norm",
    color="#777777",
    marker="circle",
    needs={"norms"},
)
ATTACKS.add(
    "spectrum",
    "undertow.attacks.controls:Spectrum",
    "control: the attack's perturbation with random phases",
    color="#88ccee",
    marker="hexagon",
    needs={"perturbation"},
)
ATTACKS.add(
    "transplant",
    "undertow.attacks.controls:Transplant",
    "control: the attack's perturbation made for another input",
    color="#ddcc77",
    marker="star",
    needs={"perturbation"},
)

_HELPERS: Final = {
    "BPDA": "parts.wrappers", "Expectation": "parts.wrappers", "Matched": "driver.match",
    "Record": "driver.record", "draws_for": "driver.craft", "listen": "adapters.listen",
    "make": "parts.settings", "match_strength": "driver.match:match",
    "match_success": "driver.match",
    "open_trajectory": "driver.disk", "settings_of": "parts.settings",
}  # fmt: skip


def _classes() -> dict[str, str]:
    """The attacks by the names of their classes, those of plugins included."""
    targets = {e.name: e.target for e in ATTACKS.entries()}
    return {
        t.rpartition(":")[2] if isinstance(t, str) else getattr(t, "__name__", name): name
        for name, t in targets.items()
    }


def __getattr__(name: str) -> Any:
    """Public names, imported on first use."""
    if name == "__all__":
        return __dir__()
    value: Any
    if name in _HELPERS:
        module, _, attribute = _HELPERS[name].partition(":")
        value = getattr(import_module(f"undertow.attacks.{module}"), attribute or name)
    elif not name.startswith("_") and name in (classes := _classes()):
        value = ATTACKS[classes[name]]
    else:
        raise AttributeError(f"module 'undertow.attacks' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(["ATTACKS", *_HELPERS, *_classes()])
