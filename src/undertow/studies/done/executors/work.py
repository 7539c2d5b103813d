"""Working on a job in whatever process: the workshop, built once, and one task after the other."""

from __future__ import annotations

import gc
import os
import socket
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from threading import RLock
from typing import Any, ClassVar, Final

import numpy as np
import torch

from undertow.errors import BadInput, Unavailable
from undertow.information.readers import Reader, Readers
from undertow.models import fingerprint
from undertow.models.devices import even_parts, out_of_memory
from undertow.registry import load_plugins, plugin_hashes
from undertow.studies.asked.inputs import answered, inputs_of, models_of, suited, training_of
from undertow.studies.asked.plan import Unit
from undertow.studies.asked.spec import StudySpec
from undertow.studies.done.executors.job import Do, Job, Outcome, Results, Task
from undertow.studies.done.manifest import versions
from undertow.studies.done.workshop import Workshop

__all__ = ["InProcess", "accept", "attempt", "fill", "forget", "job_of", "me"]

_COMPUTING: Final = ("undertow", "torch", "numpy", "scipy")
"""Packages whose version can change a number."""
_BUSY: Final = RLock()
"""A process does one task at a time: hooks on a model would catch another task's outputs."""
_shops: dict[str, Workshop] = {}


@cache
def me() -> str:
    """This process, for the ledger."""
    return f"{socket.gethostname()}:{os.getpid()}"


def job_of(
    shop: Workshop, key: str, hashes: Mapping[str, Any], data_dir: str | Path | None = None
) -> Job:
    """A workshop as names and numbers, from which other processes build the same."""
    probes = {name: shop.probe(name) for name in shop.spec.models}
    readers = {name: next(iter(probe.meters.values())).readers for name, probe in probes.items()}
    known = versions()
    return Job(
        key=key,
        spec=shop.spec.plain(),
        index=shop.index,
        strengths=shop.strengths,
        readers={name: _packed(found) for name, found in readers.items() if found is not None},
        hashes=hashes,
        versions={name: known[name] for name in _COMPUTING},
        device=shop.device,
        data_dir=None if data_dir is None else str(Path(data_dir).resolve()),
    )


def _packed(readers: Readers) -> dict[str, Any]:
    taps = {
        tap: {
            "weight": reader.weight.cpu().numpy(),
            "bias": reader.bias.cpu().numpy(),
            "cross_entropy": reader.cross_entropy,
            "accuracy": reader.accuracy,
            "temperature": reader.temperature,
            "penalty": reader.penalty,
        }
        for tap, reader in readers.by_tap.items()
    }
    return {"taps": taps, "prior": readers.prior.cpu().numpy()}


def _unpacked(packed: Mapping[str, Any]) -> Readers:
    by_tap = {
        tap: Reader(
            weight=torch.tensor(found["weight"]),
            bias=torch.tensor(found["bias"]),
            **{k: v for k, v in found.items() if k not in ("weight", "bias")},
        )
        for tap, found in packed["taps"].items()
    }
    return Readers(by_tap, torch.tensor(packed["prior"]))


def accept(job: Job, shop: Workshop | None = None) -> Workshop:
    """The workshop of a job: built when first asked for, unless it is given.

    Raises:
        UndertowError: if data or models are not here, or differ from those of the run.
    """
    with _BUSY:
        if job.key not in _shops:
            _shops[job.key] = shop or _build(job)
        return _shops[job.key]


def forget(key: str) -> None:
    """Let go of a job's data and models."""
    with _BUSY:
        _shops.pop(key, None)


def _build(job: Job) -> Workshop:
    plugins = job.spec.get("plugins", ())
    _same("plugins", job.hashes.get("plugins", {}), plugin_hashes(plugins))
    load_plugins(plugins)
    spec = StudySpec(**job.spec)
    here = versions()
    _same("versions", job.versions, {name: here[name] for name in job.versions})
    models = models_of(spec, job.device, probe=False)
    data = suited(inputs_of(spec, job.data_dir), spec, models, job.device)
    data = answered(data, spec, models, job.device)
    train = suited(training_of(spec, data, job.data_dir), spec, models, job.device)
    weights = {name: fingerprint(model) for name, model in models.items()}
    _same("weights", job.hashes.get("weights", weights), weights)
    images = {part.split: part.fingerprint for part in (data, train)}
    _same("data", job.hashes.get("data", images), images)
    readers = {name: _unpacked(found) for name, found in job.readers.items()}
    return Workshop(
        spec=spec, train=train, data=data, index=np.asarray(job.index), models=models,
        device=job.device, strengths=dict(job.strengths), readers=readers,
    )  # fmt: skip


