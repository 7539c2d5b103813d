"""The loop around an attack: judge, record, retire, until no row moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from undertow.attacks.driver.oracle import Tally
from undertow.attacks.driver.record import Recorder, Sighting, blank
from undertow.attacks.parts.balls import distance
from undertow.types import Attack, Draws, Goal, Images, Iterate, Keep, Logits, Norm, Oracle

__all__ = ["Ends", "Judge", "run"]


class Judge(Oracle, Protocol):
    """The driver's side of an oracle."""

    device: torch.device
    rejecting: bool

    @property
    def rows(self) -> Tensor:
        """The rows that move."""
        ...

    @property
    def vanished(self) -> Tensor:
        """Of each row, whether its last gradient was zero everywhere."""
        ...

    @property
    def tally(self) -> Tally:
        """What was asked for each sample."""
        ...

    def open(self, samples: int, first: int) -> None:
        """Count anew, for a batch of which the first is number ``first`` of all."""
        ...

    def spread(self, owner: Int64[Tensor, " row"]) -> None:
        """From now on rows belong to the samples ``owner``."""
        ...

    def benign(self, x: Images) -> Logits:
        """The answers at the benign inputs."""
        ...

    def judge(self, x: Images) -> Logits:
        """One forward call whose graph serves the next gradient at ``x``."""
        ...

    def verdict(self, x: Images, logits: Logits | None, goal: Goal) -> Logits:
        """The logits by which success at ``x`` is told: those given, or else asked for now."""
        ...

    def keep(self, mask: Keep) -> None:
        """Only these of the moving rows go on."""
        ...


@dataclass(slots=True, eq=False)
class Ends:
    """Where each row stands: its nearest success so far, or where it was left.

    Of an attack that ``spends`` its budget it is the last success: such an attack goes on to raise
    the loss inside its ball, not to come nearer.

    Args:
        x: (row, channel, height, width).
        logits: (row, class).
        success: whether the goal is reached at ``x``.
        step: the step of ``x``.
        distance: from the benign input in the attack's norm; infinite without success.
        stuck: whether the row ended with nothing left to move.
        notes: the notes of ``x``.
    """

    x: Images
    logits: Logits
    success: Keep
    step: Int64[Tensor, " row"]
    distance: Float[Tensor, " row"]
    stuck: Keep
    notes: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, x0: Images, logits: Logits, goal: Goal) -> Ends:
        """Everybody at step 0; who is there already is done, at distance 0."""
        reached = goal.reached(logits) & ~goal.void
        return cls(
            x=x0.clone(),
            logits=logits.clone(),
            success=reached,
            step=torch.zeros(len(x0), dtype=torch.int64, device=x0.device),
            distance=torch.where(reached, 0.0, torch.inf).to(x0),
            stuck=torch.zeros_like(reached),
        )

    def put(self, rows: Tensor, at: Tensor, it: Iterate, logits: Logits) -> None:
        """Rows ``rows`` stand where rows ``at`` of the iterate are."""
        self.x[rows], self.logits[rows] = _some(it.x, at), logits[at]
        self.step[rows] = it.step
        for name, note in it.notes.items():
            if name not in self.notes:
                self.notes[name] = blank(note, len(self.x)).to(self.x.device)
            self.notes[name][rows] = note[at].to(self.x.device)


