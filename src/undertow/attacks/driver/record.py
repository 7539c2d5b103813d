"""What is kept of an attack: a policy, and the recorder that follows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from undertow.attacks.driver.changes import Changes
from undertow.errors import BadInput
from undertow.types import Images, Keep, Logits

__all__ = ["Chunk", "Record", "Recorder", "Sighting", "blank"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Which iterates are kept. The benign input (step 0) always is.

    Args:
        every: every so many steps; ``None``: none for its number.
        endpoints: the iterate where the attack ended, whatever its step.
        success: the iterate that first reached the goal, whatever its step.
        at_most: at most so many records an input (at least 3). Steps are thinned by doubling
            their spacing as the attack goes on.
        keep: a statistic that is kept of each iterate instead of its image: a function of iterates
            and their benign inputs, (row, channel, height, width) each, to (row, ...);
            :attr:`undertow.types.Trajectory.kept` holds it, record by record.
    """

    every: int | None = 1
    endpoints: bool = True
    success: bool = False
    at_most: int | None = None
    keep: Callable[[Images, Images], Tensor] | None = None

    def __post_init__(self) -> None:
        if self.keep is not None and not callable(self.keep):
            raise BadInput(
                f"record: keep is {self.keep!r}; it must be a function of iterates and their "
                "benign inputs, or None"
            )
        for name, least in (("every", 1), ("at_most", 3)):
            given = getattr(self, name)
            if given is not None and (type(given) is not int or given < least):
                raise BadInput(
                    f"record: {name} is {given!r}; it must be a whole number of at least {least}, "
                    "or None"
                )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sighting:
    """What a watcher of an attack is shown after each step.

    Args:
        step: the attack's step.
        row: the rows that moved; an input has one, or one a wrong class with ``"easiest"``.
        sample: the inputs that they belong to.
        x: where they are, (row, channel, height, width). Copy it to keep it.
        logits: the model's answers there, (row, class).
        reached: whether each is where its goal is reached, (row,).
    """

    step: int
    row: Int64[Tensor, " moving"]
    sample: Int64[Tensor, " moving"]
    x: Images
    logits: Logits
    reached: Keep


def blank(note: Tensor, rows: int) -> Tensor:
    """A note that says nothing: NaN, -1 or False."""
    shape = (rows, *note.shape[1:])
    if note.is_floating_point():
        return torch.full(shape, torch.nan, dtype=note.dtype)
    return torch.full(shape, 0 if note.dtype == torch.bool else -1, dtype=note.dtype)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chunk:
    """Some records, a row each; ``row`` says whose."""

    row: Int64[Tensor, " record"]
    step: Int64[Tensor, " record"]
    images: Float[Tensor, "record ..."] | Changes
    logits: Float[Tensor, "record class"]
    notes: Mapping[str, Tensor]

    def __getitem__(self, records: Int64[Tensor, " record"]) -> Chunk:
        old = self.images
        return Chunk(
            row=self.row[records],
            step=self.step[records],
            images=old.take(records) if isinstance(old, Changes) else old[records],
            logits=self.logits[records],
            notes={name: note[records] for name, note in self.notes.items()},
        )


