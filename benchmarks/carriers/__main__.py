"""Costs and limits of carriers: ``python -m benchmarks.carriers [--inputs 100]``.

Costs are ratios to one forward pass over the same inputs, timed in turns in one run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import undertow as ut
from benchmarks.carriers.limits import bound, exhaustive, searched
from benchmarks.tables import as_table
from undertow.measuring.carriers import RANKINGS
from undertow.measuring.carriers.compared import Compared
from undertow.measuring.carriers.integrated import RADAU, along
from undertow.measuring.carriers.putting import Sides, first, quarter
from undertow.taps import choose

SHOWN = {name: RANKINGS[name] for name in RANKINGS}
SHOWN["two points"] = lambda pair, tap: along(pair, tap, RADAU)
"""Shipped rankings, and what integrating with two points in place of one would give."""


def pair_of(name: str, data: str, inputs: int, epsilon: float) -> Compared:
    """Inputs that a model gets right, and what IGSM with its whole budget makes of them."""
    model = ut.load_model(name)
    x, y = ut.load_data(data, split="test")[: 2 * inputs]
    with torch.no_grad():
        right = model(x).argmax(1) == y
    x, y = x[right][:inputs], y[right][:inputs]
    found = ut.craft(ut.attacks.IGSM(epsilon=epsilon, stop=False), model, x, y)
    won = found.success
    rival = found.end_logits[won].argmax(1)
    return Compared(model, choose(model, x[:1]), x[won], found.end[won], y[won], rival)


def fresh(pair: Compared) -> Compared:
    """The same inputs, nothing run yet."""
    return Compared(pair.model, pair.taps, pair.benign, pair.adversarial, pair.label, pair.rival)


def costs(pair: Compared, times: int = 9) -> list[dict[str, Any]]:
    """What ranking every tap costs, in forward passes, beyond the maps of both ends."""

    def forward() -> None:
        with torch.no_grad():
            pair.model(pair.benign)

    def ranked(name: str) -> Callable[[], None]:
        def run() -> None:
            new = fresh(pair)
            for tap in new.taps:
                SHOWN[name](new, tap)

        return run

    jobs: dict[str, Callable[[], None]] = {"forward": forward, "maps of both": lambda: maps(pair)}
    jobs |= {name: ranked(name) for name in SHOWN}
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(times):
        for name, job in jobs.items():
            started = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - started)
    one = statistics.median(seconds["forward"])
    base = statistics.median(seconds["maps of both"])
    return [
        {
            "ranking": name,
            "forward passes": statistics.median(seconds[name]) / one,
            "beyond the maps": (statistics.median(seconds[name]) - base) / one,
        }
        for name in ("maps of both", *SHOWN)
    ]


def maps(pair: Compared) -> None:
    """The maps of both inputs at every tap, without slopes."""
    from undertow.taps.replace import outputs

    for x in (pair.benign, pair.adversarial):
        outputs(pair.model, x, pair.taps)


def shares(pair: Compared, *, every: bool) -> list[dict[str, Any]]:
    """With a quarter of the maps, share restored by each ranking; what a search and bounds say."""
    rows = []
    head = [m for m in pair.model.modules() if isinstance(m, nn.Linear)][-1]
    for tap in pair.taps:
        sides, count = Sides.of(pair, tap), quarter(tap.shape[0])
        row: dict[str, Any] = {"tap": tap.name, "maps": tap.shape[0]}
        every_row = torch.arange(len(pair.label))
        for name in SHOWN:
            mask = first(SHOWN[name](pair, tap).float().cpu(), (count,))[:, 0]
            row[name] = round(float(sides.restored(mask, every_row).float().mean()), 3)
        if every:
            row["of all sets"] = round(exhaustive(pair, tap), 3) if tap.shape[0] <= 16 else None
        else:
            row["searched"] = round(searched(pair, tap), 3)
            row["bound"] = round(bound(pair, tap, head), 3) if tap is pair.taps[-1] else None
        rows.append(row)
    return rows


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100)
    inputs = parser.parse_args().inputs
    pairs = {e: pair_of("good_init", "cifar10", inputs, e / 255) for e in (2, 8)}
    print("Cost of ranking all eight taps of good_init:")
    print(as_table(costs(pairs[8])))
    pair = pairs[8]
    started = time.perf_counter()
    ut.carriers(pair.model, (pair.benign, pair.adversarial), pair.label)
    seconds = time.perf_counter() - started
    print(f"\nut.carriers, {len(pair.label)} inputs x {len(pair.taps)} taps: {seconds:.1f} s")
    for epsilon, one in pairs.items():
        print(f"\nQuarter of the maps, good_init, IGSM {epsilon}/255, {len(one.label)} inputs:")
        print(as_table(shares(one, every=False)))
    small = pair_of("digits_cnn", "digits", inputs, 0.3)
    print(f"\nQuarter of the maps, digits_cnn, IGSM 0.3, {len(small.label)} inputs:")
    print(as_table(shares(small, every=True)))


if __name__ == "__main__":
    main()
