"""The driver: runs any attack on any batch, records what it is told to and counts every call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from undertow.attacks.driver.assemble import Part, assemble, gather
from undertow.attacks.driver.contract import check_attack
from undertow.attacks.driver.disk import Stream
from undertow.attacks.driver.inputs import (
    Target,
    as_images,
    as_labels,
    as_models,
    check_target,
    count_candidates,
    rule_of,
    targets,
    wrong_classes,
)
from undertow.attacks.driver.loop import Judge, run
from undertow.attacks.driver.open import open_oracle
from undertow.attacks.driver.oracle import frozen
from undertow.attacks.driver.record import Record, Recorder, Sighting
from undertow.errors import BadInput, Unavailable
from undertow.models.asking import plainly
from undertow.models.devices import even_parts, out_of_memory
from undertow.progress import SILENT, Progress
from undertow.seeds import derive
from undertow.types import Attack, Draws, Goal, Images, Labels, Precision, Trajectory

__all__ = ["Record", "Target", "craft", "draws_for"]

COMPONENTS = {"cpu": 2**18}
"""Components a batch by default: 85 images of 3 × 32 × 32. A processor gains nothing from more."""
ELSEWHERE = 2**20
"""The same for accelerators: 341 images of 3 × 32 × 32, 6 of 3 × 224 × 224."""


EVERYTHING: Final = Record(at_most=256)


@plainly
def craft(
    attack: Attack,
    model: nn.Module | Sequence[nn.Module],
    x: Images,
    y: Labels,
    *,
    target: Target = None,
    record: Record | None = None,
    seed: int | Draws = 0,
    batch_size: int | None = None,
    precision: Precision = "float32",
    progress: Progress = SILENT,
    stream_to: str | Path | None = None,
    watch: Callable[[Sighting], None] | None = None,
) -> Trajectory:
    """Attack inputs, and keep what the attack did on the way.

    Each input is its own: its iterates, its random numbers and its counts do not depend on what
    else is in the batch. An input at which the goal is reached already (for an untargeted attack:
    that the model gets wrong) succeeds at step 0, at distance 0, after one call. A model in half
    precision is attacked in float32. When memory runs out, the batch is halved.

    Args:
        attack: an attack, for example ``undertow.attacks.IGSM()``.
        model: gives logits for images in [0, 1]; in evaluation mode. Several models are attacked
            at once (see :class:`undertow.attacks.Ensemble`). On a defended network
            (:class:`undertow.models.Defended`) the attack sees the defence: an input that is
            rejected is no success.
        x: benign images (sample, channel, height, width) in [0, 1].
        y: their labels.
        target: ``"untargeted"``, ``"easiest"`` (all wrong classes at once, or the 8 likeliest
            where there are more than 64 classes; where the attack stops at success the first to
            succeed wins and its siblings retire, else the nearest success; if none succeeds, the
            one nearest to its goal), ``"least_likely"``,
            ``"second"``, a class, or one class an input. By default the attack's own:
            ``"untargeted"``, and ``"easiest"`` for attacks that need a target.
        record: which iterates to keep; by default all, at most 256 an input.
        seed: a number, from which each input's draws are derived by its place in the batch; or
            draws (:func:`draws_for` makes them from places in a data set).
        batch_size: rows at once; with ``"easiest"`` an input takes a row for each wrong class.
        precision: ``"bf16"``: gradients in bfloat16, which pays where the processor has matrix
            units for it, or the accelerator (a warning where not). Every success is verified
            and every distance measured in the model's own type; the logits of iterates on the way
            have three digits.
        progress: told of inputs done.
        stream_to: a new directory to which records are written as they come, so that memory does
            not grow with the number of inputs; :func:`undertow.attacks.open_trajectory` reads it.
        watch: called with every iterate (:class:`undertow.attacks.driver.record.Sighting`) before
            the next is made; what it raises ends the attack.

    Raises:
        BadInput: for arguments that do not fit, with what was given and what is allowed.
        Unavailable: if memory does not suffice for a single input.
        Foreign: if ``stream_to`` exists.
    """
    models = as_models(model)
    x = as_images(x)
    check_attack(attack)
    if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
        raise BadInput(f"batch_size is {batch_size!r}; it must be a whole number of at least 1")
    if not isinstance(record, Record | None):
        raise BadInput(f"record is {record!r}; give Record(...) or None")
    rule = rule_of(attack, target)
    if not isinstance(seed, Draws | int):
        raise BadInput(f"the seed is {seed!r}; it must be a whole number, or draws")
    draws = seed if isinstance(seed, Draws) else draws_for(seed, range(len(x)))
    if len(draws) != len(x):
        raise BadInput(f"there are draws for {len(draws)} inputs; there are {len(x)} inputs")
    record = record or EVERYTHING
    if stream_to is not None and record.keep is not None:
        raise BadInput("stream_to writes images; Record(keep=...) keeps none: give one of them")
    with frozen(models):
        oracle = open_oracle(attack, models, x, precision)
        answers = oracle.classes - oracle.rejecting
        y = as_labels(y, len(x), answers).to(x.device)
        fixed = check_target(rule, y, answers)
        job = _Job(attack, oracle, x, y, fixed, record, draws, watch)
        if stream_to is None:
            parts = _batches(job, batch_size, progress, _as_it_is)
            return assemble(attack, x, y, parts).keeping(
                gather(parts, x, statistic=job.record.keep is not None)
            )
        with Stream(stream_to) as stream:
            whole = assemble(attack, x, y, _batches(job, batch_size, progress, stream.take))
            return stream.finish(whole)


def _as_it_is(part: Part) -> Part:
    return part


def draws_for(seed: int, indices: Sequence[int] | Tensor) -> Draws:
    """Random numbers of inputs that are known by their indices in a data set.

    Args:
        seed: the one seed.
        indices: an index an input; equal indices draw equal numbers.
    """
    return Draws(torch.tensor([derive(seed, "craft", int(i)) for i in indices], dtype=torch.int64))


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """All that stays the same from batch to batch."""

    attack: Attack
    oracle: Judge
    x: Images
    y: Labels
    rule: Any
    record: Record
    draws: Draws
    watch: Callable[[Sighting], None] | None

    @property
    def siblings(self) -> int:
        """Rows an input."""
        return count_candidates(self.answers) if self.rule == "easiest" else 1

    @property
    def answers(self) -> int:
        """Logits that are those of classes; one more may be that of rejection."""
        return self.oracle.classes - self.oracle.rejecting

    @property
    def confidence(self) -> float:
        """The lead that the attack asks for."""
        return float(self.attack.confidence)


def _batches(
    job: _Job, batch_size: int | None, progress: Progress, store: Callable[[Part], Part]
) -> list[Part]:
    """All inputs, batch by batch, with smaller batches once memory has run out."""
    room = COMPONENTS.get(job.oracle.device.type, ELSEWHERE)
    rows = batch_size or max(1, room // job.x[0].numel())
    size = max(1, rows // job.siblings)
    parts: list[Part] = []
    start, n = 0, len(job.x)
    with progress(f"craft {job.attack.name}", n, "inputs") as advance:
        while start < n:
            stop = even_parts(start, n, size)[0][1]
            try:
                part = _batch(job, start, stop)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if stop - start == 1:
                    raise Unavailable("out of memory, even with one input at a time") from error
                size = (stop - start) // 2
                continue
            parts.append(store(part))
            advance(stop - start)
            start = stop
    return parts


def _batch(job: _Job, start: int, stop: int) -> Part:
    """One batch from step 0 to its end."""
    oracle = job.oracle
    x, y = job.x[start:stop].to(oracle.device), job.y[start:stop].to(oracle.device)
    oracle.open(len(x), start)
    logits, may = oracle.benign(x), oracle.rejecting
    classes = logits[:, : job.answers]
    owner = torch.arange(len(x), device=x.device)
    if job.rule == "easiest":
        owner = owner.repeat_interleave(job.siblings)
        goal = Goal(y[owner], wrong_classes(y, classes).flatten(), job.confidence, may)
        oracle.spread(owner.cpu())
    else:
        rule = job.rule[start:stop].to(y.device) if isinstance(job.rule, Tensor) else job.rule
        goal = Goal(y, targets(rule, classes, y), job.confidence, may)
    logits = oracle.verdict(x[owner], logits[owner], goal)
    here = owner.to(job.x.device)
    sparse = job.attack.norm == "l0" and job.record.keep is None
    recorder = Recorder(job.record, job.x[start:stop][here], sparse)
    recorder.begin(logits)
    draws = job.draws[torch.arange(start, stop)][owner]
    bound = partial(_bound, job, start + owner)
    watch = None if job.watch is None else partial(_told, job.watch, start + owner.cpu())
    ends = run(bound, oracle, x[owner], logits, goal, draws, owner, recorder, watch)
    return Part.of(ends, goal, owner, oracle, recorder)


def _told(watch: Callable[[Sighting], None], sample: Tensor, seen: Sighting) -> None:
    """Tell a watcher, in the numbers of the whole batch."""
    watch(replace(seen, sample=sample[seen.row]))


def _bound(job: _Job, sample: Int64[Tensor, " row"], rows: Int64[Tensor, " moving"]) -> Attack:
    """The attack for some rows, where its settings were given one an input."""
    return job.attack.for_rows(sample[rows], len(job.x))
