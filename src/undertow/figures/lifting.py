"""Figures for those who work in Python: out of a run by name, or out of what was just measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from undertow.axes import PROFILES
from undertow.errors import BadInput, of_kind
from undertow.figures import streams, trajectory, turning
from undertow.figures.data import FigureData
from undertow.figures.registry import FIGURES
from undertow.prose import attack_name
from undertow.store import Run

__all__ = ["from_flow", "lift"]


def lift(run: Run, name: str, **choice: Any) -> FigureData:
    """A figure out of a run: shows itself in a notebook; ``draw`` and ``save`` make files of it.

    Args:
        run: the run.
        name: a name in :data:`undertow.figures.FIGURES`.
        choice: which, as ``FIGURES[name].choices(run)`` names them; else the first there is.

    Raises:
        UnknownName: if there is no such figure.
        BadInput: if the run has nothing of the kind, or ``choice`` is none of its choices.
    """
    of_kind(run, Run, "the run", "what undertow.open_run gives")
    figure = FIGURES[name]
    known = {key for option in figure.choices(run) for key in option}
    unknown = sorted(set(choice) - known)
    if unknown and known:
        raise BadInput(
            f"figure '{name}' has no choice '{unknown[0]}' (allowed: {', '.join(sorted(known))})"
        )
    return figure.from_run(run, **choice)


def from_flow(flow: xr.Dataset, kind: str = "turning", *, sample: int = 0) -> FigureData:
    """A figure of one input out of what :func:`undertow.measure` gave for a trajectory.

    Args:
        flow: with axes (record, tap); ``trajectory`` needs ``difference`` (measure with
            ``benign_std``), ``streams`` needs ``class_information`` (measure with ``readers``).
        kind: ``"turning"`` (drift over steps and depth), ``"trajectory"`` or ``"streams"``.
        sample: which input of the trajectory.

    Raises:
        BadInput: if the measurement holds no such thing.
    """
    of_kind(flow, xr.Dataset, "the flow", "what undertow.measure gives for a trajectory")
    of_kind(kind, str, "the kind", "a name")
    of_kind(sample, int, "sample", "the place of an input")
    needed = {"turning": "drift", "trajectory": "difference", "streams": "class_information"}
    if kind not in needed:
        raise BadInput(f"unknown kind '{kind}' (allowed: {', '.join(needed)})")
    if "record" not in flow.dims:
        raise BadInput("this flow has no steps: measure a trajectory, as undertow.craft gives it")
    if needed[kind] not in flow:
        word = "benign_std" if kind == "trajectory" else "readers"
        raise BadInput(f"this flow has no '{needed[kind]}': measure it with {word}=...")
    rows = np.flatnonzero(flow["sample"].values == sample)
    if not len(rows):
        have = ", ".join(map(str, np.unique(flow["sample"].values)))
        raise BadInput(f"unknown sample {sample} (allowed: {have})")
    one = flow.isel(record=rows)
    told = f"input {sample}, {attack_name(str(flow.attrs.get('attack', 'an attack')))}"
    taps = tuple(map(str, one["tap"].values))
    steps, depth = one["step"].values, one["depth"].values
    if kind == "turning":
        there = np.isfinite(one["drift"].values).all(axis=0)
        label = int(one["label"].values[0]) if "label" in one else int(one["predicted"].values[0])
        return turning.build(
            drift=one["drift"].values[:, there], steps=steps, name=told,
            taps=tuple(tap for tap, k in zip(taps, there, strict=True) if k),
            classes=(f"class {label}", f"class {int(one['rival'].values[-1])}"),
        )  # fmt: skip
    if kind == "trajectory":
        return trajectory.build(
            profiles={p: one[p].values for p in PROFILES}, difference=one["difference"].values,
            steps=steps, taps=taps, depth=depth, name=told,
        )  # fmt: skip
    bits = one["class_information"].values
    label = int(one["label"].values[0]) if "label" in one else int(one["predicted"].values[0])
    return streams.build(
        bits=bits[[0, -1]], steps=[int(steps[0]), int(steps[-1])], depth=depth, taps=taps,
        label=label, adversarial=int(one["predicted"].values[-1]),
        classes=[str(c) for c in one["class"].values], name=told,
    )  # fmt: skip
