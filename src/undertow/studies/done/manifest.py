"""What a run says of itself: versions, hashes, hardware. Enough to do it again."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import nn

from undertow.data import ImageSet
from undertow.models import fingerprint
from undertow.models.devices import processor
from undertow.registry import plugin_hashes
from undertow.studies.asked.spec import StudySpec

__all__ = ["hardware", "manifest_of", "versions"]

PACKAGES = ("undertow", "torch", "numpy", "scipy", "scikit-learn", "xarray", "zarr", "numba")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def hardware(device: str) -> dict[str, Any]:
    """What computes: processor, threads, and the accelerator where there is one."""
    found: dict[str, Any] = {
        "device": device,
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if device.startswith("cuda"):
        found["accelerator"] = torch.cuda.get_device_name(torch.device(device))
    return found


def manifest_of(
    spec: StudySpec,
    data: ImageSet,
    train: ImageSet,
    models: Mapping[str, nn.Module],
    device: str,
    plugins: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """The manifest of a new run; ``hashes`` must stay the same when it is resumed."""
    hashes: dict[str, Any] = {
        "data": {data.split: data.fingerprint, train.split: train.fingerprint},
        "weights": {name: fingerprint(model) for name, model in models.items()},
    }
    if spec.plugins:
        hashes["plugins"] = plugin_hashes(spec.plugins)
    return {
        "seed": spec.seed,
        "classes": list(data.classes),
        "versions": versions(),
        "hardware": hardware(device),
        "hashes": hashes,
        **({"plugins": [dict(p) for p in plugins]} if plugins else {}),
    }
