"""Which maps carried an attack on some inputs of a data set: a study of that alone."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from undertow.errors import BadInput
from undertow.loading import home
from undertow.progress import SILENT, Progress
from undertow.prose import attack_name
from undertow.store import Run
from undertow.studies.asked.spec import AttackSpec, DataSpec, StudySpec
from undertow.studies.explain import flat_name, followable, told_of
from undertow.studies.run import study
from undertow.types import Precision

__all__ = ["run_carriers"]

FOLLOWED: Final = 4
"""Inputs whose iterates and carriers are kept one by one."""


def run_carriers(
    *,
    model: str,
    attack: str,
    data: str,
    inputs: int,
    settings: Mapping[str, Any] | None = None,
    target: int | str | None = None,
    rankings: Sequence[str] = (),
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    output: int | str | None = None,
    classes: str | None = None,
    size: tuple[int, int] | None = None,
    taps: Sequence[str] = (),
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    device: str = "cpu",
    seed: int = 0,
    precision: Precision = "float32",
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Run:
    """Attack inputs that a model gets right, rank its maps, put them back, and count.

    Args:
        model: as ``load_model`` takes it.
        attack: a name from the attack registry, or ``path/to/mine.py:Class``.
        data: a data set.
        inputs: how many inputs.
        settings: of the attack.
        target: of the attack: a rule, a class number or a class name.
        rankings: by what maps are ranked, the first is told most; the usual ones where none is.
        mean: subtracted from the input of a model that does not normalise it, one a channel.
        std: divides it.
        output: which of several things that the model puts out are its logits.
        classes: a file of the model's class names, a line each.
        size: (row, col) that pictures of your own are brought to.
        taps: names or patterns of layers; empty for the automatic choice.
        out: the run directory; a name of its own in ``runs`` by default.
        data_dir: where the data set lies.
        device: where to compute.
        seed: the one seed.
        precision: of the attack's gradients, as ``craft`` takes it.
        workers: local processes that share the work.
        progress: told how far it is.

    Raises:
        BadInput: for an attack on several models, or one that changed no answer.
    """
    asked: AttackSpec = followable(attack, settings or {}, target)
    spec = StudySpec(
        name=flat_name(f"carriers-{model.rpartition('/')[2]}-{asked.id}"),
        **told_of(model, mean, std, output, taps),
        attacks=(asked.model_copy(update={"control": False}),),
        data=DataSpec(name=data, inputs=inputs, classes=classes, size=size),
        cross_check=None,
        readers=0,
        exemplars=min(FOLLOWED, inputs),
        iterates=24,
        matrices=0,
        carriers=tuple(rankings) or True,
        questions=("q6",),
        precision=precision,
        seed=seed,
    )
    what = sha256(repr(spec.plain()).encode()).hexdigest()[:8]
    own = Path("runs") / f"{flat_name(spec.name)[:80]}-{what}"
    place = home(out or own)
    there = place.exists()
    run = study(
        spec, out=place, data_dir=data_dir, device=device, workers=workers, progress=progress,
    )  # fmt: skip
    if run.answers is None or not run.answers.restorations:
        hits = _hits(run)
        if not there:  # it says nothing, and would stand in the way of the corrected command
            shutil.rmtree(place)
        raise BadInput(
            f"nothing to restore: {attack_name(asked.id)} changed the answer to "
            f"{hits} of {inputs} inputs and 2 are needed; give it more room"
        )
    return run


def _hits(run: Run) -> int:
    cell = next(c for c in run.cells if not c.benign)
    return int(run.attacks(cell)["success"].values.sum())
