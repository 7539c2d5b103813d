"""What every report says: how things were measured, and what they do not mean."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from undertow.registry import registry
from undertow.store import Number

__all__ = ["CAVEATS", "DEFINITIONS", "caveats", "interval", "say", "settings"]

DEFINITIONS: Final = (
    (
        "Source MI, S",
        "Mutual information between an input channel and a feature map of one input, the positions "
        "of the map's "
        "grid being the samples: S[i, j] = I(Xᵢ ; tⱼ), in bits.",
    ),
    (
        "Target MI, T",
        "Mutual information between a feature map and the evidence map of a class: T[j, m] = I(tⱼ "
        "; Eₘ), in bits. The "
        "evidence map of class m is Eₘ(u) = Σⱼ tⱼ(u) · ∂yₘ/∂tⱼ(u) on the last spatial tap.",
    ),
    (
        "Null and net",
        "Two unrelated maps share some information by chance and by smoothness. So the same "
        "estimate is made "
        "against other benign inputs (the mismatch null) and taken off: net = raw − null. Net "
        "values are never clipped at zero.",
    ),
    (
        "IIP, input information profile",
        "At each tap, the mean over feature maps of net source MI: how much of what the maps hold "
        "is told by the "
        "input's intensity.",
    ),
    (
        "OIP, output information profile",
        "At each tap, the mean over feature maps of net target MI: how much the maps tell of the "
        "evidence for the classes.",
    ),
    (
        "IOC, input-output coupling",
        "At each tap, the correlation over feature maps of the two: do the maps that read the "
        "input also feed the output?",
    ),
    (
        "Overall difference",
        "Root mean square of the difference between two inputs' profiles over all taps, each tap "
        "in units of the benign inputs' standard deviation.",
    ),
    (
        "Class information",
        "What a linear reader of a tap knows of each class: log₂ q(m | tap) − log₂ p(m), pointwise "
        "V-information in "
        "bits. The takeover tap is the first from which the adversarial class holds more than the "
        "true one for good.",
    ),
    (
        "Carriers",
        "At a tap, the maps that a ranking names first are put back to their benign values and the "
        "network runs on: the restoration curve is the share of inputs whose true label returns, "
        "against their number, beside random maps (as many, and as many as changed as much). "
        "Integrated attribution ranks by (t′ − t)·∫∂(y_rival − y_true)/∂t dα along the way from "
        "the benign to the attacked input. Implanting puts the same maps into the benign run.",
    ),
    (
        "Controls",
        "Every attack is compared, input by input and at its own L2 norm, with random signs "
        "(noise), with its own perturbation whose phases are drawn anew (spectrum), and with the "
        "perturbation that it made for another input (transplant). The transplant decides: what "
        "it does too is not due to this attack on this input.",
    ),
    (
        "Verdicts",
        "From comparisons paired by input, attack against transplant. Supported: the interval "
        "lies beyond the smallest effect that matters (d_z 0.2; 0.8 for drastically). "
        "Contradicted: it lies on the other side of zero or, of what is said to exist, inside "
        "that smallest effect at every tap. All else is inconclusive. How often each rule errs is "
        "simulated by undertow calibrate --part verdicts.",
    ),
)

CAVEATS: Final = (
    "Spatial mutual information is a statement about one input: how far, across the positions of "
    "this image, a map's "
    "activation is told by a channel's intensity. It is not Shannon's I(X; T) over a population of "
    "inputs.",
    "Neighbouring positions are not independent samples. The mismatch null keeps that smoothness "
    "and takes its share off, on average; "
    "a single net value can be below zero, and that means nothing was found.",
    "The Gaussian copula sees monotone dependence only. A verdict has to hold under the binned "
    "estimator as well, or it is "
    "called inconclusive.",
    "Class information is what a linear reader finds, not all that a tap holds: later layers can "
    "use what it cannot read.",
    "Taps without spatial extent have no source or target MI; there the profiles are missing, not "
    "zero.",
)

_TOPICS: Final = ("Shannon's", "monotone dependence")
"""What the answers of a run may warn of in words of their own."""


def caveats(told: Iterable[str]) -> list[str]:
    """The caveats of its answers, then those of every report; each warning once.

    Args:
        told: the caveats that the answers bring along.
    """
    told = list(told)
    again = [t for t in _TOPICS if any(t in sentence for sentence in told)]
    return [*told, *(c for c in CAVEATS if not any(t in c for t in again))]


def _told(kind: str, name: object) -> str:
    """An entry's label and summary; of one that is not here, what the run kept of it."""
    entries = registry(kind)
    if str(name) in entries:
        entry = entries.entry(str(name))
        return f"{entry.label}: {entry.summary}"
    look = entries.look(str(name))
    return (look and look.label) or str(name)


def _find(key: str, *places: Mapping[str, Any]) -> Any:
    """The first value of a key, looked for one level down as well."""
    for place in places:
        if key in place:
            return place[key]
        for inner in place.values():
            if isinstance(inner, Mapping) and key in inner:
                return inner[key]
    return None


def settings(
    spec: Mapping[str, Any], manifest: Mapping[str, Any], plugins: Iterable[str] = ()
) -> tuple[tuple[str, str], ...]:
    """How this run was measured: estimator, null, references, seed, as far as it says.

    Args:
        spec: what was asked.
        manifest: what the run says of itself.
        plugins: each in words.
    """
    estimator, null = (_find(k, spec, manifest) for k in ("estimator", "null"))
    told = (
        ("Estimator", estimator and _told("estimator", estimator)),
        ("Null", null and _told("null", null)),
        ("Reference inputs of the null", _find("references", spec, manifest)),
        ("Seed", _find("seed", spec, manifest)),
        ("Plugins", "; ".join(plugins)),
    )
    return tuple((name, str(value)) for name, value in told if value not in (None, {}, []))


def say(value: object) -> str:
    """A value as a table shows it: three significant digits, a dash where there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
            return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e").replace("-", "−")
        text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")
        return text.replace("-", "−")
    return str(value)


def interval(number: Number) -> str:
    """The interval of a number, or a dash."""
    if number.low is None or number.high is None:
        return "–"
    return f"{say(number.low)} … {say(number.high)}"
