"""Running a study: from a spec to a finished run directory, going on with what is there."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from undertow.allocator import return_freed_memory
from undertow.axes import PROFILES
from undertow.data import UNLABELLED, ImageSet
from undertow.errors import BadInput, Unavailable
from undertow.information.profiles import benign_spread
from undertow.measuring.carriers import CONTROLS
from undertow.measuring.carriers.carry import places
from undertow.measuring.seen import Forwarded
from undertow.progress import SILENT, Progress
from undertow.store import BENIGN, Cell, Run, RunWriter, create_run, open_run, template
from undertow.studies.answered.conclude import conclude
from undertow.studies.asked.inputs import (
    answered,
    check_fit,
    inputs_of,
    models_of,
    suited,
    training_of,
    with_targets,
    without_readers,
)
from undertow.studies.asked.plan import Unit, carries, cells_of, exemplar_units, shards_of, units
from undertow.studies.asked.spec import StudySpec, load_spec
from undertow.studies.done.executors import Executor, Job, Outcome, Task
from undertow.studies.done.executors.dask import Dask
from undertow.studies.done.executors.processes import Processes
from undertow.studies.done.executors.work import InProcess, accept, job_of
from undertow.studies.done.manifest import manifest_of
from undertow.studies.done.probe import select
from undertow.studies.done.workshop import Workshop
from undertow.studies.names import plugins_told, settled
from undertow.taps import choose

__all__ = ["study"]


def study(
    spec: str | Path | Mapping[str, Any] | StudySpec,
    *,
    out: str | Path | None = None,
    inputs: int | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    device: str = "cpu",
    workers: int | None = None,
    cluster: str | None = None,
    models: Mapping[str, nn.Module] | None = None,
    data: ImageSet | None = None,
    progress: Progress = SILENT,
) -> Run:
    """Run a study, or go on with the run that ``out`` holds; repeats nothing that is done.

    Args:
        spec: a preset's name, a YAML file, what such a file would say as a mapping, or a spec.
        out: the run directory; ``runs/NAME`` by default.
        inputs: inputs a cell, instead of the spec's.
        seed: the seed, instead of the spec's.
        data_dir: where the data set lies, if not in the cache.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        workers: local processes that share the work; ``None`` for this process alone.
        cluster: the address of a Dask scheduler whose workers share the work.
        models: networks that are objects, under the names that the spec gives them; worked on in
            this process.
        data: the data, where they are no file.
        progress: told how far it is.

    Returns:
        The finished run, open for reading; shards that failed are in its ledger.

    Raises:
        UndertowError: for a spec, data, models or a directory that cannot be used.
    """
    spec = _overridden(spec if isinstance(spec, StudySpec) else load_spec(spec), inputs, seed)
    spec = settled(spec, data_given=data is not None, models_given=models or ())
    _check_objects(spec, models or {}, data, workers is not None or cluster is not None)
    executor = _executor(workers, cluster)
    models = models_of(spec, device, models)
    data = suited(inputs_of(spec, data_dir, progress, data), spec, models, device)
    spec = without_readers(spec, data)
    check_fit(models, data, device)
    told = data.labels
    data = answered(data, spec, models, device)
    spec = with_targets(spec, data.classes)
    train = suited(training_of(spec, data, data_dir, progress), spec, models, device)
    if spec.taps:  # what cannot be read there is told before there is a run of that name
        one = train[:1][0].to(device)
        for model in models.values():
            Forwarded.of(model, choose(model, one, list(spec.taps)), one)
    manifest = manifest_of(spec, data, train, models, device, plugins_told(spec))
    with create_run(out or Path("runs") / spec.name, spec.plain(), manifest) as writer:
        started = time.monotonic()
        try:
            index = _selection(writer, spec, data, models, device, progress)
            shop = Workshop(
                spec=spec, train=train, data=data, index=index, models=models, device=device
            )
            known = writer.manifest.get("strengths")
            shop.settle(known, progress, lambda found: writer.update_manifest(strengths=found))
            writer.update_manifest(strengths=shop.strengths)
            writer.update_manifest(**_called(spec, data, index, told))
            _prepare(writer, shop)
        except BadInput:  # what was asked cannot be done: nothing stands in the way of another try
            writer.take_back()
            raise
        _note(writer, executor=executor.name, workers=workers, cluster=cluster)
        job = job_of(shop, f"undertow-{uuid4().hex}", manifest["hashes"], data_dir)
        if isinstance(executor, InProcess):
            accept(job, shop)
        del shop, models, train, data  # workers have their own
        return_freed_memory()
        _work(writer, executor, job, progress)
        run = open_run(writer.path)
        writer.answers(conclude(run))
        _note(writer, seconds=round(time.monotonic() - started, 1))
    return open_run(run.path)


def _check_objects(
    spec: StudySpec, models: Mapping[str, nn.Module], data: ImageSet | None, shared: bool
) -> None:
    """Models and data that are objects must fit what is asked."""
    if (models or data is not None) and shared:
        raise BadInput("models and data that are objects are worked on in this process alone")
    if strange := sorted(set(models) - set(spec.models)):
        raise BadInput(
            f"model '{strange[0]}' is given, but not among the study's models "
            f"(they are: {', '.join(spec.models)})"
        )


def _executor(workers: int | None, cluster: str | None) -> Executor:
    if workers is not None and cluster is not None:
        raise BadInput("local workers or a cluster, not both")
    if cluster is not None:
        return Dask(cluster)
    return InProcess() if workers is None else Processes(workers)


def _overridden(spec: StudySpec, inputs: int | None, seed: int | None) -> StudySpec:
    data = spec.data if inputs is None else spec.data.model_copy(update={"inputs": inputs})
    changed = spec.model_copy(update={"data": data} | ({} if seed is None else {"seed": seed}))
    return StudySpec(**changed.plain())


def _called(
    spec: StudySpec, data: ImageSet, index: NDArray[np.int64], told: Tensor
) -> dict[str, Any]:
    """What the explained inputs are called, and which of the run's inputs nobody labelled."""
    own = spec.data.labels
    unknown = [int(i) for i in index if int(told[int(i)]) == UNLABELLED and int(i) not in own]
    names = {str(i): data.called(int(i)) for i in spec.data.first}
    return {"called": names, "unlabelled": unknown}


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
                classes=classes,
                estimators=others,
                without=("index",) if probe.shifted else ("index", "oip_shift"),
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
        if spec.rankings and carries(cell):
            groups["carriers"] = template(
                "carriers",
                samples=samples,
                taps=taps,
                depth=depth,
                rankings=(*spec.rankings, *CONTROLS),
                count=places(probe.taps),
            )
        for group, empty in groups.items():
            writer.prepare(group, cell, empty, spec.shard)
    shards = len(shards_of(spec))
    writer.ledger.plan_all(dict.fromkeys(cells_of(spec), shards))
    writer.framed(cells_of(spec))


