"""One input through one attack: the smallest study, and Figure 1."""

from __future__ import annotations

from pathlib import Path

from undertow.attacks import ATTACKS
from undertow.data import load_data
from undertow.errors import BadInput
from undertow.loading import is_source
from undertow.progress import SILENT, Progress
from undertow.store import Run
from undertow.studies.asked.spec import AttackSpec, DataSpec, StudySpec
from undertow.studies.run import study

__all__ = ["trace"]

POPULATION = 64
"""Benign inputs beside the traced one: their spread is the unit of differences."""


def trace(
    *,
    model: str,
    attack: str,
    data: str,
    index: int,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress = SILENT,
) -> Run:
    """Follow one input through every iterate of an attack, controls of the same norms beside it.

    Args:
        model: as ``load_model`` takes it.
        attack: a name from the attack registry.
        data: a data set.
        index: which input of its test split.
        out: the run directory; ``runs/trace-MODEL-ATTACK-INDEX`` by default.
        data_dir: where the data set lies.
        device: where to compute.
        seed: the one seed.
        progress: told how far it is.

    Raises:
        BadInput: for an attack that cannot be followed on one model.
    """
    entry = ATTACKS.entry(attack)
    if entry.needs:
        controls = "models" not in entry.needs
        what = "is a control without steps" if controls else "is aimed at several models, too many"
        raise BadInput(f"{entry.name} {what} to trace; choose another attack")
    there = len(load_data(data, "test", data_dir=data_dir, progress=progress))
    flat = "".join(c if c.isalnum() or c in "_." else "-" for c in model)
    spec = StudySpec(
        name=f"trace-{flat}-{entry.name}-{index}",
        models=(model,),
        plugins=({"attack": attack},) if is_source(attack) else (),
        attacks=(AttackSpec(name=entry.name),),
        data=DataSpec(name=data, inputs=min(POPULATION, there), select="all", first=(index,)),
        exemplars=1,
        exemplar_attack=entry.name,
        follow_only=True,
        questions=(),
        seed=seed,
    )
    return study(spec, out=out, data_dir=data_dir, device=device, progress=progress)
