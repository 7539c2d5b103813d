"""The definitions behind every measured number, written into the results themselves."""

from __future__ import annotations

from typing import Any, Final

import xarray as xr

from undertow.measuring.among import among_which
from undertow.measuring.meter import Meter
from undertow.types import Trajectory

__all__ = ["CAVEAT", "DEFINITIONS", "attributes", "describe"]

CAVEAT: Final = (
    "Spatial mutual information is a statement about one input: its samples are the positions of "
    "that input's feature maps. It is not Shannon's I(X;T) over a population of inputs."
)

DEFINITIONS: Final = {
    "source_mi": "S[i,j] = I(X_i; t_j) over the positions of the tap's grid, the input channel "
    "area-averaged to it",
    "target_mi": "T[j,m] = I(t_j; E_m) on the coarser of the two grids, E_m = sum_j t_j dy_m/dt_j "
    "at the last spatial tap",
    "net": "raw minus null; never clipped at zero",
    "iip": "mean over maps j of s_j, s_j = mean over channels i of S_net[i,j]",
    "oip": "mean over maps j of t_j, t_j = mean over classes m of T_net[j,m]",
    "oip_shift": "oip_raw less its mean under the shift null: the input's own evidence moved "
    "around the torus, 4 times",
    "flow": "F[m] = mean over maps j of T_net[j,m]; its mean over the classes of oip is oip",
    "drift": "F[rival] - F[true class]; the rival of an adversarial input is the class it is "
    "given, of an input alone the runner-up of its logits",
    "drift_others": "mean of F[m] - F[true class] over the classes m of oip other than the rival: "
    "what drift is towards classes that nobody asked for",
    "turn": "first tap from which drift is positive for good",
    "ioc": "Pearson correlation over maps j of s_j and t_j (raw), less the mean over references r "
    "of that of S[X^(r); t_j] and T[t_j; E^(r)], both from the same r",
    "class_information": "log2 q(m | t(x)) - log2 p(m), q a linear reader of the tap's maps pooled "
    "to 2 x 2, calibrated, mixed with the prior at weight 0.001",
    "takeover": "first tap from which the rival class holds more bits than the true class for good",
    "difference": "root mean square over taps and profiles of the difference from the benign "
    "iterate, each in benign standard deviations",
}

_WORDS: Final = {
    "iip": ("bit", "input information profile"),
    "oip": ("bit", "output information profile"),
    "ioc": ("correlation", "input-output coupling"),
    "oip_shift": ("bit", "output information profile, net of the shift null"),
    "flow": ("bit", "flow towards each class"),
    "drift": ("bit", "drift from the true class towards the rival"),
    "drift_others": ("bit", "drift from the true class towards other classes than the rival"),
    "turn": ("tap", "tap at which the flow turns; -1 where none"),
    "turn_depth": ("1", "its depth; NaN where none"),
    "turn_step": ("step", "first step from which there is such a tap for good; -1 if none"),
    "logits": ("1", "logits"),
    "predicted": ("class", "the model's answer"),
    "rejected": ("1", "whether the model's defence refuses to answer"),
    "label": ("class", "true class"),
    "rival": ("class", "the wrong class compared with the true one"),
    "class_information": ("bit", "class information"),
    "takeover": ("tap", "takeover tap; -1 where none"),
    "takeover_depth": ("1", "depth of the takeover tap; NaN where none"),
    "takeover_step": ("step", "first step from which there is a takeover tap for good; -1 if none"),
    "difference": ("benign s.d.", "overall difference from the benign iterate"),
    "S": ("bit", "source MI"),
    "T": ("bit", "target MI"),
    "depth": ("1", "share of the network's multiply-adds, 0 input, 1 output"),
    "macs": ("multiply-add", "multiply-adds of one input up to and including the tap"),
    "maps": ("1", "number of maps"),
    "spatial": ("1", "whether the tap has positions to take as samples"),
}

_IN_PARTS: Final = ("iip", "oip", "ioc", "flow", "drift", "S", "T")
_OF_THEIR_OWN: Final = ("oip_shift", "drift_others")
"""Variables that look like parts of others and are none."""

_PARTS: Final = {
    "raw": "as estimated",
    "null": "the null",
    "null_std": "standard deviation over the null's replacements",
    "net": "net of the null",
}


def describe(dataset: xr.Dataset) -> xr.Dataset:
    """The same dataset, each variable with its unit and what it is."""
    for name in (*dataset.data_vars, *dataset.coords):
        base, _, part = str(name).partition("_")
        known = _WORDS.get(str(name)) or _WORDS.get(base)
        if known is None:
            continue
        unit, words = known
        if str(name) not in _OF_THEIR_OWN and base in _IN_PARTS:
            words += f", {_PARTS[part or 'net']}"
        elif base == "difference" and part:
            words += f", its share in {part.upper()}"
        dataset[name].attrs.update(units=unit, long_name=words)
    return dataset


def attributes(meter: Meter, trajectory: Trajectory | None, classes: int) -> dict[str, Any]:
    """What was used: definitions, estimator, null, evidence tap, attack."""
    last = [tap.name for tap in meter.taps if tap.spatial][-1]
    found: dict[str, Any] = {
        "estimator": repr(meter.estimator),
        "null": meter.null_name,
        "references": meter.count,
        "evidence_tap": last,
        "classes": "all" if meter.every else among_which(classes),
        "caveat": CAVEAT,
        "missing": "profiles are NaN at taps without spatial extent: they have none there",
        **{f"definition_{name}": text for name, text in DEFINITIONS.items()},
    }
    if trajectory is not None:
        found |= {
            "attack": trajectory.attack,
            "settings": repr(dict(trajectory.settings)),
            "origin": trajectory.origin,
        }
    return found
