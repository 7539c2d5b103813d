"""A model with everything that is needed to measure on it; built once a process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor, nn

from undertow.data import ImageSet
from undertow.errors import BadInput
from undertow.information.readers import Readers
from undertow.measuring.blocks import BATCH, Blocks
from undertow.measuring.meter import Measured, Meter
from undertow.measuring.seen import Pool
from undertow.models.asking import ask
from undertow.models.defended import rejected
from undertow.progress import SILENT, Progress
from undertow.seeds import derive
from undertow.studies.asked.spec import StudySpec
from undertow.taps import choose
from undertow.types import Draws, Images, Labels, Tap

__all__ = ["Probe", "build_probe", "references", "select"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probe:
    """What measures one model the same way in every cell of a study.

    Args:
        name: the model's name in the study.
        model: the network, in evaluation mode.
        taps: where it is read.
        meters: one an estimator: the study's own first, then the one that checks it, beside it.
    """

    name: str
    model: nn.Module
    taps: tuple[Tap, ...]
    meters: Mapping[str, Meter]

    @property
    def classified(self) -> bool:
        """Whether class information is measured."""
        return next(iter(self.meters.values())).readers is not None

    @property
    def shifted(self) -> bool:
        """Whether OIP is measured under the shift null, too."""
        return next(iter(self.meters.values())).shifted

    def measure(
        self,
        x: Images,
        draws: Draws,
        *,
        matrices: tuple[int, ...] = (),
        towards: Int64[Tensor, "sample class"] | None = None,
    ) -> Measured:
        """IPs under every estimator, class information and logits of a batch; one forward pass.

        Profiles of the second estimator are named ``iip@NAME``, as in the store.

        Args:
            x: inputs, (sample, channel, height, width).
            draws: random numbers of the nulls that need them.
            matrices: rows whose S and T are kept, as the first estimator sees them.
            towards: classes of each input that are measured on a model of however many.
        """
        (_, main), *others = self.meters.items()
        blocks = Blocks(main, x, draws=draws, batch=BATCH, keep=matrices, also=dict(others),
                        towards=towards)  # fmt: skip
        return blocks.run(SILENT)

    def evidence(self, x: Images) -> Tensor:
        """Evidence maps of a batch, (sample, class, row, col)."""
        return next(iter(self.meters.values())).see(x).evidence


def references(spec: StudySpec, train: ImageSet) -> Images:
    """The benign training inputs of which every input draws its references, in every model."""
    rng = np.random.default_rng(derive(spec.seed, "references"))
    size = min(max(spec.reference_pool, spec.references), len(train))
    chosen = rng.choice(len(train), size=size, replace=False)
    return train[np.sort(chosen)][0]


def build_probe(
    spec: StudySpec,
    name: str,
    model: nn.Module,
    train: ImageSet,
    fit: Callable[[nn.Module, tuple[Tap, ...]], Readers],
) -> Probe:
    """Get ready to measure a model.

    Args:
        spec: the study.
        name: one of its models.
        model: that model.
        train: benign training inputs.
        fit: fits (or loads) the class readers of a model at its taps.
    """
    inputs = references(spec, train).to(next(model.parameters()).device)
    taps = choose(model, inputs[:1], list(spec.taps) or None)
    readers = fit(model, taps) if spec.readers else None
    pool = Pool(model, taps, inputs, spec.references)
    main = Meter(
        model, taps, estimator=spec.estimator, null=spec.null, references=pool,
        count=spec.references, readers=readers,
    )  # fmt: skip
    meters = {spec.estimator: main}
    if spec.cross_check and spec.cross_check != spec.estimator:
        meters[spec.cross_check] = main.beside(spec.cross_check)
    return Probe(name=name, model=model, taps=taps, meters=meters)


def select(
    spec: StudySpec,
    data: ImageSet,
    models: Mapping[str, nn.Module],
    *,
    device: str = "cpu",
    batch: int = 256,
    progress: Progress = SILENT,
) -> NDArray[np.int64]:
    """Indices of the study's inputs, in a seeded order; with ``correct``, as in the paper.

    Raises:
        BadInput: if there are fewer such inputs than asked for.
    """
    wanted, first = spec.data.inputs, list(spec.data.first)
    order = np.random.default_rng(derive(spec.seed, "inputs")).permutation(len(data))
    order = order[~np.isin(order, first)]
    found: list[int] = first
    with progress("Selecting inputs", wanted, "inputs") as advance:
        for start in range(0, len(order), batch):
            if len(found) >= wanted:
                break
            block = order[start : start + batch]
            right = (
                _right(models, *data[block], device)
                if spec.data.select == "correct"
                else slice(None)
            )
            before = min(len(found), wanted)
            found += block[right].tolist()
            advance(min(len(found), wanted) - before)
    if len(found) < wanted:
        which = "classified correctly by every model" if spec.data.select == "correct" else "there"
        raise BadInput(
            f"{wanted} inputs were asked for, but only {len(found)} of {len(data)} in "
            f"{data.name} ({data.split}) are {which}"
        )
    return np.array(found[:wanted], dtype=np.int64)


def _right(models: Mapping[str, nn.Module], x: Images, y: Labels, device: str) -> NDArray[np.bool_]:
    right = np.ones(len(y), dtype=bool)
    with torch.no_grad():
        for model in models.values():
            there = x.to(device)
            right &= (ask(model, there).argmax(dim=1).cpu() == y).numpy()
            right &= ~rejected(model, there).cpu().numpy()
    return right
