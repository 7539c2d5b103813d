"""Fit detectors on one attack, try them on the others, and keep the numbers for the page.

Usage: python -m benchmarks.detection [--inputs 600] [--keep]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

import undertow as ut
from benchmarks.detection.features import GROUPS, Describer
from benchmarks.detection.judged import Scores, fitted, intervals
from benchmarks.tables import as_table
from undertow.attacks import make
from undertow.data import load_data
from undertow.measuring.readers_cache import readers_for
from undertow.models import ask, load_model
from undertow.models.devices import processor
from undertow.taps import choose

ATTACKS: Final[dict[str, dict[str, Any]]] = {
    "fgsm": {"epsilon": 4 / 255},
    "igsm": {"epsilon": 2 / 255, "stop": False, "steps": 10},
    "pgd": {"epsilon": 8 / 255, "stop": False, "steps": 10},
    "deepfool": {},
    "cw": {"rounds": 2, "steps": 40, "constant": 1.0, "learning_rate": 0.05},
    "jsma": {},
}
NOISE_L2: Final = 1.0
KEPT: Final = Path(__file__).resolve().parents[2] / "docs" / "results" / "detection.json"


def main(given: list[str]) -> int:
    """Run it, print the tables; with ``--keep`` write what the page is made of."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    parser.add_argument("--inputs", type=int, default=600)
    parser.add_argument("--model", default="good_init")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args(given)
    start = time.perf_counter()
    benign, noise, attacked = _described(options.model, options.inputs)
    print(f"described after {time.perf_counter() - start:.0f} s", flush=True)
    scores = {name: _scores(groups, benign, noise, attacked) for name, groups in GROUPS.items()}
    told = intervals(scores, "baselines", 0)
    rows = []
    for name, found in told.items():
        seen = scores[name].matrix()
        rate, alarms = scores[name].rates()
        rows.append(
            {
                "detector": name, **found,
                "seen": float(np.mean([seen[a, a] for a in ATTACKS])),
                "detected": rate, "noise alarms": alarms,
                "matrix": {f"{a} {b}": v for (a, b), v in seen.items()},
            }
        )  # fmt: skip
    shown = [{k: v for k, v in row.items() if k != "matrix"} for row in rows]
    print(as_table([{k: _words(v) for k, v in row.items()} for row in shown]))
    kept = {
        "model": options.model, "inputs": options.inputs, "attacks": ATTACKS, "rows": rows,
        "noise_l2": NOISE_L2, "seconds": round(time.perf_counter() - start),
        "processor": processor(), "torch": torch.__version__,
        "fooled": {a: float(np.isfinite(v["softmax"][:, 0]).mean()) for a, v in attacked.items()},
    }  # fmt: skip
    if options.keep:
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")
        print(KEPT)
    return 0


def _words(value: Any) -> Any:
    return " to ".join(f"{v:.3f}" for v in value) if isinstance(value, list) else value


Described = dict[str, np.ndarray]


def _described(name: str, inputs: int) -> tuple[Described, Described, dict[str, Described]]:
    """Benign inputs, noisy ones, and each attack's, in one order; NaN where an attack failed."""
    model, train, test = load_model(name), load_data("cifar10", "fit"), load_data("cifar10")
    x, y = test[: 2 * inputs]
    with torch.no_grad():
        right = torch.cat([ask(model, p).argmax(1) for p in torch.split(x, 250)]) == y
    x, y = x[right][:inputs], y[right][:inputs]
    taps = choose(model, x[:2])
    rows = np.random.default_rng(0).permutation(len(train))[:64]
    describer = Describer(
        model, taps, train, readers_for(model, taps, train, 2000, seed=0), train[rows][0]
    )
    benign = describer.describe(x)
    noisy = ut.craft(make("noise", l2=NOISE_L2), model, x, y).end
    attacked = {}
    for attack, settings in ATTACKS.items():
        t = ut.craft(make(attack, **settings), model, x, y, record=ut.Record(every=None))
        told = describer.describe(t.end)
        for values in told.values():
            values[~t.success.numpy()] = np.nan
        attacked[attack] = told
        print(f"{attack}: {float(t.success.float().mean()):.3f} fooled, mean L2 "
              f"{float(t.l2[t.success].mean()):.3f}", flush=True)  # fmt: skip
    return benign, describer.describe(noisy), attacked


def _scores(
    groups: tuple[str, ...], benign: Described, noise: Described, attacked: dict[str, Described]
) -> Scores:
    """Fitted on the first half of the inputs, told of the other."""

    def columns(described: Described) -> np.ndarray:
        return np.nan_to_num(np.concatenate([described[g] for g in groups], 1), nan=0.0)

    half = len(benign["softmax"]) // 2
    failed = {a: ~np.isfinite(v["softmax"][:, 0]) for a, v in attacked.items()}
    calm, rough = columns(benign), columns(noise)
    told: dict[str, Any] = {"benign": {}, "noise": {}, "adversarial": {}}
    for on in attacked:
        train = columns(attacked[on])[:half][~failed[on][:half]]
        detector = fitted(calm[:half], train, 0)
        told["benign"][on] = detector.predict_proba(calm[half:])[:, 1]
        told["noise"][on] = detector.predict_proba(rough[half:])[:, 1]
        for other in attacked:
            found = detector.predict_proba(columns(attacked[other])[half:])[:, 1]
            told["adversarial"][on, other] = np.where(failed[other][half:], np.nan, found)
    return Scores(**told)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
