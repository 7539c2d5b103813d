"""A live attack, with torch: the attack's own steps are shown as it takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from undertow.attacks import Record, draws_for, make
from undertow.attacks.driver.craft import Target, craft
from undertow.axes import PROFILES
from undertow.data import load_data
from undertow.errors import UndertowError
from undertow.information.profiles import overall_difference
from undertow.measuring.measure import measure
from undertow.measuring.readers_cache import readers_for
from undertow.models.outputs import logits_in
from undertow.store import BENIGN, Cell
from undertow.taps import choose
from undertow.types import Attack, Draws, Goal, Images, Iterate, Iterates, Keep, Oracle, Trajectory
from undertow.viewer.jobs import Job, Stopped
from undertow.viewer.path import Path
from undertow.viewer.selection import Which
from undertow.viewer.source import Source

__all__ = ["attack_live", "watched"]

RECORDS: Final = 400
"""The most iterates that are kept of one input."""
ROWS: Final = 4_000_000
"""Numbers of all pictures that are kept while the attack runs."""


def watched(attack: Attack, see: Callable[[Iterate, Keep | None], None]) -> Attack:
    """The same attack; ``see`` is told each iterate, with the rows that went on since the last.

    It is of a class derived from the attack's own, so that the driver finds its settings.
    """
    kind = cast(Any, type(attack))

    class Watched(kind):  # type: ignore[misc,valid-type]
        def iterates(self, model: Oracle, x0: Images, goal: Goal, *, draws: Draws) -> Iterates:
            steps = attack.iterates(model, x0, goal, draws=draws)
            keep: Keep | None = None
            try:
                it = next(steps)
                while True:
                    see(it, keep)
                    keep = yield it
                    it = steps.send(keep)
            except StopIteration:
                return
            finally:
                steps.close()

    twin = object.__new__(Watched)
    for f in fields(cast(Any, attack)):
        object.__setattr__(twin, f.name, getattr(attack, f.name))
    return cast(Attack, twin)


class _Seen:
    """What has been seen of each row so far; the row that is nearest to its goal is shown."""

    def __init__(self, job: Job, model: nn.Module, x: Images, label: int, start: Path) -> None:
        self.job, self.model, self.x, self.label, self.start = job, model, x, label, start
        self.rows: NDArray[np.int64] | None = None
        self.images: list[dict[int, Images]] = []
        self.steps: list[int] = []
        self.logits: list[dict[int, NDArray[Any]]] = []
        self.budget = ROWS

    @torch.no_grad()
    def __call__(self, it: Iterate, keep: Keep | None) -> None:
        self.job.check()
        if self.rows is None:
            self.rows = np.arange(len(it.x))
        elif keep is not None:
            self.rows = self.rows[keep.cpu().numpy()]
        logits = it.logits if it.logits is not None else self.model(it.x)
        numbers = logits.detach().float().cpu().numpy()
        self.budget -= it.x.numel()
        if self.budget < 0:  # of long attacks only the latest iterates are shown until the end
            self.images, self.steps, self.logits, self.budget = (
                self.images[-1:],
                self.steps[-1:],
                self.logits[-1:],
                ROWS,
            )
        self.images.append(dict(zip(self.rows.tolist(), it.x.detach().clone().cpu(), strict=True)))
        self.logits.append(dict(zip(self.rows.tolist(), numbers, strict=True)))
        self.steps.append(it.step)
        self._show(numbers)

    def _show(self, numbers: NDArray[Any]) -> None:
        assert self.rows is not None
        wrong = np.delete(numbers, self.label, axis=1).max(axis=1) - numbers[:, self.label]
        row = int(self.rows[int(wrong.argmax())])
        have = [k for k, images in enumerate(self.images) if row in images]
        path = replace(
            self.start,
            images=np.concatenate(
                [self.start.images, torch.stack([self.images[k][row] for k in have]).numpy()]
            ),
            logits=np.concatenate(
                [self.start.logits, np.stack([self.logits[k][row] for k in have])]
            ),
            steps=np.array([0, *(self.steps[k] for k in have)], dtype=np.int64),
        )
        self.job.show(path, f"Step {self.steps[-1]}")


def attack_live(
    job: Job,
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
        logits = logits_in(network(x)).float()
    true = int(logits.argmax()) if label is None else label
    names = (
        classes
        if len(classes) == logits.shape[1]
        else [f"class {k}" for k in range(logits.shape[1])]
    )
    start = Path(
        name=name,
        images=x.numpy(),
        steps=np.zeros(1, np.int64),
        logits=logits.numpy(),
        label=true,
        classes=names,
    )
    job.show(start, "Step 0")
    seen = _Seen(job, network, x, true, start)
    trajectory = craft(
        watched(made, seen),
        network,
        x,
        torch.tensor([true]),
        target=target,
        record=Record(every=1, at_most=RECORDS),
        seed=draws_for(int(_seed(source)), [index]),
    )
    path = replace(
        start,
        images=trajectory.images.numpy(),
        logits=trajectory.logits.float().numpy(),
        steps=trajectory.step.numpy(),
        notes={
            n: v.numpy()
            for n, v in trajectory.notes.items()
            if v.ndim == 1 and v.dtype != torch.bool
        },
    )
    said = _said(trajectory)
    job.show(path, f"{said} Measuring profiles")
    job.check()
    path, words = _measured(path, network, trajectory, source, model_name)
    job.show(path, f"{said} {words}")
    if data is not None and path.taps:
        _read_classes(job, path, network, trajectory, source, data, said)


def _seed(source: Source) -> int:
    seed = source.manifest.get("seed", 0)
    return seed if isinstance(seed, int) else 0


def _said(t: Trajectory) -> str:
    forwards, backwards = int(t.forwards[0]), int(t.backwards[0])
    how = "Fooled" if bool(t.success[0]) else "Not fooled"
    where = f"{how} at step {int(t.steps[0])}, L2 {float(t.l2[0]):.3g}"
    return f"{where}, {forwards} forward and {backwards} gradient calls."


def _measured(
    path: Path, network: nn.Module, trajectory: Trajectory, source: Source, model_name: str
) -> tuple[Path, str]:
    try:
        found = measure(network, trajectory)
    except UndertowError as error:
        return path, f"No profiles: {error}"
    taps, depth = tuple(map(str, found["tap"].values)), found["depth"].values
    profiles = {p: found[p].values for p in PROFILES}
    difference = None
    unit = _benign_std(source, model_name, taps)
    if unit is not None:
        parts = [overall_difference(profiles[p], profiles[p][:1], unit[p]) for p in PROFILES]
        difference = np.linalg.norm(np.stack(parts), axis=0)
    return replace(path, taps=taps, depth=depth, profiles=profiles, difference=difference), ""


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
    return {p: np.asarray(r).std(axis=0, ddof=1) for p, r in rows.items()}


def _read_classes(
    job: Job,
    path: Path,
    network: nn.Module,
    trajectory: Trajectory,
    source: Source,
    data: str,
    said: str,
) -> None:
    """Class information; readers are fitted the first time, and then come from the cache."""
    job.words = f"{said} Reading classes"
    try:
        train = load_data(data, "fit")
        taps = choose(network, trajectory.benign)

        def going_on(title: str, total: float | int, unit: str = "") -> Any:
            return _Ticking(job)

        readers = readers_for(network, taps, train, seed=_seed(source), progress=going_on)
        found = measure(network, trajectory, taps=taps, readers=readers)
        job.show(replace(path, bits=found["class_information"].values), said)
    except Stopped:
        job.words = said
        raise
    except UndertowError as error:
        job.words = f"{said} No class information: {error}"


class _Ticking:
    """Progress that hears whether the job was stopped."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __enter__(self) -> Callable[..., None]:
        def advance(amount: float | int = 1, note: str = "") -> None:
            self.job.check()

        return advance

    def __exit__(self, *_: object) -> None:
        return None
