"""Class information: which class the bits at a tap are about, and where another class takes over.

A reader is a multinomial logistic regression from one tap's maps to the class, fitted on benign
training inputs. What it says of one input is pointwise V-information (Xu et al. 2020, definition 2;
Ethayarajh et al. 2022, equation 4): C[m] = log2 q(m | t(x)) - log2 p(m), in bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, logsumexp
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from undertow.errors import BadInput
from undertow.information.backend import backend_of
from undertow.types import Labels

__all__ = [
    "MIXING", "Reader", "Readers", "class_information", "features", "fit", "rival_of",
    "takeover", "takeover_depth", "takeover_step",
]  # fmt: skip

MIXING = 1e-3
"""Weight of the prior in every answer: C is never below log2 10⁻³, about -10 bits."""

PENALTIES = (10.0, 1.0, 0.1, 0.01, 1e-3, 1e-4)
"""Strengths of the L2 penalty that are tried, strongest first."""

Array: TypeAlias = NDArray[np.float64]
Maps: TypeAlias = Float[Tensor, "sample ..."]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reader:
    """One tap's reader; its logits are ``weight`` · features + ``bias``.

    Args:
        weight: standardisation and temperature included.
        bias: likewise.
        cross_entropy: on held-out inputs, in bits, mixing included.
        accuracy: share of held-out inputs that it reads right.
        temperature: by which its logits were divided to be calibrated.
        penalty: the L2 strength that did best on held-out inputs.
    """

    weight: Float[Tensor, "class feature"]
    bias: Float[Tensor, " class"]
    cross_entropy: float
    accuracy: float
    temperature: float
    penalty: float


@dataclass(frozen=True, slots=True, eq=False)
class Readers:
    """The readers of all taps of one model on one data set.

    Args:
        by_tap: tap name to reader, in the order of the taps.
        prior: share of each class among the training inputs, p(m).
    """

    by_tap: Mapping[str, Reader]
    prior: Float[Tensor, " class"]

    @property
    def entropy(self) -> float:
        """H(Y) of the prior in bits: what there is to know about the class."""
        return float(torch.special.entr(self.prior.double()).sum() / log(2))

    @property
    def information(self) -> dict[str, float]:
        """V-information of each tap about the class, H(Y) minus held-out cross-entropy, in bits."""
        return {tap: self.entropy - r.cross_entropy for tap, r in self.by_tap.items()}


def features(maps: Maps) -> Float[Tensor, "sample feature"]:
    """What a reader sees of a tap: its maps averaged to 2 x 2 positions; dense taps as they are.

    Args:
        maps: (sample, map, row, col) or (sample, map).
    """
    if maps.ndim == 2:
        return maps.float()
    rows, cols = maps.shape[-2:]
    grid = (min(rows, 2), min(cols, 2))
    if rows % grid[0] == 0 and cols % grid[1] == 0:
        backend = backend_of(maps)
        return backend.block_means(backend.plain(maps), grid).flatten(1)
    return adaptive_avg_pool2d(maps.float(), grid).flatten(1)


def fit(
    training: Mapping[str, Float[Tensor, "sample _"]],
    labels: Labels,
    held_out: Mapping[str, Float[Tensor, "held _"]],
    held_out_labels: Int64[Tensor, " held"],
    *,
    classes: int | None = None,
) -> Readers:
    """Fit and calibrate a reader for every tap.

    Each is a logistic regression on standardised features with an L2 penalty, solved by L-BFGS.
    Penalty (of :data:`PENALTIES`) and temperature (Guo et al. 2017) are chosen by cross-entropy
    on the held-out inputs; with two numbers chosen there, the cross-entropy that is kept is
    nearly free of optimism. Classes without a training input have no reader: nothing is told of
    them, and held-out inputs of theirs are left out.

    Args:
        training: tap to :func:`features` of benign training inputs.
        labels: their classes.
        held_out: the same taps on other benign inputs.
        held_out_labels: their classes.
        classes: M; by default one more than the largest label.

    Raises:
        BadInput: if taps or sizes differ, or fewer than two classes have inputs of both kinds.
    """
    count = int(max(labels.max(), held_out_labels.max())) + 1 if classes is None else classes
    _check(training, labels, held_out, held_out_labels)
    y, held = labels.cpu().numpy(), held_out_labels.cpu().numpy()
    prior = np.bincount(y, minlength=count) / len(y)
    known = np.flatnonzero(prior)
    kept = np.isin(held, known)
    if len(known) < 2 or not kept.any():
        raise BadInput(
            f"readers need inputs of two classes or more, got {len(known)} of {count} to fit on "
            f"and {int(kept.sum())} held-out inputs of those; give more, or leave readers out"
        )
    place = np.searchsorted(known, np.arange(count))
    # Products as small as these wait for a second thread far longer than they compute.
    with threadpool_limits(1, user_api="blas"):
        found = {
            tap: _fit_one(
                _plain(training[tap]), place[y], _plain(held_out[tap])[kept], place[held[kept]],
                prior[known],
            )
            for tap in training
        }  # fmt: skip
    readers = {tap: _among(reader, known, count) for tap, reader in found.items()}
    return Readers(readers, torch.from_numpy(prior).float())


def _among(reader: Reader, known: NDArray[np.int64], count: int) -> Reader:
    """A reader of some classes as one of all, which answers none of the others."""
    if len(known) == count:
        return reader
    weight = torch.zeros(count, reader.weight.shape[1], dtype=torch.float32)
    bias = torch.full((count,), -torch.inf, dtype=torch.float32)
    weight[known], bias[known] = reader.weight, reader.bias
    return replace(reader, weight=weight, bias=bias)


def class_information(
    readers: Readers, maps: Mapping[str, Maps]
) -> Float[Tensor, "sample tap class"]:
    """C[m] = log2 q(m | t(x)) - log2 p(m) at every tap, in bits.

    q is the calibrated answer, mixed with the prior p at weight :data:`MIXING`. So C lies between
    log2(10⁻³) and -log2 p(m), which is log2 M where all classes are equally frequent. NaN for
    classes without a training input.

    Args:
        readers: fitted readers; their taps and order are the result's.
        maps: the maps of at least those taps.

    Raises:
        BadInput: if a reader's tap is missing or has another size.
    """
    return torch.stack([_bits(readers, tap, maps) for tap in readers.by_tap], dim=1)


def rival_of(logits: Float[Tensor, "sample class"], true: Labels) -> Int64[Tensor, " sample"]:
    """The wrong class with the largest logit: the answer itself where it is wrong."""
    return logits.scatter(1, true[:, None], -torch.inf).argmax(1)


def takeover(
    bits: Float[Tensor, "sample tap class"], true: Labels, adversarial: Labels
) -> Int64[Tensor, " sample"]:
    """The takeover tap: the first from which the adversarial class holds more bits for good.

    Args:
        bits: class information.
        true: the true class.
        adversarial: the class to compare with.

    Returns:
        the tap's number; -1 where the adversarial class does not lead at the last tap.
    """
    rows = torch.arange(len(bits), device=bits.device)
    lead = bits[rows, :, adversarial.to(bits.device)] > bits[rows, :, true.to(bits.device)]
    for_good = lead.flip(1).long().cumprod(1).sum(1)
    return torch.where(for_good > 0, bits.shape[1] - for_good, -1)


def takeover_depth(
    taken: Int64[Tensor, " sample"], depth: Float[Tensor, " tap"]
) -> Float[Tensor, " sample"]:
    """The depth of the takeover tap, from 0 to 1; NaN where there is none."""
    return torch.where(taken >= 0, depth.to(taken.device)[taken.clamp(min=0)], torch.nan)


def takeover_step(taken: Int64[Tensor, " step"], steps: Int64[Tensor, " step"]) -> int:
    """The first step of one input's iterates from which there is a takeover tap for good.

    Args:
        taken: takeover tap of every iterate, in the order of the steps.
        steps: the attack's step numbers.

    Returns:
        the step; -1 where the last iterate has no takeover tap.
    """
    for_good = int((taken >= 0).flip(0).long().cumprod(0).sum())
    return int(steps[len(steps) - for_good]) if for_good else -1


# Fitting ------------------------------------------------------------------------------------------


def _plain(values: Tensor) -> Array:
    array: Array = values.detach().cpu().double().numpy()
    return array


def _fit_one(x: Array, y: Any, x_held: Array, y_held: Any, prior: Array) -> Reader:
    mean, scale = x.mean(0), x.std(0)
    scale = np.where(scale > 1e-6 * (np.abs(mean) + 1e-12), scale, np.inf)
    z, z_held = (x - mean) / scale, (x_held - mean) / scale
    start = np.zeros((len(prior), x.shape[1] + 1))
    start[:, -1] = np.log(prior)
    best: tuple[float, float, float, Array] | None = None
    for penalty in PENALTIES:
        start = _regress(z, y, penalty, start)
        temperature, nats = _calibrate(_scores(start, z_held), y_held)
        if best is not None and nats > best[0]:
            break
        best = (nats, temperature, penalty, start)
    assert best is not None
    _, temperature, penalty, solved = best
    weight = solved[:, :-1] / scale / temperature
    bias = solved[:, -1] / temperature - weight @ mean
    answer = _mixed(x_held @ weight.T + bias, prior)
    return Reader(
        weight=torch.from_numpy(weight).float(),
        bias=torch.from_numpy(bias).float(),
        cross_entropy=float(-np.log2(answer[np.arange(len(y_held)), y_held]).mean()),
        accuracy=float((answer.argmax(1) == y_held).mean()),
        temperature=temperature,
        penalty=penalty,
    )


def _scores(solved: Array, z: Array) -> Array:
    scores: Array = z @ solved[:, :-1].T + solved[:, -1]
    return scores


def _mixed(logits: Array, prior: Array) -> Array:
    answer: Array = (1 - MIXING) * np.exp(log_softmax(logits, axis=1)) + MIXING * prior
    return answer


def _regress(z: Array, y: Any, penalty: float, start: Array) -> Array:
    """Multinomial logistic regression: mean cross-entropy + penalty/2 · |weights|² (no bias)."""
    rows = np.arange(len(y))
    z32 = z.astype(np.float32)  # half the memory traffic; the sums below are in double

    def loss(flat: Array) -> tuple[float, Array]:
        solved = flat.reshape(start.shape)
        weight = solved[:, :-1]
        scores = (z32 @ weight.T.astype(np.float32)).astype(np.float64) + solved[:, -1]
        total = logsumexp(scores, axis=1)
        nats = (total - scores[rows, y]).mean() + penalty / 2 * np.square(weight).sum()
        error = np.exp(scores - total[:, None])
        error[rows, y] -= 1
        error /= len(y)
        slope = np.empty_like(solved)
        slope[:, :-1] = error.T.astype(np.float32) @ z32 + penalty * weight
        slope[:, -1] = error.sum(0)
        return float(nats), slope.ravel()

    options = {"maxiter": 150, "ftol": 1e-7, "gtol": 1e-5}
    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    solved: Array = found.x.reshape(start.shape)
    return solved


def _calibrate(scores: Array, y: Any) -> tuple[float, float]:
    """The temperature with the least cross-entropy, and that cross-entropy in nats."""
    rows = np.arange(len(y))

    def nats(log_temperature: float) -> float:
        return float(-log_softmax(scores / np.exp(log_temperature), axis=1)[rows, y].mean())

    found = minimize_scalar(nats, bounds=(-2.0, 4.0), method="bounded")
    return float(np.exp(found.x)), float(found.fun)


def _check(
    training: Mapping[str, Tensor],
    labels: Tensor,
    held_out: Mapping[str, Tensor],
    held_out_labels: Tensor,
) -> None:
    if list(training) != list(held_out) or not training:
        raise BadInput(f"readers need the same taps twice, got {list(training)}, {list(held_out)}")
    for name, some, y in (("training", training, labels), ("held-out", held_out, held_out_labels)):
        for tap, values in some.items():
            if len(values) != len(y) or not len(y):
                raise BadInput(
                    f"tap '{tap}': {len(values)} rows of {name} features, {len(y)} labels"
                )
            if not bool(torch.isfinite(values).all()):
                raise BadInput(f"tap '{tap}': {name} features with NaN or infinite values")


# Reading ------------------------------------------------------------------------------------------


def _bits(readers: Readers, tap: str, maps: Mapping[str, Maps]) -> Float[Tensor, "sample class"]:
    reader = readers.by_tap[tap]
    if tap not in maps:
        raise BadInput(f"no maps of tap '{tap}' to read; fit the readers anew for these taps")
    seen = features(maps[tap])
    if seen.shape[1] != reader.weight.shape[1]:
        raise BadInput(
            f"tap '{tap}' gives {seen.shape[1]} features, its reader was fitted on "
            f"{reader.weight.shape[1]}; fit the readers anew"
        )
    weight, bias, prior = (v.to(seen.device) for v in (reader.weight, reader.bias, readers.prior))
    logits = backend_of(seen).products(seen, weight) + bias
    mixed = (1 - MIXING) * logits.double().softmax(1) + MIXING * prior
    bits = mixed.log2() - prior.double().log2()  # of a class that no input was of, -inf - -inf
    return torch.where(prior > 0, bits, torch.nan).float()
