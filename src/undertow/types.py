"""Frozen records and protocols that the rooms share; shapes are jaxtyping annotations.

Axis words are those of :mod:`undertow.axes`; ``record`` counts the recorded iterates of a
trajectory, ``position`` the grid points of a map in row-major order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, cast, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from undertow.axes import OUTCOMES, VANISHED, tally_of_outcomes
from undertow.errors import BadInput
from undertow.seeds import derive

__all__ = [
    "Attack", "Draws", "Estimator", "Goal", "Images", "Iterate", "Iterates", "Keep", "Labels",
    "Logits", "Norm", "Oracle", "Statistic", "Tap", "Trajectory",
]  # fmt: skip

Images: TypeAlias = Float[Tensor, "sample channel height width"]
"""Inputs in [0, 1]."""
Labels: TypeAlias = Int64[Tensor, " sample"]
Logits: TypeAlias = Float[Tensor, "sample class"]
Keep: TypeAlias = Bool[Tensor, " sample"]
"""Which rows of the batch go on."""
Norm: TypeAlias = Literal["l0", "l2", "linf"]
Precision: TypeAlias = Literal["float32", "bf16"]
"""Of the gradients of an attack; successes and distances are told by the model as it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """Random numbers that belong to a sample, not to a batch.

    Row ``i`` is drawn from a generator seeded with ``seeds[i]``, so a sample's numbers do not
    depend on which other samples share its batch, nor on the device.

    Args:
        seeds: one seed a sample (:func:`undertow.seeds.derive`).
    """

    seeds: Int64[Tensor, " sample"]

    def __getitem__(self, keep: Tensor) -> Draws:
        return Draws(self.seeds[keep.to(self.seeds.device)])

    def __len__(self) -> int:
        return len(self.seeds)

    def again(self, number: int) -> Draws:
        """Other draws of the same samples, for their start ``number``; of start 0 these."""
        if number == 0:
            return self
        seeds = [derive(int(seed), "again", number) for seed in self.seeds]
        return Draws(torch.tensor(seeds, dtype=torch.int64).to(self.seeds.device))

    def _stack(self, draw: Any, shape: Sequence[int]) -> Tensor:
        rows = [
            draw(
                tuple(shape),
                generator=torch.Generator().manual_seed(int(seed)),
                dtype=torch.float32,
            )
            for seed in self.seeds
        ]
        return torch.stack(rows) if rows else torch.empty((0, *shape), dtype=torch.float32)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers of shape ``(sample, *shape)``, float32 on the CPU."""
        return self._stack(torch.randn, shape)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Uniform numbers in [0, 1) of shape ``(sample, *shape)``, float32 on the CPU."""
        return self._stack(torch.rand, shape)


