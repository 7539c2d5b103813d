"""A trajectory as plain arrays, from a run or from a live attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.axes import PROFILES
from undertow.figures.perturbation import unit_interval
from undertow.store import Cell
from undertow.viewer.selection import values
from undertow.viewer.source import Source

__all__ = ["Path", "recorded_path"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Path:
    """A trajectory as plain arrays; what was not measured is empty.

    Args:
        name: the input and the attack in words.
        images: (step, channel, row, col) in [0, 1].
        steps: the attack's step numbers, (step,).
        logits: (step, class).
        label: true class.
        classes: names of the classes.
        taps: names.
        depth: (tap,).
        profiles: ``drift``, ``iip``, ``oip``, ``ioc``: (step, tap).
        difference: overall difference from step 0 in benign standard deviations, (step,).
        bits: class information, (step, tap, class).
        notes: what the attack says of its steps, (step,) each.
    """

    name: str
    images: NDArray[Any]
    steps: NDArray[np.int64]
    logits: NDArray[Any]
    label: int
    classes: Sequence[str]
    taps: tuple[str, ...] = ()
    depth: NDArray[Any] = field(default_factory=lambda: np.zeros(0))
    profiles: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    difference: NDArray[Any] | None = None
    bits: NDArray[Any] | None = None
    notes: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def adversarial(self) -> int:
        """The answer at the last step."""
        return int(self.logits[-1].argmax())


def recorded_path(source: Source, cell: Cell, index: int, name: str) -> Path | None:
    """A recorded input of a run; ``None`` where it cannot be read."""
    data = source.exemplar(cell, index)
    if data is None:
        return None
    try:
        read = {n: values(data, n) for n in ("images", "logits", "step", "depth")}
        logits = read["logits"]
        label = int(data.attrs.get("label", logits[0].argmax()))
        classes = source.class_names(logits.shape[1], data.attrs.get("classes"))
        optional = {
            n: values(data, n)
            for n in ("class_information", "difference", "drift", *PROFILES)
            if n in data
        }
        notes = {
            str(n).removeprefix("note_"): values(data, str(n))
            for n in data.data_vars
            if str(n).startswith("note_") and data[n].dtype != bool
        }
    except Exception as error:  # whatever a damaged file makes the decoder raise
        source.note(f"recorded input {index} of {cell.name} is damaged ({type(error).__name__})")
        return None
    if not 0 <= label < logits.shape[1] or not len(logits):
        source.note(f"recorded input {index} of {cell.name} has no class {label}")
        return None
    return Path(
        name=name,
        images=unit_interval(read["images"]),
        steps=read["step"].astype(np.int64),
        logits=logits,
        label=label,
        classes=classes,
        taps=tuple(map(str, data["tap"].values)) if "tap" in data.coords else (),
        depth=read["depth"],
        profiles={p: optional[p] for p in ("drift", *PROFILES) if p in optional},
        difference=optional.get("difference"),
        bits=optional.get("class_information"),
        notes=notes,
    )