def _same(what: str, wanted: Mapping[str, str], here: Mapping[str, str]) -> None:
    """Refuse to compute with something else than the run did."""
    for name, value in wanted.items():
        if here.get(name) != value:
            raise BadInput(
                f"worker {me()} has other {what} of '{name}': {here.get(name, 'none')[:16]}, "
                f"where the run has {value[:16]}"
            )


def attempt(job: Job, task: Task) -> Outcome:
    """Do one task; what goes wrong on the way is in the outcome.

    Raises:
        UndertowError: if this process cannot work on the job at all.
    """
    with _BUSY:
        shop = accept(job)
        started = time.monotonic()
        unit, most = task.unit, task.most
        try:
            if isinstance(unit.shard, int):
                results, facts = _filled(shop, unit, most)
                done = Outcome(unit=unit, results=results, facts=facts, worker=me())
            else:
                followed = shop.follow(unit, task.benign_std)
                done = Outcome(unit=unit, followed=followed, worker=me())
        except Unavailable:
            raise
        except Exception:
            return Outcome(
                unit=unit, traceback=traceback.format_exc(), worker=me(),
                seconds=time.monotonic() - started,
            )  # fmt: skip
        return replace(done, seconds=time.monotonic() - started)


def _filled(shop: Workshop, unit: Unit, most: int | None) -> tuple[Results, dict[str, Any]]:
    kind = (unit.source, unit.attack)
    most = min(filter(None, (most, shop.at_once.get(kind), unit.stop - unit.start)))
    results, most = fill(shop, unit, most)
    if most == unit.stop - unit.start:
        return results, {}
    shop.at_once[kind] = most  # the next shard of this kind need not run into the same wall
    return results, {"inputs_at_once": most}


def fill(shop: Workshop, unit: Unit, most: int) -> tuple[Results, int]:
    """One shard, in parts of at most ``most`` inputs; half as many whenever memory runs out.

    Returns:
        What it fills, and how many inputs were worked on at once in the end.
    """
    while True:
        parts: list[Results] = []
        try:
            for start, stop, kept in _parts(unit.start, unit.stop, most):
                part = shop.fill(replace(unit, start=start, stop=stop))
                parts.append(
                    {key: {n: v[kept] for n, v in rows.items()} for key, rows in part.items()}
                )
            return _joined(parts), most
        except Exception as problem:
            if not out_of_memory(problem) or most <= unit.least:
                raise
        # Only here, outside of the handler, is what the failed attempt held let go of.
        parts.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        most = (most + 1) // 2


def _parts(start: int, stop: int, most: int) -> list[tuple[int, int, slice]]:
    """The range in as few parts as can be, as even as can be; and the rows to keep of each.

    Pairs stay together, for the transplants. As long as two inputs fit, none is worked on alone,
    but beside a neighbour: kernels for one input round differently, and results shall not depend
    on how much memory there was.
    """
    if most == 1:
        return [(row, row + 1, slice(None)) for row in range(start, stop)]
    parts = []
    pairs = even_parts(start // 2, (stop + 1) // 2, most // 2)
    for a, b in ((max(start, 2 * one), min(stop, 2 * end)) for one, end in pairs):
        if b - a > 1 or stop - start == 1:
            parts.append((a, b, slice(None)))
        elif a > start:
            parts.append((a - 1, b, slice(1, None)))
        else:
            parts.append((a, b + 1, slice(1)))
    return parts


def _joined(parts: Sequence[Results]) -> Results:
    """Parts of a shard, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return {
        key: {name: np.concatenate([part[key][name] for part in parts]) for name in rows}
        for key, rows in parts[0].items()
    }


@dataclass(frozen=True, slots=True)
class InProcess:
    """One shard after the other, in this process."""

    name: ClassVar[str] = "in_process"

    @contextmanager
    def at_work(self, job: Job) -> Iterator[Do]:
        """Work here; see :class:`~undertow.studies.done.executors.Executor`."""
        accept(job)

        def do(tasks: Iterable[Task]) -> Iterator[Outcome]:
            return (attempt(job, task) for task in tasks)

        try:
            yield do
        finally:
            forget(job.key)
