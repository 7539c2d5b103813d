"""A run for TensorBoard: profiles as curves over depth and over the attack's steps, and pictures.

One TensorBoard run a cell, so that attacks lie over each other in one chart:

- ``depth/iip`` and so on: the mean over finished inputs, net of the null, at each tap;
- ``depth/bits_true``, ``depth/bits_adversarial``: class information, likewise;
- ``input INDEX/difference`` and ``input INDEX/iip TAP``: recorded inputs over the attack's steps;
- ``input INDEX/benign``, ``adversarial``, ``perturbation``: pictures, the last about mid grey.

TensorBoard's axis holds whole numbers: a depth is written as the tap's number, and its name and
depth stand in the text ``taps``.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from undertow.axes import PROFILES
from undertow.errors import Foreign
from undertow.figures.perturbation import rgb, unit_interval
from undertow.loading import needed
from undertow.store import Cell, Run
from undertow.store.files import disk_errors, replace_bytes

__all__ = ["TAGS", "export_tensorboard"]

TAGS: Final = {
    "depth/PROFILE": "mean net profile of the finished inputs, at each tap",
    "depth/bits_true": "mean class information about the true class, at each tap",
    "depth/bits_adversarial": "likewise about the class that the inputs end in",
    "input INDEX/difference": "overall difference from the benign IPs, at each step",
    "input INDEX/PROFILE TAP": "net profile at a tap, at each step",
    "input INDEX/benign": "the benign input",
    "input INDEX/adversarial": "the last iterate",
    "input INDEX/perturbation": "what was added, about mid grey, as strong as it can be shown",
}
"""What is written, for the documentation."""

_SCALE: Final = 4  # pictures this small are enlarged, or TensorBoard blurs them


def export_tensorboard(run: Run, out: Path) -> tuple[Path, ...]:
    """Write a run's profiles and pictures as event files.

    Args:
        run: the run.
        out: the folder for ``tensorboard --logdir``; event files of an export before are replaced.

    Returns:
        One folder a cell.

    Raises:
        Unavailable: if TensorBoard is not installed, or the disk refuses.
        Foreign: if the run has nothing to export.
    """
    needed("an export to TensorBoard", "tensorboard", "tensorboard")
    written = []
    with disk_errors(out):
        for cell in run.cells:
            events = [*_cell_events(run, cell)]
            if events:
                written.append(_write(out / cell.slug, events))
    if not written:
        raise Foreign(f"'{run.path}' has no finished inputs to export")
    return tuple(written)


def _write(folder: Path, events: list[tuple[int, Any]]) -> Path:
    """Write an event file here and now: TensorBoard's own writer is a thread that fails unheard."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    data, now = io.BytesIO(), time.time()
    writer = RecordWriter(data)
    writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
    for step, summary in events:
        writer.write(Event(wall_time=now, step=step, summary=summary).SerializeToString())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{int(now):010d}.undertow"
    replace_bytes(path, data.getvalue())
    for old in folder.glob("events.out.tfevents.*"):
        if old != path:
            old.unlink()
    return folder


def _scalar(tag: str, value: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, simple_value=value)])


def _picture(tag: str, pixels: np.ndarray) -> Any:
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary

    buffer = io.BytesIO()
    factor = max(1, _SCALE * 32 // max(pixels.shape[:2]))
    large = np.kron(pixels, np.ones((factor, factor, 1), np.uint8))
    Image.fromarray(large).save(buffer, "PNG")
    image = Summary.Image(
        height=large.shape[0], width=large.shape[1], colorspace=3,
        encoded_image_string=buffer.getvalue(),
    )  # fmt: skip
    return Summary(value=[Summary.Value(tag=tag, image=image)])


def _text(tag: str, words: str) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype=DT_STRING, string_val=[words.encode()], tensor_shape=shape)
    told = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    return Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=told)])


def _cell_events(run: Run, cell: Cell) -> Iterator[tuple[int, Any]]:
    if run.has("profiles", cell) and run.state(cell).done:
        yield from _profile_events(_finished(run.profiles(cell)))
    if run.has("class_information", cell) and run.state(cell).done:
        yield from _bits_events(
            _finished(run.class_information(cell)), _finished(run.attacks(cell))
        )
    for index in run.exemplars(cell):
        yield from _input_events(run.exemplar(cell, index), f"input {index}")


def _finished(data: xr.Dataset) -> xr.Dataset:
    return data.isel(sample=np.flatnonzero(data["finished"].values))


def _curve(tag: str, values: np.ndarray) -> Iterator[tuple[int, Any]]:
    for place, value in enumerate(values):
        if np.isfinite(value):
            yield place, _scalar(tag, float(value))


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over inputs, NaN at taps where nothing was measured."""
    there = np.isfinite(values).any(axis=0)
    found = np.full(values.shape[1], np.nan)
    found[there] = np.nanmean(values[:, there], axis=0)
    return found


def _profile_events(data: xr.Dataset) -> Iterator[tuple[int, Any]]:
    names = [
        f"{k}: {tap}, depth {at:.3f}"
        for k, (tap, at) in enumerate(zip(data["tap"].values, data["depth"].values, strict=True))
    ]
    yield 0, _text("taps", "\n\n".join(names))
    for profile in PROFILES:
        yield from _curve(f"depth/{profile}", _mean(data[profile].values))


def _bits_events(bits: xr.Dataset, ends: xr.Dataset) -> Iterator[tuple[int, Any]]:
    rows, values = np.arange(bits.sizes["sample"]), bits["bits"].values
    for tag, name in (("bits_true", "label"), ("bits_adversarial", "predicted")):
        yield from _curve(f"depth/{tag}", _mean(values[rows, :, ends[name].values]))


def _input_events(data: xr.Dataset, name: str) -> Iterator[tuple[int, Any]]:
    steps = [int(s) for s in data["step"].values]
    curves = {"difference": data["difference"].values}
    for profile in PROFILES:
        for k, tap in enumerate(data["tap"].values):
            curves[f"{profile} {tap}"] = data[profile].values[:, k]
    for tag, values in curves.items():
        for step, value in zip(steps, values, strict=True):
            if np.isfinite(value):
                yield step, _scalar(f"{name}/{tag}", float(value))
    first, last = unit_interval(data["images"].values[[0, -1]])
    change = last - first
    gain = 0.5 / (float(np.abs(change).max()) or 0.5)
    pictures = {"benign": first, "adversarial": last, "perturbation": 0.5 + gain * change}
    for tag, image in pictures.items():
        yield steps[-1], _picture(f"{name}/{tag}", rgb(image))
