"""Running a study: from a spec to a finished run directory, going on with what is there."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from undertow.axes import PROFILES
from undertow.data import ImageSet, load_data
from undertow.errors import BadInput, Unavailable
from undertow.models import check_output, load_model
from undertow.progress import SILENT, Progress
from undertow.store import BENIGN, Cell, Run, RunWriter, create_run, open_run, template
from undertow.studies.conclude import conclude
from undertow.studies.manifest import manifest_of
from undertow.studies.plan import Unit, cells_of, exemplar_units, shards_of, units
from undertow.studies.probe import select
from undertow.studies.spec import StudySpec, load_spec
from undertow.studies.workshop import Workshop

__all__ = ["study"]


def study(
    spec: str | Path | StudySpec,
    *,
    out: str | Path | None = None,
    inputs: int | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> Run:
    """Run a study, or go on with the run that ``out`` holds; repeats nothing that is done.

    Args:
        spec: a preset's name, a YAML file, or a spec.
        out: the run directory; ``runs/NAME`` by default.
        inputs: inputs a cell, instead of the spec's.
        seed: the seed, instead of the spec's.
        data_dir: where the data set lies, if not in the cache.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        progress: told how far it is.

    Returns:
        The finished run, open for reading; shards that failed are in its ledger.

    Raises:
        UndertowError: for a spec, data, models or a directory that cannot be used.
    """
    spec = _overridden(spec if isinstance(spec, StudySpec) else load_spec(spec), inputs, seed)
    spec.check_names()
    data = load_data(spec.data.name, spec.data.split, data_dir=data_dir, progress=progress)
    train = load_data(spec.data.name, "fit", data_dir=data_dir, progress=progress)
    models = {name: load_model(name, device=device) for name in spec.models}
    for name, model in models.items():
        _check_fit(name, model, data, device)
    manifest = manifest_of(spec, data, train, models, device)
    with create_run(out or Path("runs") / spec.name, spec.plain(), manifest) as writer:
        started = time.monotonic()
        index = _selection(writer, spec, data, models, device, progress)
        shop = Workshop(
            spec=spec, train=train, data=data, index=index, models=models, device=device
        )
        shop.settle(writer.manifest.get("strengths"), progress)
        writer.update_manifest(strengths=shop.strengths)
        _prepare(writer, shop)
        _work(writer, shop, units(spec), progress)
        _work(writer, shop, exemplar_units(spec), progress)
        run = open_run(writer.path)
        writer.answers(conclude(run))
        _note_time(writer, time.monotonic() - started)
    return open_run(run.path)


def _overridden(spec: StudySpec, inputs: int | None, seed: int | None) -> StudySpec:
    data = spec.data if inputs is None else spec.data.model_copy(update={"inputs": inputs})
    changed = spec.model_copy(update={"data": data} | ({} if seed is None else {"seed": seed}))
    return StudySpec(**changed.plain())


def _check_fit(name: str, model: nn.Module, data: ImageSet, device: str) -> None:
    """A model must take the data's images and give one logit a class."""
    x = data[:2][0].to(device)
    try:
        with torch.no_grad():
            check_output(model(x), x, len(data.classes))
    except BadInput as problem:
        raise BadInput(f"model '{name}' does not fit {data.name}: {problem}") from None
    except (RuntimeError, ValueError, TypeError) as problem:
        reason = str(problem).strip().splitlines()[0][:160]
        shape = " x ".join(map(str, x.shape[1:]))
        raise BadInput(f"model '{name}' cannot take inputs of {shape}: {reason}") from None


def _selection(
    writer: RunWriter, spec: StudySpec, data: Any, models: Any, device: str, progress: Progress
) -> NDArray[np.int64]:
    """The study's inputs: those of the first start, so that a resumed run has the same."""
    if "inputs" in writer.manifest:
        return np.array(writer.manifest["inputs"], dtype=np.int64)
    index = select(spec, data, models, device=device, progress=progress)
    writer.update_manifest(inputs=index.tolist())
    return index


def _prepare(writer: RunWriter, shop: Workshop) -> None:
    """Make room for every cell, and say in the ledger what is planned."""
    spec = shop.spec
    samples, classes = spec.data.inputs, len(shop.data.classes)
    others = tuple(filter(None, (spec.cross_check,)))
    for cell in cells_of(spec):
        probe = shop.probe(cell.model)
        taps = [tap.name for tap in probe.taps]
        depth = [tap.depth for tap in probe.taps]
        groups = {
            "profiles": template(
                "profiles",
                samples=samples,
                taps=taps,
                depth=depth,
                estimators=others,
                without=("index",),
            ),
            "attacks": template("attacks", samples=samples, classes=classes),
        }
        if probe.classified:
            groups["class_information"] = template(
                "class_information",
                samples=samples,
                taps=taps,
                depth=depth,
                classes=classes,
                without=("index",),
            )
        for group, empty in groups.items():
            writer.prepare(group, cell, empty, spec.shard)
        writer.ledger.plan(cell, len(shards_of(spec)))


def _work(writer: RunWriter, shop: Workshop, todo: Iterable[Unit], progress: Progress) -> None:
    """Do what is not done, one unit after the other; a failed one is recorded and passed over."""
    left = [u for u in todo if not all(writer.done(cell, u.shard) for cell in u.cells)]
    with progress("Measuring", sum(u.stop - u.start for u in left), "inputs") as advance:
        for unit in left:
            note = f"{unit.source} {unit.attack}"
            started = time.monotonic()
            for cell in unit.cells:
                writer.ledger.record(cell, unit.shard, "running")
            try:
                _do(writer, shop, unit)
            except (Unavailable, KeyboardInterrupt):
                raise
            except Exception:
                for cell in unit.cells:
                    writer.ledger.record(
                        cell, unit.shard, "failed", traceback=traceback.format_exc()
                    )
                note += " failed"
            else:
                seconds = round(time.monotonic() - started, 3)
                for cell in unit.cells:
                    writer.ledger.record(cell, unit.shard, "done", seconds=seconds)
            advance(unit.stop - unit.start, note)


def _do(writer: RunWriter, shop: Workshop, unit: Unit) -> None:
    if isinstance(unit.shard, int):
        for (group, cell), dataset in shop.fill(unit).items():
            writer.write(group, cell, dataset, unit.start)
        return
    for cell, dataset in shop.follow(unit, _benign_std(writer, unit.source)).items():
        writer.exemplar(cell, int(shop.index[unit.start]), dataset)


def _benign_std(writer: RunWriter, model: str) -> dict[str, NDArray[Any]]:
    """Standard deviation over benign inputs of every profile, (tap,): the unit of differences."""
    found = open_run(writer.path).profiles(Cell(model, BENIGN))
    return {p: found[p].values.std(axis=0, ddof=1) for p in PROFILES}


def _note_time(writer: RunWriter, seconds: float) -> None:
    sessions = [dict(s) for s in writer.manifest.get("sessions", [])]
    if sessions:
        sessions[-1]["seconds"] = round(seconds, 1)
        writer.update_manifest(sessions=sessions)
