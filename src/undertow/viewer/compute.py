"""What the viewer may load and compute by itself: shipped models, and those its user named.

A run names its models too, but a run can come from a stranger, and loading ``file.py:factory``
runs code; so a run's word is never enough.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.errors import BadInput, UndertowError
from undertow.figures.from_run import ends_of
from undertow.figures.perturbation import unit_interval
from undertow.store import Cell
from undertow.viewer.maps import Maps
from undertow.viewer.selection import values
from undertow.viewer.source import Source

__all__ = ["Computed", "Known", "check_weights", "computable", "known_models", "live_maps", "load"]


@dataclass(frozen=True, slots=True)
class Known:
    """A model that may be loaded.

    Args:
        name: as ``load_model`` takes it.
        data: the data set it classifies, where that is known.
        shape: (channel, row, col) of its inputs, where that is known.
        classes: names of its classes, where they are known.
    """

    name: str
    data: str | None = None
    shape: tuple[int, int, int] | None = None
    classes: tuple[str, ...] = ()


def known_models(own: Sequence[str] = ()) -> dict[str, Known]:
    """Shipped models, by their cards, then the user's own. Nothing is loaded."""
    import undertow

    found = {}
    for card in sorted((Path(undertow.__file__).parent / "models" / "weights").glob("*.json")):
        try:
            told = json.loads(card.read_bytes())
            channels, rows, cols = (int(n) for n in told["shape"])
            name, classes = str(told["name"]), tuple(map(str, told["classes"]))
            found[name] = Known(name, str(told["data"]), (channels, rows, cols), classes)
        except (ValueError, KeyError, TypeError):
            continue
    return found | {name: Known(name) for name in own}


Told = tuple[tuple[float, ...] | None, tuple[float, ...] | None, int | str | None]
"""Mean, standard deviation and output of a model, as a run says them."""


def told_of(source: Source, name: str) -> Told:
    """How the run reads one of its models: without that it would be another function.

    Raises:
        BadInput: where the run says something else than numbers.
    """
    spec = source.spec
    if name not in (spec.get("models") or ()) or name in known_models():
        return None, None, None
    try:
        mean, std = (
            None if spec.get(key) is None else tuple(float(v) for v in spec[key])
            for key in ("mean", "std")
        )
    except (TypeError, ValueError):
        raise BadInput(f"the run's mean and std of '{name}' are no numbers") from None
    output = spec.get("output")
    return mean, std, output if isinstance(output, int | str) else None


def load(source: Source, name: str) -> Any:
    """A model as the run reads it, loaded once; with names of :func:`known_models` only."""
    return _loaded(name, told_of(source, name))


@lru_cache(maxsize=4)
def _loaded(name: str, told: Told) -> Any:
    from undertow.models import load_model

    mean, std, output = told
    return load_model(name, mean=mean, std=std, output=output)


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """What was computed of one tap.

    Args:
        maps: its maps at the first recorded step and at the attack's end.
        matrices: ``S_raw``, ``S_null``, ``T_raw``, ``T_null`` at that end, if measured.
    """

    maps: Maps
    matrices: Mapping[str, NDArray[Any]]


def computable(source: Source, cell: Cell) -> bool:
    """Whether the model of a cell may be loaded here."""
    return cell.model in known_models(source.models_allowed)


def live_maps(source: Source, cell: Cell, index: int, tap: int) -> Computed:
    """The maps of one tap, computed from the recorded iterates, with S and T.

    Raises:
        BadInput: where the model may not be loaded, or is not the one of the run.
    """
    if not computable(source, cell):
        raise BadInput(
            f"'{cell.model}' is not a shipped model; name it with --model if you trust it, "
            "and start the viewer again"
        )
    data = source.exemplar(cell, index)
    if data is None:
        raise BadInput(f"input {index} of {cell.name} cannot be read")
    import torch

    from undertow.taps import choose, read

    model = load(source, cell.model)
    check_weights(source, cell, model)
    ends = list(ends_of(data))
    images = unit_interval(values(data, "images")[ends]).astype(np.float32)
    x, names = torch.from_numpy(images), [str(t) for t in data["tap"].values]
    taps = {t.name: t for t in choose(model, x[:1], names)}
    if names[tap] not in taps:
        raise BadInput(f"the model has no tap '{names[tap]}'")
    maps = read(model, x, [taps[names[tap]]]).maps[names[tap]].numpy()
    if maps.ndim != 4:
        raise BadInput(f"tap '{names[tap]}' is a dense layer: it has no maps")
    steps = [int(s) for s in data["step"].values]
    measured = _measured(model, x, list(taps.values()), names[tap])
    found = Maps(
        tap=names[tap],
        depth=float(data["depth"].values[tap]),
        steps=(steps[ends[0]], steps[ends[1]]),
        maps=maps,
        source=measured["S_net"].mean(axis=1) if measured else None,
        target=measured["T_net"].mean(axis=2) if measured else None,
        origin="computed now",
    )
    return Computed(found, {n: v[-1] for n, v in measured.items() if not n.endswith("net")})


def check_weights(source: Source, cell: Cell, model: Any) -> None:
    """The same name must be the same weights."""
    from undertow.models import fingerprint

    hashes = source.manifest.get("hashes")
    weights = hashes.get("weights") if isinstance(hashes, dict) else None
    told = weights.get(cell.model) if isinstance(weights, dict) else None
    if told is not None and told != fingerprint(model):
        raise BadInput(f"'{cell.model}' here has other weights than the run was made with")


def _measured(model: Any, x: Any, taps: Any, name: str) -> dict[str, NDArray[Any]]:
    """S (row, channel, map) and T (row, map, class) of one tap; nothing where there are none."""
    from undertow.measuring.measure import measure

    try:
        found = measure(model, x, taps=taps, keep_matrices=(0, 1))
    except UndertowError:
        return {}
    if "S_net" not in found:
        return {}
    here = found.sel(tap=name)
    count = int(here["maps"])
    names = [f"{letter}_{part}" for letter in "ST" for part in ("raw", "null", "net")]
    arrays = {n: here[n].isel(map=slice(0, count)).values for n in names}
    return arrays if all(np.isfinite(v).all() for v in arrays.values()) else {}
