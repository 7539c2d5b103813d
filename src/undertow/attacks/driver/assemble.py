"""From the ends and records of batches to one trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from undertow.attacks.driver.changes import Changes
from undertow.attacks.driver.loop import Ends, Judge
from undertow.attacks.driver.record import Chunk, Recorder, blank
from undertow.attacks.parts.balls import distance
from undertow.attacks.parts.settings import settings_of
from undertow.axes import OUTCOMES, SKIPPED, SPENT, STUCK, SUCCEEDED, VANISHED
from undertow.losses import margin
from undertow.types import Attack, Goal, Images, Keep, Labels, Statistic, Trajectory

__all__ = ["Part", "assemble", "gather", "outcome_of"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """What a batch came to, a row a sample; ``records`` are ragged."""

    records: Chunk
    target: Int64[Tensor, " sample"]
    end: Images
    end_logits: Float[Tensor, "sample class"]
    success: Bool[Tensor, " sample"]
    steps: Int64[Tensor, " sample"]
    forwards: Int64[Tensor, " sample"]
    backwards: Int64[Tensor, " sample"]
    outcome: Int64[Tensor, " sample"]

    @classmethod
    def of(
        cls,
        ends: Ends,
        goal: Goal,
        owner: Int64[Tensor, " row"],
        oracle: Judge,
        recorder: Recorder,
    ) -> Part:
        """Choose a row for each sample: the nearest success, or the one nearest to success."""
        device = recorder.base.device
        won = _winners(ends, margin(ends.logits, goal), owner)
        there = won.to(device)
        rows = torch.arange(len(ends.x), device=device)
        notes = {name: note.to(device) for name, note in ends.notes.items()}
        last = recorder.chunk(rows, ends.step.to(device), ends.x, ends.logits, ends.notes)
        stalled = oracle.vanished.to(device) | notes.get("stalled", torch.zeros_like(rows)).bool()
        success = ends.success[won].to(device)
        target = torch.full_like(there, -1) if goal.target is None else goal.target[won].to(device)
        records = recorder.finish(there, last, notes)
        classes = ends.logits.shape[1] - goal.rejection
        return cls(
            records=replace(records, logits=records.logits[:, :classes]),
            target=target,
            end=ends.x[won].to(device),
            end_logits=ends.logits[won, :classes].to(device),
            success=success,
            steps=ends.step[won].to(device),
            forwards=oracle.tally.forwards,
            backwards=oracle.tally.backwards,
            outcome=outcome_of(
                success, stalled[there], ends.stuck[won].to(device), goal.void[won].to(device)
            ),
        )


def outcome_of(
    success: Keep, vanished: Keep, stuck: Keep, void: Keep | None = None
) -> Int64[Tensor, " sample"]:
    """How each sample ended, as a place in :data:`undertow.axes.OUTCOMES`.

    ``void``: whether there was nothing to reach.
    """
    place = {word: i for i, word in enumerate(OUTCOMES)}
    failed = torch.where(stuck, place[STUCK], place[SPENT])
    failed = torch.where(vanished, place[VANISHED], failed)
    if void is not None:
        failed = torch.where(void, place[SKIPPED], failed)
    return torch.where(success, place[SUCCEEDED], failed)


def _winners(
    ends: Ends, gap: Float[Tensor, " row"], owner: Int64[Tensor, " row"]
) -> Int64[Tensor, " sample"]:
    """The row of each sample: the nearest success, else the least margin; the first of equals."""
    samples = int(owner.max()) + 1
    success = ends.success.view(samples, -1)
    far = ends.distance.view(samples, -1)
    gap = gap.view(samples, -1)
    chosen = torch.where(success.any(dim=1), far.argmin(dim=1), gap.argmin(dim=1))
    return torch.arange(samples, device=owner.device) * success.shape[1] + chosen


def assemble(attack: Attack, x: Images, y: Labels, parts: Sequence[Part]) -> Trajectory:
    """One trajectory of all batches, in order; its images are still to be put in."""
    starts = torch.tensor([0, *(len(p.end) for p in parts)]).cumsum(0)
    names = {k: v for p in parts for k, v in p.records.notes.items()}
    whole: dict[str, Any] = {
        f.name: torch.cat([getattr(p, f.name) for p in parts])
        for f in fields(Part)
        if f.name != "records"
    }
    notes = {
        k: torch.cat([p.records.notes.get(k, blank(v, len(p.records.row))) for p in parts])
        for k, v in names.items()
    }
    return Trajectory(
        attack=attack.name,
        settings=settings_of(attack),
        origin="iterates",
        benign=x,
        label=y,
        sample=torch.cat([p.records.row + s for p, s in zip(parts, starts[:-1], strict=True)]),
        step=torch.cat([p.records.step for p in parts]),
        images=x.new_zeros(()).expand(int(sum(len(p.records.row) for p in parts)), *x.shape[1:]),
        logits=torch.cat([p.records.logits for p in parts]),
        notes=notes,
        l0=distance(whole["end"], x, "l0").to(torch.int64),
        l2=distance(whole["end"], x, "l2"),
        linf=distance(whole["end"], x, "linf"),
        **whole,
    )


def gather(parts: Sequence[Part], x: Images, *, statistic: bool = False) -> Any:
    """The images of all batches, or what was kept instead: a tensor, or changes from ``x``."""
    starts = torch.tensor([0, *(len(p.end) for p in parts)]).cumsum(0)
    kept = [p.records.images for p in parts]
    if isinstance(kept[0], Tensor) and statistic:
        return Statistic(torch.cat([k for k in kept if isinstance(k, Tensor)]))
    if isinstance(kept[0], Tensor):
        if len(kept) == 1:
            return kept[0]  # as large as all images: not copied once more
        return torch.cat([k for k in kept if isinstance(k, Tensor)])
    sparse = [
        k.moved(k.owner + s, x)
        for k, s in zip(kept, starts[:-1], strict=True)
        if isinstance(k, Changes)
    ]
    return Changes.joined(sparse, x)
