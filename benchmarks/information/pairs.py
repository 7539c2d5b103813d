"""Pairs a second on ReLU maps with ties: ours against other libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from benchmarks.information.peers import BINS, PEERS
from benchmarks.information.timing import interleaved, machine_floor
from undertow.information.estimators.binned import Binned, BinnedWidth
from undertow.information.estimators.gaussian_copula import GaussianCopula
from undertow.information.estimators.ksg import KSG
from undertow.types import Estimator

__all__ = ["measure"]

INPUTS, SIDE = 128, 32
OURS: dict[str, tuple[Estimator, int]] = {
    "gaussian_copula": (GaussianCopula(), INPUTS),
    f"binned, {BINS} bins": (Binned(BINS), INPUTS),
    f"binned_width, {BINS} bins": (BinnedWidth(BINS), INPUTS),
    "binned (its own bins)": (Binned(), INPUTS),
    "ksg": (KSG(), 1),
}
SLOW = 2
"""Columns for contestants that get a single input."""
SHAPES = ((3, 64, "input x maps"), (64, 10, "maps x evidence"))


def maps(rows: int, *, relu: bool, seed: int) -> torch.Tensor:
    """Smooth maps; behind a ReLU some half of the values are 0."""
    rng = np.random.default_rng(seed)
    noise = gaussian_filter(rng.standard_normal((INPUTS, rows, SIDE, SIDE)), (0, 0, 1, 1))
    values = torch.from_numpy(noise.astype(np.float32)).flatten(2)
    return values.relu() if relu else values


def measure(rounds: int) -> list[dict[str, Any]]:
    """Records: contestant, shape, pairs a CPU second, and the ratio of ours to it."""
    found: list[dict[str, Any]] = []
    for rows, cols, title in SHAPES:
        a, b = maps(rows, relu=rows == 64, seed=0), maps(cols, relu=cols == 64, seed=1)
        work: dict[str, Callable[[], object]] = {}
        counts: dict[str, int] = {}
        for name, (estimator, inputs) in OURS.items():
            few = SLOW if inputs == 1 else cols
            work[name] = _ours(estimator, a[:inputs], b[:inputs, :few])
            counts[name] = inputs * rows * min(few, cols)
        for name, (peer, inputs, _) in PEERS.items():
            few = SLOW if inputs == 1 else cols
            runs = _peer(peer, a[:inputs].numpy(), b[:inputs, :few].numpy())
            try:
                runs()
            except ImportError as missing:
                found.append({"shape": title, "contestant": name, "missing": str(missing)})
                continue
            work[name], counts[name] = runs, inputs * rows * min(few, cols)
        spent = interleaved(work, rounds)
        speed = {name: counts[name] / spent[name]["cpu"] for name in work}
        found += [
            {"shape": f"{title}, {rows} x {cols}", "contestant": name,
             "pairs_a_second": speed[name], "ours_over_it": _ratio(name, speed),
             "pairs": counts[name]}
            for name in work
        ]  # fmt: skip
        found.append(_floor(rows, cols, title))
    return found


def _ours(estimator: Estimator, a: torch.Tensor, b: torch.Tensor) -> Callable[[], object]:
    def run() -> object:
        return estimator.pairwise(estimator.encode(a), estimator.encode(b))

    return run


def _peer(peer: Callable[..., object], a: Any, b: Any) -> Callable[[], object]:
    def run() -> object:
        return [peer(x, y) for x, y in zip(a, b, strict=True)]

    return run


def _ratio(name: str, speed: dict[str, float]) -> float | None:
    if name not in PEERS:
        return None
    counterpart = PEERS[name][2]
    mine = f"binned_width, {BINS} bins" if counterpart == "binned_width" else counterpart
    return speed[mine] / speed[name]


def _floor(rows: int, cols: int, title: str) -> dict[str, Any]:
    """What the copula cannot do without: each value read and a code written, one product a pair."""
    machine, n = machine_floor(), SIDE * SIDE
    pairs, values = rows * cols, (rows + cols) * n
    seconds = pairs * n / machine["macs_a_second"] + 8 * values / machine["bytes_a_second"]
    return {"shape": f"{title}, {rows} x {cols}", "contestant": "floor of the copula (no ranking)",
            "pairs_a_second": pairs / seconds, "ours_over_it": None,
            "multiply_adds_an_input": pairs * n, "bytes_an_input": 8 * values}  # fmt: skip
