"""What this installation has and lacks, one line a thing."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Final, Literal

__all__ = ["Finding", "findings"]

NEEDED: Final = ("torch", "numpy", "scipy", "scikit-learn", "numba", "xarray", "zarr", "plotly")
EXTRAS: Final = {
    "viewer": ("dash", "waitress"),
    "cluster": ("distributed",),
    "export": ("pyarrow", "h5netcdf", "h5py"),
    "attacks": ("foolbox", "art"),
    "timm": ("timm",),
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow",),
    "wandb": ("wandb",),
}
"""What each extra brings, by the names that are imported."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for.

    Args:
        what: the thing.
        state: ``ok``; ``missing``: nothing works without it; ``absent``: something does not.
        found: version, place or number.
        get: how to get it, where it is not here.
    """

    what: str
    state: Literal["ok", "missing", "absent"]
    found: str
    get: str = ""

    def row(self) -> dict[str, str]:
        """As a row of a table."""
        return {"what": self.what, "state": self.state, "found": self.found, "get": self.get}


def findings() -> list[Finding]:
    """Everything that is looked for, in the order in which it is told."""
    return [*_versions(), *_device(), *_files(), *_weights(), *_extras(), _browser()]


def _versions() -> Iterator[Finding]:
    from undertow import __version__

    yield Finding("undertow", "ok", __version__)
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")
    for name in NEEDED:
        try:
            yield Finding(name, "ok", version(name))
        except PackageNotFoundError:
            yield Finding(name, "missing", "", f"pip install {name}")


def _device() -> Iterator[Finding]:
    if find_spec("torch") is None:
        return
    import torch

    cores = os.cpu_count() or 1
    yield Finding("processor", "ok", f"{torch.get_num_threads()} threads on {cores} cores")
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            yield Finding(f"cuda:{number}", "ok", torch.cuda.get_device_name(number))
    else:
        yield Finding(
            "cuda", "absent", "no device", "runs on the processor; --device cuda needs one"
        )


def _files() -> Iterator[Finding]:
    from undertow.data import cache_dir, listing

    cache = cache_dir()
    there = next(place for place in (cache, *cache.parents) if place.exists())
    if os.access(there, os.W_OK):
        free = shutil.disk_usage(there).free // 2**30
        yield Finding("cache", "ok", f"{cache}, {free} GiB free")
    else:
        yield Finding("cache", "missing", f"{cache} cannot be written", "set UNDERTOW_CACHE")
    for one in listing():
        where, name = str(one["where"]), str(one["name"])
        if where.startswith("not here"):
            yield Finding(f"data {name}", "absent", "not here", f"undertow data fetch {name}")
        else:
            yield Finding(f"data {name}", "ok", where)


def _weights() -> Iterator[Finding]:
    from undertow.models import listing

    models = listing()
    here = [str(one["name"]) for one in models if one.get("accuracy") is not None]
    lacking = [str(one["name"]) for one in models if str(one["name"]) not in here]
    get = "install the package anew" if lacking else ""
    found = f"{len(here)} of {len(models)} models"
    yield Finding("weights", "absent" if lacking else "ok", found, get)


def _extras() -> Iterator[Finding]:
    for extra, modules in EXTRAS.items():
        lacking = [module for module in modules if find_spec(module) is None]
        if lacking:
            line = f"pip install 'undertow[{extra}]'"
            yield Finding(f"extra {extra}", "absent", f"without {', '.join(lacking)}", line)
        else:
            yield Finding(f"extra {extra}", "ok", ", ".join(modules))


def _browser() -> Finding:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome", "firefox")
    found = next((place for name in names if (place := shutil.which(name))), None)
    if found:
        return Finding("browser", "ok", found)
    return Finding(
        "browser", "absent", "none on the path", "reports open in any; tests need chromium"
    )
