"""Estimators and nulls against known truths: the table behind ``undertow calibrate``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter
from torch import Tensor

from undertow.errors import BadInput
from undertow.information import ESTIMATORS, NULLS
from undertow.information.matrices import source
from undertow.information.truths import TASKS, KnownPair
from undertow.progress import SILENT, Progress
from undertow.seeds import derive
from undertow.types import Draws, Estimator

__all__ = ["PARTS", "Calibration", "Part", "Reads", "calibrate"]

Part: TypeAlias = Literal["truth", "independence", "zeros", "smoothness"]
PARTS: Final[tuple[Part, ...]] = ("truth", "independence", "zeros", "smoothness")
Reads: TypeAlias = Literal["value", "lower bound", "monotone part", "no bound"]
"""The truth itself; what is left of it after binning; what of it is monotone; or neither: the
estimate may lie on either side of the truth (see the estimator)."""
SIZES: Final = (16, 64, 256, 1024)
ZEROS: Final = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95)
BLURS: Final = (0, 1, 2, 3)
GRIDS: Final = (32, 16, 8)
REFERENCES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """One line of the table; all values in bits.

    Args:
        part: ``truth`` (known pairs), ``independence`` (Gaussian), ``zeros`` (independent maps
            with a share of zeros) or ``smoothness`` (independent maps, blurred).
        task: what was measured.
        estimator: its registry name.
        null: ``""`` for the raw value, else the null that was taken off.
        n: positions.
        repeats: pairs measured.
        truth: the known value.
        mean: of the estimate.
        bias: mean - truth.
        std: of the estimate, over pairs.
        error: root mean square of estimate - truth.
        expected: whether the estimator is made to see the task (else a bias is no fault).
        reads: what the estimate is meant to be, of :data:`Reads`.
    """

    part: Part
    task: str
    estimator: str
    null: str
    n: int
    repeats: int
    truth: float
    mean: float
    bias: float
    std: float
    error: float
    expected: bool
    reads: Reads


_Work: TypeAlias = Callable[[], Iterator[Calibration]]


def calibrate(
    *,
    estimators: Sequence[str] | None = None,
    parts: Sequence[str] = PARTS,
    samples: int = 1 << 16,
    seed: int = 0,
    progress: Progress = SILENT,
) -> list[Calibration]:
    """Measure estimators where the truth is known.

    Args:
        estimators: registry names; all by default.
        parts: what to measure, of :data:`PARTS`.
        samples: drawn for each line, shared out in ``samples // n`` pairs (at least 8; the
            estimators that compare all pairs of positions get an eighth).
        seed: of all draws.
        progress: hears of each line.

    Returns:
        One record a line, in the order of :data:`PARTS`.

    Raises:
        UnknownName: for an estimator that is not registered.
        BadInput: for an unknown part.
    """
    names = list(ESTIMATORS) if estimators is None else list(estimators)
    made = {name: ESTIMATORS[name]() for name in names}
    for part in parts:
        if part not in PARTS:
            raise BadInput(f"unknown part '{part}' (allowed: {', '.join(PARTS)})")
    work: list[_Work] = []
    for part in (part for part in PARTS if part in parts):
        for name, estimator in made.items():
            budget = samples // 8 if name == "ksg" else samples
            work += _MAKERS[part](estimator, budget, seed)
    table: list[Calibration] = []
    with progress("calibrate", len(work), "lines") as advance:
        for one in work:
            lines = list(one())
            table += lines
            advance(1, f"{lines[0].estimator}: {lines[0].task}, n = {lines[0].n}")
    return table


def _truth(estimator: Estimator, samples: int, seed: int) -> Iterator[_Work]:
    for task in TASKS:
        for n in SIZES[1:]:
            yield partial(_known, estimator, "truth", task, n, samples, seed)


def _independence(estimator: Estimator, samples: int, seed: int) -> Iterator[_Work]:
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        return rng.standard_normal((2, *shape))

    task = KnownPair("gaussian", 0.0, draw, monotone=True)
    for n in SIZES:
        yield partial(_known, estimator, "independence", task, n, samples, seed)


def _zeros(estimator: Estimator, samples: int, seed: int) -> Iterator[_Work]:
    def task(share: float) -> KnownPair:
        def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
            return np.abs(rng.standard_normal((2, *shape))) * (rng.random((2, *shape)) >= share)

        # Nearest neighbours have no answer to zeros in one of two maps (see KSG).
        covered = share == 0 or estimator.name != "ksg"
        return KnownPair(f"zeros {share:.0%}", 0.0, draw, monotone=covered)

    for share in ZEROS:
        for n in SIZES[1:]:
            yield partial(_known, estimator, "zeros", task(share), n, samples, seed)


def _smoothness(estimator: Estimator, samples: int, seed: int) -> Iterator[_Work]:
    grids = GRIDS[1:] if estimator.name == "ksg" else GRIDS
    for blur in BLURS:
        for side in grids:
            yield partial(_smooth, estimator, blur, side, samples, seed)


_MAKERS: Final[dict[Part, Callable[[Estimator, int, int], Iterator[_Work]]]] = {
    "truth": _truth, "independence": _independence, "zeros": _zeros, "smoothness": _smoothness,
}  # fmt: skip


def _known(
    estimator: Estimator, part: Part, task: KnownPair, n: int, samples: int, seed: int
) -> Iterator[Calibration]:
    repeats = max(8, samples // n)
    rng = np.random.default_rng(derive(seed, "calibrate", part, task.name, n))
    x, y = task.draw(rng, (repeats, 1, n))
    bits = estimator.pairwise(estimator.encode(_maps(x)), estimator.encode(_maps(y)))
    sees = task.monotone or estimator.name.startswith("binned")
    sees = sees or (estimator.name == "ksg" and part == "truth")
    yield _record(
        bits, part, task.name, estimator, "", n, task.bits, sees, _reads(estimator, task, sees)
    )


def _reads(estimator: Estimator, task: KnownPair, sees: bool) -> Reads:
    if estimator.name == "gaussian_copula" and not task.monotone:
        return "no bound" if task.discrete else "monotone part"
    if estimator.name.startswith("binned"):
        return "value" if task.discrete or task.bits == 0 else "lower bound"
    return "value" if sees else "no bound"


def _smooth(
    estimator: Estimator, blur: int, side: int, samples: int, seed: int
) -> Iterator[Calibration]:
    """Independent maps, blurred: what is left of them under each null."""
    repeats = max(8, min(64, samples // side**2))
    rng = np.random.default_rng(derive(seed, "calibrate", "smoothness", blur, side))

    def maps(count: int, channels: int) -> Tensor:
        noise = rng.standard_normal((count, channels, side, side))
        return _maps(gaussian_filter(noise, (0, 0, blur, blur), mode="wrap") if blur else noise)

    inputs, seen, references = maps(repeats, 1), maps(repeats, 2), maps(REFERENCES, 1)
    draws = Draws(torch.arange(repeats) + derive(seed, "calibrate", "draws") % 2**32)
    raw = None
    for name in NULLS:
        found = source(estimator, inputs, seen, references, null=NULLS[name], draws=draws)
        if raw is None:
            raw = found.raw
            yield _record(
                raw, "smoothness", f"blur {blur}", estimator, "", side**2, 0.0, False, "no bound"
            )
        smooth = name != "shuffle"  # the null keeps the smoothness
        yield _record(
            found.net, "smoothness", f"blur {blur}", estimator, name, side**2, 0.0, smooth,
            "value" if smooth else "no bound",
        )  # fmt: skip


def _maps(values: Any) -> Float[Tensor, "*shape"]:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _record(
    bits: Tensor, part: Part, task: str, estimator: Estimator, null: str, n: int, truth: float,
    expected: bool, reads: Reads,
) -> Calibration:  # fmt: skip
    values = bits.flatten().double()
    return Calibration(
        part=part, task=task, estimator=estimator.name, null=null, n=n, repeats=len(values),
        truth=truth, mean=float(values.mean()), bias=float(values.mean()) - truth,
        std=float(values.std()), error=float((values - truth).square().mean().sqrt()),
        expected=expected, reads=reads,
    )  # fmt: skip