@dataclass(slots=True, eq=False)
class Recorder:
    """Keeps iterates of one batch of rows as the policy says.

    Args:
        policy: what to keep.
        base: the benign images of the rows.
        sparse: keep changes rather than images.
    """

    policy: Record
    base: Images
    sparse: bool
    regular: list[Chunk] = field(default_factory=list)
    special: list[Chunk] = field(default_factory=list)
    stride: int = 1

    def __post_init__(self) -> None:
        self.stride = self.policy.every or 1

    def begin(self, logits: Logits) -> None:
        """Step 0 of all rows."""
        rows = torch.arange(len(self.base))
        self.special.append(self.chunk(rows, 0, self.base, logits, {}))

    def see(
        self,
        row: Int64[Tensor, " moving"],
        step: int,
        x: Images,
        logits: Logits,
        notes: Mapping[str, Tensor],
        first: Keep,
    ) -> None:
        """An iterate of the rows that move; ``first`` marks those that just reached the goal."""
        if self.policy.every is not None and step % self.stride == 0:
            self.regular.append(self.chunk(row, step, x, logits, notes))
            self._thin(row, step)
        if self.policy.success and first.any():
            at = torch.nonzero(first).flatten()
            some = {name: note[at] for name, note in notes.items()}
            self.special.append(self.chunk(row[at.cpu()], step, x[at], logits[at], some))

    def chunk(
        self,
        row: Int64[Tensor, " record"],
        step: int | Int64[Tensor, " record"],
        x: Images,
        logits: Logits,
        notes: Mapping[str, Tensor],
    ) -> Chunk:
        """These rows as records: a copy on the device of the benign images."""
        return Chunk(
            row=row,
            step=step if isinstance(step, Tensor) else torch.full((len(row),), step),
            images=self._images(row, x),
            logits=_copied(logits, self.base),
            notes={name: _copied(note, self.base) for name, note in notes.items()},
        )

    def _images(self, row: Int64[Tensor, " record"], x: Images) -> Any:
        """What is kept of the images."""
        keep = self.policy.keep
        if keep is not None:
            made = keep(_copied(x, self.base), self.base[row.to(self.base.device)])
            if not isinstance(made, Tensor) or made.ndim < 1 or len(made) != len(x):
                got = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
                raise BadInput(f"record: keep gave {got} for {len(x)} iterates; a row each is due")
            return made.detach()
        if self.sparse:
            return Changes.of(x.detach().to(self.base.device), self.base, row)
        return _copied(x, self.base)

    def _thin(self, row: Int64[Tensor, " moving"], step: int) -> None:
        """Double the spacing where the rows that still move have too many records.

        Rows that are done keep theirs: what is kept of an input depends on its own steps only.
        """
        most = self.policy.at_most
        if most is None or step // self.stride <= most - 2 - self.policy.success:
            return
        self.stride *= 2
        thinned = []
        for chunk in self.regular:
            odd = (chunk.step % self.stride != 0) & torch.isin(chunk.row, row)
            thinned.append(chunk[torch.nonzero(~odd).flatten()] if odd.any() else chunk)
        self.regular = [chunk for chunk in thinned if len(chunk.row)]

    def finish(
        self, winners: Int64[Tensor, " sample"], ends: Chunk, notes: Mapping[str, Tensor]
    ) -> Chunk:
        """The records of the winning rows, ordered by sample, then step; rows become samples.

        Args:
            winners: the row of each sample.
            ends: where each row ended.
            notes: one note of each name, for its shape and type.
        """
        parts = [*self.regular, *self.special, *([ends] if self.policy.endpoints else [])]
        row, step = torch.cat([p.row for p in parts]), torch.cat([p.step for p in parts])
        sample_of = torch.full((len(self.base),), -1)
        sample_of[winners] = torch.arange(len(winners))
        key = sample_of[row] * (int(step.max()) + 1) + step
        order = key.argsort(stable=True)
        order = order[sample_of[row[order]] >= 0]
        new = torch.ones_like(order, dtype=torch.bool)
        new[1:] = key[order][1:] != key[order][:-1]
        whole = _join([_named(p, notes) for p in parts], order[new], self.base)
        owner = sample_of[whole.row]
        kept = whole.images
        if isinstance(kept, Changes):
            kept = kept.moved(owner, self.base[winners])
        return replace(whole, row=owner, images=kept)


def _copied(values: Tensor, like: Tensor) -> Tensor:
    """A copy, since an attack may go on with its own tensor in place."""
    return values.detach().to(like.device, copy=True)


def _named(chunk: Chunk, notes: Mapping[str, Tensor]) -> Chunk:
    """The chunk with every note, blank where it had none."""
    rows = len(chunk.row)
    return replace(chunk, notes={k: chunk.notes.get(k, blank(v, rows)) for k, v in notes.items()})


def _join(parts: list[Chunk], order: Int64[Tensor, " record"], base: Images) -> Chunk:
    """The records ``order`` of all parts, in that order, counted through from the first part."""
    images = [p.images for p in parts]
    sparse = [i for i in images if isinstance(i, Changes)]
    dense = [i for i in images if isinstance(i, Tensor)]
    notes = {k: torch.cat([p.notes[k] for p in parts])[order] for k in parts[0].notes}
    return Chunk(
        row=torch.cat([p.row for p in parts])[order],
        step=torch.cat([p.step for p in parts])[order],
        images=Changes.joined(sparse, base).take(order) if sparse else _placed(dense, order),
        logits=torch.cat([p.logits for p in parts])[order],
        notes=notes,
    )


def _placed(parts: list[Tensor], order: Int64[Tensor, " record"]) -> Tensor:
    """``torch.cat(parts)[order]``, with each image moved once."""
    counts = [len(p) for p in parts]
    place = torch.full((sum(counts),), -1)
    place[order] = torch.arange(len(order))
    placed = parts[0].new_empty(len(order), *parts[0].shape[1:])
    for images, at in zip(parts, torch.split(place, counts), strict=True):
        wanted = at >= 0
        placed[at[wanted].to(placed.device)] = (
            images if wanted.all() else images[wanted.to(images.device)]
        )
    return placed