@dataclass(frozen=True, slots=True, eq=False)
class Goal:
    """What an attack is to reach, row by row.

    Args:
        label: the true class.
        target: the class to reach; ``None`` for an untargeted attack (any class but the true one).
        confidence: by how many logits at least the answer has to lead.
        rejection: whether the last logit is that of rejection, which is no answer and no success.
    """

    label: Labels
    target: Labels | None = None
    confidence: float = 0.0
    rejection: bool = False

    def __getitem__(self, keep: Tensor) -> Goal:
        target = None if self.target is None else self.target[keep]
        return Goal(self.label[keep], target, self.confidence, self.rejection)

    def __len__(self) -> int:
        return len(self.label)

    @property
    def void(self) -> Keep:
        """Whether a row's target is its own label: nothing to reach there. Shape (sample,)."""
        return (
            torch.zeros_like(self.label, dtype=torch.bool)
            if self.target is None
            else (self.target == self.label)
        )

    def reached(self, logits: Logits) -> Keep:
        """Whether the model's answer is what the attack wants. Shape (sample,)."""
        answer = logits.argmax(dim=1)
        reached = answer != self.label if self.target is None else answer == self.target
        if self.rejection:
            reached &= answer != logits.shape[1] - 1
        if not self.confidence:
            return reached
        asked = self.label if self.target is None else self.target
        own = logits.gather(1, asked[:, None])[:, 0]
        rest = self.others(logits, asked).amax(dim=1)
        if self.target is None:
            lead = rest - (torch.maximum(own, logits[:, -1]) if self.rejection else own)
        else:
            lead = own - (torch.maximum(rest, logits[:, -1]) if self.rejection else rest)
        return reached & (lead >= self.confidence)

    def others(self, logits: Logits, asked: Labels) -> Logits:
        """The logits of the classes other than ``asked``; the rest, rejection too, is -inf."""
        rest = logits.scatter(1, asked[:, None], -torch.inf)
        if self.rejection:
            rest = torch.cat([rest[:, :-1], torch.full_like(rest[:, -1:], -torch.inf)], dim=1)
        return rest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Iterate:
    """What an attack yields: the rows that still move, after one step.

    Args:
        step: the number of the step; 0 is the benign input.
        x: where the rows are now, inside [0, 1].
        logits: the model's answer at ``x`` where the attack has it; else the driver asks.
        finished: rows for which the attack has nothing more to do (``None``: none).
        stuck: those of them that end before the budget does, with nothing left to move.
        notes: what the step means in the attack's own terms, one value a row
            (``"pixels"``: (sample, 2); ``"constant"``: (sample,); ...).
    """

    step: int
    x: Images
    logits: Logits | None = None
    finished: Keep | None = None
    stuck: Keep | None = None
    notes: Mapping[str, Tensor] = field(default_factory=dict)


Iterates: TypeAlias = Generator[Iterate, Keep, None]
"""An attack in progress. The driver answers every ``yield`` with the mask of rows to go on with;
the attack drops the others from its state. An attack never holds ``no_grad`` across a ``yield``."""


@runtime_checkable
class Oracle(Protocol):
    """The model as an attack sees it: every call is counted."""

    classes: int

    def logits(self, x: Images) -> Logits:
        """One forward call, without a graph."""
        ...

    def gradient(self, x: Images, loss: Any) -> tuple[Logits, Images]:
        """Logits, and the gradient at ``x`` of ``loss(logits)``, which has one value a row."""
        ...

    def jacobian(
        self, x: Images, cotangents: Float[Tensor, "k sample class"]
    ) -> tuple[Logits, Float[Tensor, "k sample channel height width"]]:
        """Logits, and the gradients at ``x`` of ``k`` linear forms of the logits, one forward."""
        ...


class Attack(ABC):
    """An attack is settings and a generator of iterates that reads like its paper.

    A subclass is a frozen dataclass of settings with a ``name``, a ``norm`` and ``iterates``. All
    that the driver may ask of it stands here with its default; a subclass states the same member
    as a class variable, a field or a property. Nothing else is ever looked up, and
    :func:`undertow.attacks.driver.contract.check_attack` refuses members that look misspelt.
    """

    name: ClassVar[str] = ""
    """Its name in the registry."""
    label: ClassVar[str] = ""
    """What a user's own is called in figures and sentences; a registry line tells its own."""
    color: ClassVar[str] = ""
    marker: ClassVar[str] = ""
    strength: ClassVar[str | None] = None
    """The setting that is searched when magnitudes are matched; ``None``: it has none."""

    @property
    @abstractmethod
    def norm(self) -> Norm:
        """The distance that it keeps small."""

    @property
    def stops_at_success(self) -> bool:
        """Whether a row is done once its goal is reached, or goes on to lessen its distance."""
        return True

    @property
    def spends(self) -> bool:
        """Whether it goes on to raise its loss inside its ball: then the last success counts."""
        return False

    @property
    def confidence(self) -> float:
        """The lead, in logits, that the answer must have to count as a success."""
        return 0.0

    @property
    def default_target(self) -> str:
        """The rule by which targets are chosen where none is asked for."""
        return "untargeted"

    @property
    def inner(self) -> Attack | None:
        """The attack that this one runs on several models at once, if it does."""
        return None

    @property
    def weights(self) -> tuple[float, ...] | None:
        """Of several models, one weight each; ``None``: equal ones."""
        return None

    @property
    def combine(self) -> str:
        """What is averaged over several models: ``loss``, ``logits`` or ``probability``."""
        return "loss"

    def for_rows(self, rows: Tensor, total: int) -> Attack:
        """The attack for some of ``total`` inputs, where settings are given one an input."""
        return self

    @abstractmethod
    def iterates(self, model: Oracle, x0: Images, goal: Goal, *, draws: Draws) -> Iterates:
        """Yield step 1, 2, ... of all rows that still move; step 0 is the driver's."""


