"""A live attack, with torch: the attack's own steps are shown as it takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from undertow.attacks import Record, draws_for, make
from undertow.attacks.driver.craft import Target, craft
from undertow.attacks.driver.record import Sighting
from undertow.axes import PROFILES
from undertow.data import load_data
from undertow.errors import UndertowError
from undertow.information.profiles import benign_spread, differences
from undertow.information.readers import Readers
from undertow.measuring.measure import measure
from undertow.measuring.readers_cache import readers_for
from undertow.models.asking import ask
from undertow.store import BENIGN, Cell
from undertow.taps import choose
from undertow.types import Trajectory
from undertow.viewer.jobs import LiveAttack, Stopped
from undertow.viewer.path import Path
from undertow.viewer.selection import Which
from undertow.viewer.source import Source

__all__ = ["attack_live"]

RECORDS: Final = 400
"""The most iterates that are kept of one input."""
ROWS: Final = 4_000_000
"""Numbers of all pictures that are kept while the attack runs."""


class _Shown:
    """What has been shown of each row so far; the row that is nearest to its goal is drawn."""

    def __init__(self, job: LiveAttack, label: int, start: Path) -> None:
        self.job, self.label, self.start = job, label, start
        self.seen: list[Sighting] = []
        self.budget = ROWS

    def __call__(self, now: Sighting) -> None:
        self.job.check()
        self.budget -= now.x.numel()
        if self.budget < 0:  # of long attacks only the latest iterates are shown until the end
            self.seen, self.budget = self.seen[-1:], ROWS
        self.seen.append(replace(now, x=now.x.cpu().clone(), logits=now.logits.float().cpu()))
        logits = self.seen[-1].logits.numpy()
        lead = np.delete(logits, self.label, axis=1).max(axis=1) - logits[:, self.label]
        row = now.row[int(lead.argmax())]
        have = [(s, int(at)) for s in self.seen for at in torch.nonzero(s.row == row).flatten()]
        path = replace(
            self.start,
            images=np.concatenate([self.start.images, *(s.x[i : i + 1].numpy() for s, i in have)]),
            logits=np.concatenate(
                [self.start.logits, *(s.logits[i : i + 1].numpy() for s, i in have)]
            ),
            steps=np.array([0, *(s.step for s, _ in have)], dtype=np.int64),
        )
        self.job.show(path, f"Step {now.step}")


def attack_live(
    job: LiveAttack,
    source: Source,
    *,
    model: Callable[[], nn.Module],
    model_name: str,
    data: str | None,
    image: NDArray[np.float32],
    label: int | None,
    classes: tuple[str, ...],
    index: int,
    attack: str,
    settings: Mapping[str, Any],
    target: Target,
    name: str,
) -> None:
    """Run one attack on one input and measure what it did.

    Args:
        job: told every step; asked whether to go on.
        source: the run that is open: its benign inputs are the unit of differences.
        model: loads the model.
        model_name: what it is called.
        data: its data set, for references and readers; ``None`` where it is not known.
        image: (channel, row, col) in [0, 1].
        label: the true class; ``None``: what the model says.
        classes: names of the classes, as far as they are known.
        index: the input's place in its data set, for the random numbers.
        attack: the attack's name.
        settings: its settings.
        target: what it aims at.
        name: the input and the attack in words.
    """
    network, made = model(), make(attack, **settings)
    x = torch.from_numpy(image)[None]
    with torch.no_grad():
        logits = ask(network, x).float()
    true = int(logits.argmax()) if label is None else label
    start = _benign(name, x, logits, true, classes)
    job.show(start, "Step 0")
    trajectory = craft(
        made,
        network,
        x,
        torch.tensor([true]),
        target=target,
        record=Record(every=1, at_most=RECORDS),
        seed=draws_for(int(_seed(source)), [index]),
        watch=_Shown(job, true, start),
    )
    path = _whole(start, trajectory)
    said = _said(trajectory)
    job.show(path, f"{said} Measuring profiles")
    job.check()
    readers, words = _readers(job, network, trajectory, source, data, said)
    path, problem = _measured(path, network, trajectory, source, model_name, readers)
    job.show(path, " ".join(filter(None, (said, problem or words))))


def _seed(source: Source) -> int:
    seed = source.manifest.get("seed", 0)
    return seed if isinstance(seed, int) else 0


def _said(t: Trajectory) -> str:
    forwards, backwards = int(t.forwards[0]), int(t.backwards[0])
    how = "Fooled" if bool(t.success[0]) else "Not fooled"
    where = f"{how} at step {int(t.steps[0])}, L2 {float(t.l2[0]):.3g}"
    why = "" if bool(t.success[0]) else f" Outcome: {t.advice}."
    return f"{where}, {forwards} forward and {backwards} gradient calls.{why}"


def _benign(
    name: str, x: torch.Tensor, logits: torch.Tensor, true: int, classes: tuple[str, ...]
) -> Path:
    """The path before its first step."""
    count = logits.shape[1]
    return Path(
        name=name,
        images=x.numpy(),
        steps=np.zeros(1, np.int64),
        logits=logits.numpy(),
        label=true,
        classes=classes if len(classes) == count else [f"class {k}" for k in range(count)],
    )


def _whole(start: Path, trajectory: Trajectory) -> Path:
    """The path with every step, not yet measured."""
    notes = trajectory.notes.items()
    return replace(
        start,
        images=trajectory.images.numpy(),
        logits=trajectory.logits.float().numpy(),
        steps=trajectory.step.numpy(),
        notes={n: v.numpy() for n, v in notes if v.ndim == 1 and v.dtype != torch.bool},
    )


def _measured(
    path: Path,
    network: nn.Module,
    trajectory: Trajectory,
    source: Source,
    model_name: str,
    readers: Readers | None,
) -> tuple[Path, str]:
    try:
        found = measure(network, trajectory, readers=readers)
    except UndertowError as error:
        return path, f"No profiles: {error}"
    taps, depth = tuple(map(str, found["tap"].values)), found["depth"].values
    profiles = {p: found[p].values for p in PROFILES}
    difference = None
    unit = _benign_std(source, model_name, taps)
    if unit is not None:
        _, difference = differences(profiles, {p: v[:1] for p, v in profiles.items()}, unit)
    profiles = {"drift": found["drift"].values, **profiles}
    bits = found["class_information"].values if readers is not None else None
    new = replace(path, taps=taps, depth=depth, profiles=profiles, difference=difference, bits=bits)
    return new, ""


def _benign_std(
    source: Source, model_name: str, taps: tuple[str, ...]
) -> dict[str, NDArray[Any]] | None:
    """The unit of differences, where the open run has this model with the same taps."""
    cell = Cell(model_name, BENIGN)
    if cell not in source.cells or source.taps(cell)[0] != taps:
        return None
    rows = {p: source.profile(cell, p, Which()) for p in PROFILES}
    if any(r is None or len(r) < 2 for r in rows.values()):
        return None
    return benign_spread({p: r for p, r in rows.items() if r is not None})


def _readers(
    job: LiveAttack,
    network: nn.Module,
    trajectory: Trajectory,
    source: Source,
    data: str | None,
    said: str,
) -> tuple[Readers | None, str]:
    """Class readers, or why there are none; fitted the first time, then from the cache."""
    if data is None:
        return None, ""
    try:
        train = load_data(data, "fit")
        taps = choose(network, trajectory.benign)

        def going_on(title: str, total: float | int, unit: str = "") -> Any:
            job.words = f"{said} Fitting class readers"
            return _Ticking(job)

        return readers_for(network, taps, train, seed=_seed(source), progress=going_on), ""
    except Stopped:
        job.words = said
        raise
    except UndertowError as error:
        return None, f"No class information: {error}"


class _Ticking:
    """Progress that hears whether the job was stopped."""

    def __init__(self, job: LiveAttack) -> None:
        self.job = job

    def __enter__(self) -> Callable[..., None]:
        def advance(amount: float | int = 1, note: str = "") -> None:
            self.job.check()

        return advance

    def __exit__(self, *_: object) -> None:
        return None
