"""What a recorded input shows along its steps, and the benign inputs that it is held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.axes import CONTROLS
from undertow.store import BENIGN, Cell, Run
from undertow.studies.answered.results import Results

__all__ = ["Seen", "percent", "recorded"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fewest:
    """How few maps of a tap return the label when they are put back.

    Args:
        tap: its name.
        found: maps of the smallest set found.
        random: those that the same search leaves in a random order.
        maps: how many there are.
    """

    tap: str
    found: int
    random: int
    maps: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """One recorded input along its steps, and what it is held against.

    Args:
        logits: (step, class).
        drift: towards the rival, spatial taps only, (step, tap), by estimator.
        taps: their names.
        depth: theirs, (tap,).
        images: (step, channel, row, col) in [0, 1].
        steps: the attack's numbers of the steps.
        label: the true class, or the answer where nobody told it.
        rival: the class that drift goes towards.
        controls: by kind: the answer at the end, and drift there, (tap,).
        population: drift of other benign inputs towards their own rivals, (other, tap).
        wrong: whether the model gets them wrong, (other,).
        rejected: whether the model's defence rejects it where the attack ended.
        fewest: of each tap, the fewest maps that were found to return the label.
        no_carriers: why that cannot be told, where it was asked for.
    """

    name: str
    index: int
    model: str
    attack: str | None
    classes: list[str]
    labelled: bool
    logits: Array
    drift: dict[str, Array]
    taps: list[str]
    depth: Array
    images: Array
    steps: NDArray[np.int64]
    label: int
    rival: int
    outcome: int
    controls: dict[str, tuple[int, Array]]
    population: Array
    wrong: NDArray[np.bool_]
    rejected: bool = False
    fewest: tuple[Fewest, ...] = ()
    no_carriers: str = ""

    @property
    def main(self) -> Array:
        """Drift as the study's own estimator sees it."""
        return next(iter(self.drift.values()))

    @property
    def probabilities(self) -> Array:
        """Of every class after every step, (step, class)."""
        shifted = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))

    def sure(self, step: int, name: int) -> str:
        """``cat 50 %``."""
        return f"{self.classes[name]} {percent(self.probabilities[step, name])}"


def percent(share: float) -> str:
    """A probability that is no certainty is not rounded to one."""
    if 0 < share < 0.005:
        return "under 1 %"
    if 0.995 <= share < 1:
        return "over 99 %"
    return f"{share:.0%}".replace("%", " %")


def recorded(results: Results) -> list[Seen]:
    """Every recorded input of a run, attacked or explained as it came."""
    spec, run = results.spec, results.run
    found = []
    for model in spec.followed if spec.traced else spec.models:
        cell = Cell(model, spec.traced or BENIGN)
        for index in run.exemplars(cell):
            controls = [Cell(model, f"{kind}:{cell.attack}") for kind in CONTROLS]
            there = [c for c in controls if index in run.exemplars(c)]
            found.append(_seen(results, cell, index, there))
    return [seen for seen in found if seen is not None]


def _seen(results: Results, cell: Cell, index: int, controls: list[Cell]) -> Seen | None:
    run = results.run
    data = run.exemplar(cell, index)
    if "drift" not in data:
        return None  # of an older undertow
    there = np.isfinite(data["drift"].values).all(axis=0)
    if not there.any():
        return None
    steps = data["step"].values.astype(np.int64)
    # An attack that goes on after its success ends at the nearest one, not at its last iterate.
    end = int(np.searchsorted(steps, int(data.attrs.get("end", steps[-1])), side="right"))
    kept = slice(0, max(end, 1))
    images = data["images"].values[kept]
    scale = 255.0 if images.dtype.kind == "u" else 1.0
    called = run.manifest.get("called") or {}
    population, wrong = _population(results, cell.model, index, there)
    return Seen(
        name=str(called.get(str(index), f"{results.spec.data.name}:{index}")),
        index=index,
        model=cell.model,
        attack=None if cell.benign else cell.attack,
        classes=_classes(run, data),
        labelled=index not in (run.manifest.get("unlabelled") or ()),
        logits=data["logits"].values[kept].astype(np.float64),
        drift={
            str(n).partition("@")[2]: data[n].values[kept][:, there].astype(np.float64)
            for n in data.data_vars
            if str(n).partition("@")[0] == "drift"
        },
        taps=[str(t) for t, k in zip(data["tap"].values, there, strict=True) if k],
        depth=data["depth"].values[there].astype(np.float64),
        images=images.astype(np.float64) / scale,
        steps=steps[kept],
        label=int(data.attrs["label"]),
        rival=int(data.attrs["rival"]),
        outcome=int(data.attrs.get("outcome", -1)),
        controls={str(c.control): _ended(run, c, index, kept, there) for c in controls},
        population=population,
        wrong=wrong,
        rejected="rejected" in data and bool(data["rejected"].values[kept][-1]),
        fewest=_fewest(data),
        no_carriers=str(data.attrs.get("no_carriers", "")),
    )


def _fewest(data: Any) -> tuple[Fewest, ...]:
    """Taps of which some maps were found that return the label."""
    if "smallest" not in data:
        return ()
    found, random = data["smallest"].values.sum(axis=1), data["smallest_random"].values
    maps = data["count"].values.max(axis=1)
    taps = [str(tap) for tap in data["tap"].values]
    rows = zip(taps, found.tolist(), random.tolist(), maps.tolist(), strict=True)
    return tuple(Fewest(*row) for row in rows if row[1] > 0)


def _ended(
    run: Run, cell: Cell, index: int, kept: slice, there: NDArray[np.bool_]
) -> tuple[int, Array]:
    """The answer and the drift of a control, where its attack ended."""
    data = run.exemplar(cell, index)
    at = kept.stop - 1
    drift = data["drift"].values[at][there].astype(np.float64)
    return int(data["logits"].values[at].argmax()), drift


def _classes(run: Run, data: Any) -> list[str]:
    n = int(data.sizes["class"])
    given = run.manifest.get("classes") or ()
    return [str(c) for c in given] if len(given) == n else [f"class {i}" for i in range(n)]


def _population(
    results: Results, model: str, index: int, there: NDArray[np.bool_]
) -> tuple[Array, NDArray[np.bool_]]:
    """Drift of the other benign inputs, (other, tap), and which of them are misread."""
    cell = Cell(model, BENIGN)
    nothing = np.empty((0, int(there.sum()))), np.empty(0, dtype=bool)
    if not results.complete(cell):
        return nothing
    profiles, attacks = results.run.profiles(cell), results.run.attacks(cell)
    if "drift" not in profiles:
        return nothing
    explained = set(results.spec.data.first) | {index}
    others = ~np.isin(attacks["index"].values, list(explained))
    return (
        profiles["drift"].values[others][:, there].astype(np.float64),
        attacks["success"].values[others].astype(bool),
    )
