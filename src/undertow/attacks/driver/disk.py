"""Trajectories on disk: records are written batch by batch and read through the page cache."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from undertow.attacks.driver.assemble import Part
from undertow.attacks.driver.changes import Changes
from undertow.errors import Foreign
from undertow.loading import is_file
from undertow.types import Trajectory

__all__ = ["Stream", "open_trajectory"]

IMAGES: Final = "images.bin"
REST: Final = "trajectory.safetensors"
FORMAT: Final = "undertow trajectory 1"


class Stream:
    """A new directory that takes the images of one batch after another.

    As a context it removes the directory again if what happens inside fails.

    Args:
        path: a directory that does not exist yet.

    Raises:
        Foreign: if it exists, or cannot be made.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.count = 0
        try:
            self.path.mkdir(parents=True)
        except FileExistsError:
            raise Foreign(f"'{path}' exists; stream_to must name a new directory") from None
        except OSError as error:
            raise Foreign(f"'{path}' cannot be written: {error.strerror}") from error

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            shutil.rmtree(self.path, ignore_errors=True)

    def take(self, part: Part) -> Part:
        """Write the images of a batch; the batch comes back without them."""
        kept = part.records.images
        images = kept.dense() if isinstance(kept, Changes) else kept
        with (self.path / IMAGES).open("ab") as file:
            file.write(images.cpu().contiguous().numpy().tobytes())
        self.count += len(images)
        nothing = images.new_zeros(()).expand(images.shape)
        return replace(part, records=replace(part.records, images=nothing))

    def finish(self, trajectory: Trajectory) -> Trajectory:
        """Write all the rest; the trajectory comes back with its images on disk."""
        plain: dict[str, Any] = {"format": FORMAT, "shape": list(trajectory.benign.shape[1:])}
        plain["count"], plain["dtype"] = self.count, str(trajectory.benign.dtype).split(".")[1]
        tensors: dict[str, Tensor] = {}
        for f in fields(trajectory):
            if f.name == "images":
                continue
            value = getattr(trajectory, f.name)
            if isinstance(value, Tensor):
                tensors[f.name] = value.cpu().contiguous()
            elif f.name == "notes":
                tensors |= {f"notes/{k}": v.cpu().contiguous() for k, v in value.items()}
            else:
                plain[f.name] = value
        new = self.path / f"{REST}.new"
        save_file(tensors, new, metadata={"undertow": json.dumps(plain)})
        new.replace(self.path / REST)
        return trajectory.keeping(_mapped(self.path, plain))


def open_trajectory(path: str | Path) -> Trajectory:
    """Open a trajectory that ``craft(..., stream_to=path)`` wrote; images are read when used.

    Raises:
        Foreign: if there is none, or it was never finished.
    """
    path = Path(path)
    if not (is_file(path / REST) and is_file(path / IMAGES)):
        raise Foreign(f"'{path}' holds no finished trajectory")
    try:
        with safe_open(path / REST, framework="pt") as file:
            plain = json.loads((file.metadata() or {})["undertow"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise Foreign(f"'{path}' holds no finished trajectory") from error
    if not isinstance(plain, dict) or plain.pop("format", None) != FORMAT:
        raise Foreign(f"'{path}' was written by another version (expected {FORMAT})")
    try:
        images = _mapped(path, plain)
        for name in ("shape", "count", "dtype"):
            del plain[name]
        notes = {k.removeprefix("notes/"): v for k, v in tensors.items() if k.startswith("notes/")}
        rest = {k: v for k, v in tensors.items() if not k.startswith("notes/")}
        return Trajectory(images=images, notes=notes, **rest, **plain)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise Foreign(f"'{path}' is damaged: {type(error).__name__} {error}") from error


def _mapped(path: Path, plain: dict[str, Any]) -> Tensor:
    """The images as a tensor over the file; writing to it does not change the file."""
    dtype = getattr(torch, plain["dtype"])
    shape = (plain["count"], *plain["shape"])
    size = torch.Size(shape).numel()
    held, asked = (path / IMAGES).stat().st_size, size * dtype.itemsize
    if held != asked:
        raise ValueError(f"{IMAGES} has {held:,} bytes, not {asked:,}")
    flat = torch.from_file(str(path / IMAGES), shared=False, size=size, dtype=dtype)
    return flat.view(shape)