@dataclass(slots=True, eq=False)
class _Race:
    """The rows that move, and whose siblings they are."""

    attack: Attack
    x0: Images
    goal: Goal
    owner: Int64[Tensor, " row"]
    ends: Ends
    recorder: Recorder
    norm: Norm
    moving: Int64[Tensor, " moving"]
    samples: int
    watch: Callable[[Sighting], None] | None
    step: int = 0

    def take(self, it: Iterate, logits: Logits) -> Keep:
        """Note one iterate; which rows go on."""
        assert it.step > self.step, f"{self.attack.name}: step {it.step} after {self.step}"
        assert len(it.x) == len(self.moving), f"{self.attack.name}: rows came or went"
        self.step = it.step
        reached = self.goal[self.moving].reached(logits)
        first = reached & ~self.ends.success[self.moving]
        self.recorder.see(self.moving.cpu(), it.step, it.x, logits, it.notes, first)
        if self.watch is not None:
            rows = self.moving.cpu()
            self.watch(
                Sighting(
                    step=it.step, row=rows, sample=rows, x=it.x.detach(), reached=reached,
                    logits=logits.detach()[:, : logits.shape[1] - self.goal.rejection],
                )
            )  # fmt: skip
        if reached.any():
            self._success(it, logits, torch.nonzero(reached).flatten())
        keep = self._going_on(it)
        left = torch.nonzero(~keep & ~self.ends.success[self.moving]).flatten()
        if len(left):
            self.ends.put(self.moving[left], left, it, logits)
        return keep

    def leave(self, it: Iterate, logits: Logits, keep: Keep) -> None:
        """The attack is over: who was still moving and has no success ends here."""
        left = torch.nonzero(keep & ~self.ends.success[self.moving]).flatten()
        self.ends.put(self.moving[left], left, it, logits)

    def _success(self, it: Iterate, logits: Logits, at: Tensor) -> None:
        rows = self.moving[at]
        if not self.attack.spends:
            far = distance(_some(it.x, at), _some(self.x0, rows), self.norm)
            better = far < self.ends.distance[rows]
            at, rows = at[better], rows[better]
            self.ends.distance[rows] = far[better]
        self.ends.put(rows, at, it, logits)
        self.ends.success[rows] = True

    def close(self) -> None:
        """The distances of successes that were not ranked by them: those of a spent budget."""
        if self.attack.spends:
            rows = torch.nonzero(self.ends.success).flatten()
            self.ends.distance[rows] = distance(self.ends.x[rows], self.x0[rows], self.norm)

    def _going_on(self, it: Iterate) -> Keep:
        done = torch.zeros(len(self.moving), dtype=torch.bool, device=self.x0.device)
        if it.finished is not None:
            done |= it.finished.to(done.device)
        if it.stuck is not None:
            stuck = it.stuck.to(done.device)
            self.ends.stuck[self.moving] = stuck
            done |= stuck
        if self.attack.stops_at_success:
            won = torch.zeros(self.samples, dtype=torch.bool, device=done.device)
            won[self.owner[self.ends.success]] = True
            done |= won[self.owner[self.moving]]
        return ~done


def _some(values: Tensor, at: Tensor) -> Tensor:
    """``values[at]`` for rows in order, without a copy where they are all."""
    return values if len(at) == len(values) else values[at]


def run(
    bound: Callable[[Tensor], Attack],
    oracle: Judge,
    x0: Images,
    logits: Logits,
    goal: Goal,
    draws: Draws,
    owner: Int64[Tensor, " row"],
    recorder: Recorder,
    watch: Callable[[Sighting], None] | None = None,
) -> Ends:
    """Run an attack on a batch of rows to the end.

    Rows with one owner are siblings (the wrong classes of one input): where the attack stops at
    success, the first success of one retires all.

    Args:
        bound: gives the attack for some of the rows.
        oracle: the model, open for these rows.
        x0: benign inputs, a row each.
        logits: the model's answers there.
        goal: what to reach.
        draws: random numbers, row by row.
        owner: the sample that a row belongs to.
        recorder: keeps what it is told to.
        watch: shown every iterate; rows are those of the batch.
    """
    ends = Ends.of(x0, logits, goal)
    samples = int(owner.max()) + 1
    idle = torch.zeros(samples, dtype=torch.bool, device=x0.device)
    idle[owner[ends.success | goal.void]] = True
    start = ~idle[owner]
    if not start.any():
        return ends
    moving = torch.nonzero(start).flatten()
    attack = bound(moving)
    race = _Race(attack, x0, goal, owner, ends, recorder, attack.norm, moving, samples, watch)
    oracle.keep(start)
    steps = attack.iterates(oracle, x0[moving], goal[moving], draws=draws[moving])
    try:
        it = next(steps)
        while True:
            logits = oracle.verdict(it.x, it.logits, goal[race.moving])
            keep = race.take(it, logits)
            if not keep.any():
                break
            oracle.keep(keep)
            previous = it
            try:
                it = steps.send(keep)
            except StopIteration:
                race.leave(previous, logits, keep)
                break
            race.moving = race.moving[keep]
    finally:
        steps.close()
    race.close()
    return ends
