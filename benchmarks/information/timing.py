"""Process CPU seconds of several contestants, interleaved, and what this machine can do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

__all__ = ["interleaved", "machine_floor"]

Work = Callable[[], object]


def interleaved(contestants: Mapping[str, Work], rounds: int) -> dict[str, dict[str, float]]:
    """Least CPU and wall seconds of each, all run in turn in every round.

    The least, because whatever else runs on the machine only ever adds; in turn, because it adds
    to all of them alike.
    """
    for work in contestants.values():
        work()
    best = {name: {"cpu": float("inf"), "wall": float("inf")} for name in contestants}
    for _ in range(rounds):
        for name, work in contestants.items():
            cpu, wall = time.process_time(), time.perf_counter()
            work()
            spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
            for clock, seconds in spent.items():
                best[name][clock] = min(best[name][clock], seconds)
    return best


def machine_floor() -> dict[str, float]:
    """Multiply-adds a second of a large float32 product, bytes a second of a large copy."""
    a = np.ones((512, 512), dtype=np.float32)
    big, other = np.ones(1 << 24, dtype=np.uint8), np.empty(1 << 24, dtype=np.uint8)
    spent = interleaved({"product": lambda: a @ a, "copy": lambda: np.copyto(other, big)}, 7)
    return {"macs_a_second": 512**3 / spent["product"]["wall"],
            "bytes_a_second": 2 * big.nbytes / spent["copy"]["wall"]}  # fmt: skip
