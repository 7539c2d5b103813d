"""What a meter sees: the forward pass over a batch, and the pool of references."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from copy import copy
from typing import Final

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from undertow import taps as reading
from undertow.errors import BadInput
from undertow.information.coded import Chosen, Coded, Parts, References
from undertow.information.grids import coarser, exact
from undertow.information.matrices import evidence
from undertow.measuring.among import LOT, measured_classes, spread
from undertow.models.devices import even_parts
from undertow.taps.read import Reading
from undertow.types import Draws, Images, Tap

__all__ = ["REFERENCES", "Forwarded", "Pool", "Portion"]

REFERENCES: Final = 8
"""References that an input is held against, of those that there are."""


class Portion:
    """Evidence for some classes of each input.

    Args:
        coded: the evidence maps, (sample, part, row, col).
        classes: their numbers, (sample, part); ``None`` for all of them, in their order.
    """

    def __init__(self, coded: Coded, classes: Parts = None) -> None:
        self.coded, self.classes = coded, classes


class Forwarded:
    """What one forward pass over a batch showed, ready for any number of estimators.

    Args:
        x: the inputs.
        reading: of them, with evidence maps.
        classes: that are measured, (sample, part), the lot first; ``None`` for all.
    """

    def __init__(self, x: Images, reading: Reading, classes: Parts = None) -> None:
        assert reading.contracted is not None
        self.logits = reading.logits
        self.inputs = Coded(exact(x.to(reading.logits.device)))
        self.maps = dict(reading.maps)
        self._made, self._picked = Coded(reading.contracted), reading.picked
        self._coded: dict[str, tuple[Coded, Coded]] = {}
        self.portions = [Portion(self._made)]
        if classes is not None:
            self.portions = [
                Portion(self.towards(some), some) for some in (classes[:, :LOT], classes[:, LOT:])
            ]

    @classmethod
    def of(
        cls,
        model: nn.Module,
        taps: Sequence[Tap],
        x: Images,
        towards: Parts = None,
        *,
        every: bool = False,
    ) -> Forwarded:
        """Run the model on a batch.

        Args:
            model: in evaluation mode.
            taps: where it is read; the last spatial one carries the evidence.
            x: inputs in [0, 1].
            towards: classes of each input that must be measured where not all are.
            every: whether all are, however many.

        Raises:
            BadInput: if the logits are not finite.
        """

        def pick(logits: Tensor) -> Parts:
            return None if every else measured_classes(logits, towards)

        found = reading.read(model, x, taps, contract=evidence_of, pick=pick)
        if not bool(torch.isfinite(found.logits).all()):
            raise BadInput("the model puts out logits that are NaN or infinite")
        return cls(x, found, pick(found.logits))

    def towards(self, classes: Int64[Tensor, "sample part"]) -> Coded:
        """Evidence maps for some classes, other ones for each input."""
        every = self._made.values
        place = classes.to(every.device)
        if self._picked is not None:
            same = self._picked.to(every.device)[:, None, :] == place[:, :, None]
            assert bool(same.any(dim=2).all()), "evidence was not taken for these classes"
            place = same.long().argmax(dim=2)
        return Coded(every[torch.arange(len(every), device=every.device)[:, None], place])

    @property
    def evidence(self) -> Float[Tensor, "sample class row col"]:
        """Evidence maps of all classes; NaN for those that were not taken."""
        made, picked = self._made.values, self._picked
        if picked is None:
            return made
        flat = made.flatten(2).mT
        whole = spread(flat, picked[:, None, :].to(made.device), self.logits.shape[1])
        return whole.mT.reshape(*whole.mT.shape[:2], *made.shape[2:])

    def on_both_grids(self, tap: Tap) -> tuple[Coded, Coded]:
        """The maps of a tap as they are, and on the grid that they share with the evidence."""
        if tap.name not in self._coded:
            fine = Coded(self.maps[tap.name])
            shared = _on_grid_of(self._made, fine)
            if _quarters(fine, shared):
                self.maps[tap.name] = shared.values  # the same to a class reader, and smaller
            self._coded[tap.name] = fine, shared
        return self._coded[tap.name]


class Pool:
    """Benign inputs, of which each measured input draws its own references.

    They are read when they are first needed, and encoded once. Evidence for all classes comes in
    one reading where it costs one product, and for the classes that are asked for where not.

    Args:
        model: whose evidence maps they carry.
        taps: where it is read; the last spatial one carries the evidence.
        images: benign training inputs.
        batch: how many are read at once.
    """

    def __init__(
        self, model: nn.Module, taps: Sequence[Tap], images: Images, batch: int = REFERENCES
    ) -> None:
        self.inputs = References(exact(images))
        self._model = weakref.ref(model)  # what is remembered of a model must not keep it
        self._last = [tap for tap in taps if tap.spatial][-1:]
        self._rows = [images[a:b] for a, b in even_parts(0, len(images), batch)]
        self._evidence: References | None = None
        self._known: Int64[Tensor, " part"] | None = None
        """Classes whose evidence was taken, ascending; ``None`` for all."""

    @property
    def evidence(self) -> References:
        """Their evidence maps for all classes, (reference, class, row, col)."""
        if self._evidence is None or self._known is not None:
            self._evidence, self._known = References(self._read(None)[0]), None
        return self._evidence

    def towards(self, classes: Parts) -> tuple[References, Parts]:
        """Evidence maps among which these classes are, and their places there."""
        if classes is None:
            return self.evidence, None
        wanted = torch.unique(classes)
        if self._evidence is None:
            made, every = self._read(wanted)
            self._evidence, self._known = References(made), None if every else wanted
        if self._known is None:
            return self._evidence, classes
        missing = wanted[~torch.isin(wanted, self._known)]
        if len(missing):
            made = torch.cat([self._evidence.values, self._read(missing)[0]], dim=1)
            self._known, order = torch.cat([self._known, missing]).sort()
            self._evidence = References(made[:, order])
        return self._evidence, torch.searchsorted(self._known, classes.contiguous())

    def _read(self, classes: Int64[Tensor, " part"] | None) -> tuple[Tensor, bool]:
        """Evidence maps for these classes, or for all; and whether it was all."""
        model = self._model()
        assert model is not None, "the references' model is gone"

        def pick(logits: Tensor) -> Parts:
            return None if classes is None else classes.expand(len(logits), -1)

        found = [
            reading.read(model, x, self._last, contract=evidence_of, pick=pick) for x in self._rows
        ]
        every = all(part.picked is None for part in found)
        made = []
        for part in found:
            assert part.contracted is not None
            # Whether a head is a pooled linear one is seen batch by batch.
            few = classes is None or every or part.picked is not None
            made.append(part.contracted if few else part.contracted[:, classes])
        return torch.cat(made), every

    def __len__(self) -> int:
        return len(self.inputs.values)

    def few(self, count: int) -> Pool:
        """The first of them."""
        other = copy(self)
        other.inputs = References(self.inputs.values[:count])
        other._rows = [torch.cat(self._rows)[:count]]
        if self._evidence is not None:
            other._evidence = References(self._evidence.values[:count])
        return other

    def drawn(self, draws: Draws, count: int) -> Chosen:
        """Which of them each input is held against; ``None`` where it is all of them."""
        if len(self) <= count:
            return None
        # Other numbers than those by which evidence is moved around.
        own, size, device = Draws(draws.seeds ^ 0x5EED), len(self), self.inputs.values.device
        if size < 64 * count:
            return own.uniform((size,)).argsort(dim=1)[:, :count].to(device)
        # Of so many, one is hardly drawn twice; and it does no harm.
        return (own.uniform((count,)).double() * size).long().clamp(max=size - 1).to(device)


def evidence_of(
    maps: Float[Tensor, "sample map row col"], gradients: Float[Tensor, "class sample map row col"]
) -> Float[Tensor, "sample class row col"]:
    """Evidence maps; by one product where the gradients are the same everywhere (an expanded view).

    Each sample has a product of its own, so its values do not depend on the rest of the batch.
    """
    expanded = (gradients.shape[i] == 1 or gradients.stride(i) == 0 for i in (1, 3, 4))
    if maps.shape[2] * maps.shape[3] > 1 and all(expanded):
        weight = gradients[:, 0, :, 0, 0].expand(len(maps), -1, -1)
        return torch.bmm(weight, maps.flatten(2)).unflatten(2, maps.shape[2:])  # type: ignore[no-untyped-call,no-any-return]
    return evidence(maps, gradients)


def _on_grid_of(evidence_maps: Coded, maps: Coded) -> Coded:
    """The maps on the grid that they share with the evidence maps, averaged once for all uses."""
    grid = coarser(evidence_maps.grid, maps.grid)
    return maps if grid == maps.grid else Coded(maps.on(grid))


def _quarters(fine: Coded, shared: Coded) -> bool:
    """Whether averages of the shared grid's quarters are those of the maps' own quarters."""
    halved = all(size % 2 == 0 for size in shared.grid)
    return halved and all(f % s == 0 for f, s in zip(fine.grid, shared.grid, strict=True))
