"""Measured arrays as a labelled dataset, and what follows from labels: rivals and takeover."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Int64
from torch import Tensor

from undertow.axes import PROFILES
from undertow.errors import BadInput
from undertow.information.profiles import differences, drift, drift_others, turn
from undertow.information.readers import rival_of, takeover, takeover_depth, takeover_step
from undertow.measuring.among import drawn_classes
from undertow.measuring.meter import PARTS, Measured, Meter
from undertow.types import Trajectory

__all__ = ["labelled", "with_classes", "with_difference"]


def labelled(meter: Meter, found: Measured, row: str, keep: tuple[int, ...]) -> xr.Dataset:
    """Profiles, logits, class information and kept matrices of a batch, with their coordinates."""
    taps = meter.taps
    dims = (row, "tap", "class")
    variables: dict[str, Any] = {n: (dims[: v.ndim], v) for n, v in found.profiles.items()}
    variables["logits"] = ((row, "class"), found.logits)
    variables["predicted"] = (row, found.logits.argmax(1).astype(np.int64))
    if found.class_information is not None:
        variables["class_information"] = ((row, "tap", "class"), found.class_information)
    coords: dict[str, Any] = {
        row: np.arange(len(found.logits)),
        "tap": [tap.name for tap in taps],
        "class": np.arange(found.logits.shape[1]),
        "depth": ("tap", np.array([tap.depth for tap in taps])),
        "macs": ("tap", np.array([tap.macs for tap in taps])),
        "maps": ("tap", np.array([tap.shape[0] for tap in taps])),
        "spatial": ("tap", np.array([tap.spatial for tap in taps])),
    }
    if keep:
        coords["kept"] = np.array(keep)
        variables |= _matrices(found, len(taps))
    return xr.Dataset(variables, coords)


def _matrices(found: Measured, taps: int) -> dict[str, Any]:
    """S and T of all taps in one array each, NaN beyond a tap's own maps."""
    widest = max(both.S.raw.shape[2] for both in found.kept.values())
    arrays: dict[str, Any] = {}
    for part in ("raw", "null", "null_std", "net"):
        for name, dims in (("S", ("channel", "map")), ("T", ("map", "class"))):
            for number, both in found.kept.items():
                values = getattr(getattr(both, name), part).cpu().numpy()
                sizes = [
                    widest if d == "map" else s for d, s in zip(dims, values.shape[1:], strict=True)
                ]
                shape = (len(values), taps, *sizes)
                whole = arrays.setdefault(
                    f"{name}_{part}",
                    (("kept", "tap", *dims), np.full(shape, np.nan, np.float32)),
                )[1]
                whole[:, number, : values.shape[1], : values.shape[2]] = values
    return arrays


def with_classes(
    dataset: xr.Dataset, row: str, trajectory: Trajectory | None, y: Int64[Tensor, " _"] | None
) -> xr.Dataset:
    """Labels and rivals; drift, and where it turns; where the rival takes over from the true class.

    Where no labels are known, drift goes from the model's answer to its runner-up.

    Raises:
        BadInput: for labels that do not fit.
    """
    rows, classes = dataset.sizes[row], dataset.sizes["class"]
    logits = torch.from_numpy(dataset["logits"].values)
    if trajectory is not None:
        label = trajectory.label.cpu()
        rival = rival_of(trajectory.end_logits.cpu().float(), label)[trajectory.sample.cpu()]
        label = label[trajectory.sample.cpu()]
    elif y is not None:
        label = y.cpu().long()
        if label.shape != (rows,) or int(label.min()) < 0 or int(label.max()) >= classes:
            raise BadInput(
                f"labels are {rows} numbers from 0 to {classes - 1}, got {y.tolist()[:8]}"
            )
        rival = rival_of(logits, label)
    else:
        label = logits.argmax(1)
        rival = rival_of(logits, label)
    labelled = trajectory is not None or y is not None
    if labelled:
        dataset = dataset.assign(label=(row, label.numpy()))
    dataset = _with_drift(dataset, row, trajectory, label, rival)
    dataset = dataset.assign_attrs(drift_from="label" if labelled else "answer")
    if "class_information" not in dataset or not labelled:
        return dataset
    bits = torch.from_numpy(dataset["class_information"].values)
    return _with_turn(dataset, row, trajectory, takeover(bits, label, rival), "takeover")


def _with_drift(
    dataset: xr.Dataset, row: str, trajectory: Trajectory | None, label: Tensor, rival: Tensor
) -> xr.Dataset:
    found = {
        f"drift{suffix}": drift(torch.from_numpy(dataset[f"flow{suffix}"].values), label, rival)
        for suffix in PARTS
    }
    flow = torch.from_numpy(dataset["flow"].values)
    found["drift_others"] = drift_others(
        flow, label, rival, among=drawn_classes(dataset.sizes["class"])
    )
    dataset = dataset.assign({n: ((row, "tap"), v.numpy()) for n, v in found.items()})
    dataset = dataset.assign(rival=(row, rival.numpy()))
    return _with_turn(dataset, row, trajectory, turn(found["drift"]), "turn")


def _with_turn(
    dataset: xr.Dataset, row: str, trajectory: Trajectory | None, taken: Tensor, name: str
) -> xr.Dataset:
    """A tap from which something holds for good, its depth, and the step that first has one."""
    depth = takeover_depth(taken, torch.from_numpy(dataset["depth"].values).float())
    dataset = dataset.assign({name: (row, taken.numpy()), f"{name}_depth": (row, depth.numpy())})
    if trajectory is None:
        return dataset
    steps = torch.full((len(taken),), -1)
    for sample in range(len(trajectory)):
        records = trajectory.records(sample).cpu()
        steps[records] = takeover_step(taken[records], trajectory.step.cpu()[records])
    return dataset.assign({f"{name}_step": (row, steps.numpy())})


def with_difference(dataset: xr.Dataset, benign_std: Mapping[str, Any] | xr.Dataset) -> xr.Dataset:
    """The overall difference of every iterate from its sample's benign one (step 0).

    Raises:
        BadInput: if a profile's standard deviation is missing or has another number of taps.
    """
    missing = [profile for profile in PROFILES if profile not in benign_std]
    if missing:
        raise BadInput(f"benign_std lacks {', '.join(missing)} (needed: {', '.join(PROFILES)})")
    first = np.searchsorted(dataset["sample"].values, dataset["sample"].values)
    profiles = {p: dataset[p].values for p in PROFILES}
    unit = {p: np.asarray(benign_std[p], dtype=float) for p in PROFILES}
    for profile, values in profiles.items():
        if unit[profile].shape != values.shape[1:]:
            raise BadInput(
                f"benign_std['{profile}'] is {unit[profile].shape}, one a tap is {values.shape[1:]}"
            )
    parts, whole = differences(profiles, {p: v[first] for p, v in profiles.items()}, unit)
    named: dict[str, Any] = {f"difference_{profile}": ("record", v) for profile, v in parts.items()}
    return dataset.assign(named | {"difference": ("record", whole)})