class Statistic:
    """What was kept of records in place of their images."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def dense(self, records: Tensor | None = None) -> Tensor:
        """There are no images.

        Raises:
            BadInput: always.
        """
        raise BadInput(
            "this trajectory kept a statistic of its iterates, not their images: see .kept, or "
            "craft it again without Record(keep=...)"
        )


class _Stored:
    """Records kept as a tensor, or as something smaller that gives one when asked."""

    def __get__(self, owner: Any, kind: Any = None) -> Tensor:
        if owner is None:
            raise AttributeError("images")  # so that the dataclass sees no default
        kept = owner.__dict__["images"]
        return kept if isinstance(kept, Tensor) else kept.dense()

    def __set__(self, owner: Any, kept: Any) -> None:
        owner.__dict__["images"] = kept


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """All recorded iterates of a batch of inputs, and where the attack ended.

    Records are ragged: rows of ``sample``, ``step``, ``images``, ``logits`` and ``notes``, ordered
    by sample, then step; the first record of each sample is its benign input (step 0).
    ``end`` is the successful iterate nearest to the benign input in the attack's norm (the last
    one, of an attack that spends its whole budget), or the last iterate where none succeeded.

    Args:
        attack: the attack's registry name.
        settings: its settings, as numbers and words.
        origin: ``"iterates"``, or ``"forward calls"`` for attacks of other libraries.
        benign: (sample, channel, height, width).
        label: true class.
        target: class aimed at; -1 where the attack was untargeted.
        sample: index into the batch, one a record.
        step: the attack's step, one a record.
        images: (record, channel, height, width), the recorded iterates. Sparse attacks keep the
            changes only: this builds all images anew each time; ``images_of`` builds a few.
        logits: (record, class).
        notes: per record, NaN or -1 at step 0.
        end: (sample, channel, height, width).
        end_logits: (sample, class).
        success: whether ``end`` reaches the goal.
        steps: the step at which ``end`` was reached.
        l0: changed components (channel values, not pixel positions) of ``end``.
        l2: Euclidean distance of ``end``.
        linf: largest change of a component of ``end``.
        forwards: rows sent forward through the model for this sample.
        backwards: rows differentiated for this sample.
        outcome: how it ended, as a place in :data:`undertow.axes.OUTCOMES`.
    """

    attack: str
    settings: Mapping[str, Any]
    origin: Literal["iterates", "forward calls"]
    benign: Images
    label: Labels
    target: Labels
    sample: Int64[Tensor, " record"]
    step: Int64[Tensor, " record"]
    images: Float[Tensor, "record channel height width"] = cast(Any, _Stored())  # noqa: RUF009
    logits: Float[Tensor, "record class"]
    notes: Mapping[str, Tensor]
    end: Images
    end_logits: Logits
    success: Keep
    steps: Int64[Tensor, " sample"]
    l0: Int64[Tensor, " sample"]
    l2: Float[Tensor, " sample"]
    linf: Float[Tensor, " sample"]
    forwards: Int64[Tensor, " sample"]
    backwards: Int64[Tensor, " sample"]
    outcome: Int64[Tensor, " sample"]

    @property
    def outcomes(self) -> list[str]:
        """How each sample ended, in words: a key of :data:`undertow.axes.OUTCOMES`."""
        words = tuple(OUTCOMES)
        return [words[i] for i in self.outcome.tolist()]

    @property
    def stalled(self) -> Keep:
        """Whether the attack failed because its gradients vanished. Shape (sample,)."""
        return self.outcome == tuple(OUTCOMES).index(VANISHED)

    @property
    def advice(self) -> str:
        """How many samples ended how, and what to do about those that failed; one sentence each."""
        return tally_of_outcomes(self.outcomes)

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        fooled = f"{int(self.success.sum())} of {len(self)} inputs succeeded"
        if lost := int(self.stalled.sum()):
            fooled += f", {lost} lost their gradients"
        return f"Trajectory({self.attack}, {fooled}, {len(self.step)} iterates)"

    def _repr_html_(self) -> str:
        """One row an input, the first twelve."""
        from undertow.notebook import picture, table

        columns = ("", "benign", "end", "true class", "answer", "success", "steps", "L0", "L2")
        answers = self.end_logits.argmax(dim=1)
        rows = [
            (
                i, picture(self.benign[i].cpu().numpy()), picture(self.end[i].cpu().numpy()),
                int(self.label[i]), int(answers[i]), bool(self.success[i]), int(self.steps[i]),
                int(self.l0[i]), float(self.l2[i]),
            )
            for i in range(min(12, len(self)))
        ]  # fmt: skip
        more = f"… and {len(self) - 12} more inputs." if len(self) > 12 else ""
        return table(f"{self.attack}: {len(self)} inputs", columns, rows, note=more)

    def records(self, sample: int) -> Int64[Tensor, " record"]:
        """The record numbers of one sample, step 0 first."""
        return torch.nonzero(self.sample == sample).flatten()

    @property
    def kept(self) -> Tensor:
        """What ``Record(keep=...)`` kept of each record, (record, ...); the images without it."""
        stored = self.__dict__["images"]
        return stored.values if isinstance(stored, Statistic) else self.images

    def keeping(self, images: Any) -> Trajectory:
        """The same trajectory with its images in a smaller form, which gives them by ``dense``."""
        new = copy(self)
        new.__dict__["images"] = images
        return new

    def images_of(
        self, records: Int64[Tensor, " record"]
    ) -> Float[Tensor, "record channel height width"]:
        """The images of some records only."""
        kept = self.__dict__["images"]
        return cast(Tensor, kept[records] if isinstance(kept, Tensor) else kept.dense(records))


@dataclass(frozen=True, slots=True)
class Tap:
    """A named place in a model whose output is read.

    Args:
        name: the module's dotted name.
        shape: (map, row, col); (map,) where there is no spatial extent.
        depth: share of the network's multiply-adds spent up to and including this tap's
            place, from 0 (input) to 1 (output).
        macs: multiply-adds of one input up to and including this tap.
    """

    name: str
    shape: tuple[int, ...]
    depth: float
    macs: int

    @property
    def spatial(self) -> bool:
        """Whether the tap has positions to take as samples (more than one)."""
        return len(self.shape) == 3 and self.shape[1] * self.shape[2] > 1


@runtime_checkable
class Estimator(Protocol):
    """Mutual information in bits between two families of maps, positions being the samples.

    ``encode`` does what is done once a map (ranks, codes) and ``pairwise`` what is done once a
    pair; ``pairwise(encode(a), encode(b))`` is never clipped and never NaN.
    """

    name: ClassVar[str]

    def encode(self, maps: Float[Tensor, "*batch map position"]) -> Any:
        """The maps as this estimator sees them; opaque, indexable along batch and map axes."""
        ...

    def pairwise(self, a: Any, b: Any) -> Float[Tensor, "*batch row col"]:
        """Bits between every map of ``a`` and every map of ``b``."""
        ...