def _work(writer: RunWriter, executor: Executor, job: Job, progress: Progress) -> None:
    """Do what is not done; a unit that fails is recorded and passed over.

    Benign inputs come first: exemplars are measured in units of their spread.
    """
    spec = StudySpec(**job.spec)
    left = [
        unit
        for unit in (*units(spec), *exemplar_units(spec))
        if not all(writer.done(cell, unit.shard) for cell in unit.cells)
    ]
    benign = [unit for unit in left if unit.attack == BENIGN and isinstance(unit.shard, int)]
    others = [unit for unit in left if unit not in benign]
    if not left:
        return
    total = sum(unit.stop - unit.start for unit in left)
    with (
        executor.at_work(job) as do,
        progress("Measuring", total, "inputs") as advance,
    ):
        for todo in (benign, others):
            for outcome in do(_tasks(writer, spec, todo)):
                note = f"{outcome.unit.source} {outcome.unit.attack}"
                kept = _keep(writer, outcome, job)
                advance(outcome.unit.stop - outcome.unit.start, note if kept else f"{note} failed")


def _tasks(writer: RunWriter, spec: StudySpec, todo: Iterable[Unit]) -> Iterator[Task]:
    """Tasks, each written down as running when somebody takes it."""
    spread: dict[str, Mapping[str, NDArray[Any]] | None] = {}
    for unit in todo:
        if isinstance(unit.shard, int):
            task = Task(unit=unit)
        else:
            if unit.source not in spread:
                spread[unit.source] = _benign_std(writer, spec, unit.source)
            unit_of_difference = spread[unit.source]
            if unit_of_difference is None:
                why = "the benign inputs, whose spread is the unit of differences, are not finished"
                writer.ledger.record_all(unit.cells, unit.shard, "pending", reason=why)
                continue
            task = Task(unit=unit, benign_std=unit_of_difference)
        writer.ledger.record_all(unit.cells, unit.shard, "running")
        yield task


def _keep(writer: RunWriter, outcome: Outcome, job: Job) -> bool:
    """Write what a unit filled, then that it is done; or that it failed, and why."""
    unit, started = outcome.unit, time.monotonic()
    told: dict[str, Any] = {"worker": outcome.worker or None, **outcome.facts}
    problem = outcome.traceback
    if problem is None:
        try:
            if isinstance(unit.shard, int):
                writer.write(outcome.results, unit.start)
            else:
                for cell, dataset in outcome.followed.items():
                    writer.exemplar(cell, int(job.index[unit.start]), dataset)
        except Unavailable:
            raise
        except Exception:
            problem = traceback.format_exc()
    if problem is not None:
        writer.ledger.record_all(unit.cells, unit.shard, "failed", traceback=problem, **told)
        return False
    told |= {"seconds": round(outcome.seconds, 3), "stored": round(time.monotonic() - started, 4)}
    index = None if isinstance(unit.shard, int) else int(job.index[unit.start])
    writer.finish(unit.cells, unit.shard, index=index, **told)
    return True


def _benign_std(writer: RunWriter, spec: StudySpec, model: str) -> dict[str, NDArray[Any]] | None:
    """Standard deviation over benign inputs of every profile, (tap,): the unit of differences.

    ``None`` where the benign cell is not finished.
    """
    cell = Cell(model, BENIGN)
    if not all(writer.done(cell, number) for number, *_ in shards_of(spec)):
        return None
    found = open_run(writer.path).profiles(cell)
    return benign_spread({p: found[p].values for p in PROFILES})


def _note(writer: RunWriter, **facts: Any) -> None:
    """Add to what the manifest says of this start."""
    sessions = [dict(s) for s in writer.manifest.get("sessions", [])]
    if sessions:
        sessions[-1] |= {name: value for name, value in facts.items() if value is not None}
        writer.update_manifest(sessions=sessions)
