"""``python -m benchmarks.device``: does everything hold on an accelerator, and what does it gain?

Within six minutes and without a network: the tests marked ``gpu``, then measuring against the
forward pass, every attack against its twin on the CPU in equality and speed, and a study. On a
machine without an accelerator the CPU stands in for it, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

import undertow as ut
from benchmarks.tables import as_table
from undertow.attacks import ATTACKS
from undertow.errors import UndertowError
from undertow.measuring.meter import Meter
from undertow.models.devices import native
from undertow.studies.asked.spec import load_spec
from undertow.studies.run import study
from undertow.taps.choose import choose

FEW = {"jsma": 8, "cw": 16, "cw_linf": 4, "cw_l0": 4, "deepfool": 32}
"""Inputs of attacks that take long on the CPU; 64 of the others."""


def main() -> int:
    """Run all parts, print one table, write JSON where asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device", description=__doc__)
    here = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=here, help=f"default: {here}")
    parser.add_argument("--inputs", type=int, default=200, help="inputs of the study; 0: no study")
    parser.add_argument("--part", action="append", choices=PARTS, help="default: all")
    parser.add_argument("--data", default="cifar10", help="cifar10, or digits where it is not")
    parser.add_argument("--json", metavar="FILE", help="also write all numbers here")
    options = parser.parse_args()
    accelerator = options.device != "cpu"
    name = torch.cuda.get_device_name(0) if accelerator else "the CPU, standing in"
    try:
        ut.load_data(options.data)
    except UndertowError as error:
        print(f"{options.data}: {error}; digits instead", file=sys.stderr)
        options.data = "digits"
    options.model = "digits_cnn" if options.data == "digits" else "good_init"
    print(f"device: {name}; torch {torch.__version__}; {options.model}", flush=True)
    rows: list[dict[str, Any]] = []
    for part in options.part or PARTS:
        began = time.perf_counter()
        for row in PARTS[part](options):
            rows.append({"part": part, **row})
        print(f"{part}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    print(as_table(rows))
    if options.json:
        about = {"device": name, "torch": torch.__version__, "model": options.model}
        Path(options.json).write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")
    return 1 if any(row.get("failed") for row in rows) else 0


def _tests(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The contract suites and the tests of the device, in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/device"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "UNDERTOW_TEST_DEVICE": options.device},
    )  # fmt: skip
    last = (done.stdout.strip().splitlines() or ["nothing ran"])[-1]
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-2000:], file=sys.stderr)
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
    failed = counts.get("failed", 0) + counts.get("error", 0) + (done.returncode not in (0, 1))
    yield {"what": "tests marked gpu", "passed": counts.get("passed", 0), "failed": failed}


def _seconds(work: Callable[[], object], device: str, rounds: int = 5) -> float:
    """Least wall seconds, the device's queue included."""
    best = float("inf")
    for _ in range(rounds + 1):
        began = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return best


def _measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    model = ut.load_model(options.model, device=options.device)
    x = ut.load_data(options.data)[:256][0].to(options.device)
    taps = choose(model, x[:1])
    meter = Meter(model, taps, references=ut.load_data(options.data, "train")[:8][0].to(x))
    for batch in (64, 256):

        def forward(batch: int = batch) -> object:
            with torch.inference_mode():
                return model(x[:batch])

        plain = _seconds(forward, options.device)
        whole = _seconds(lambda batch=batch: meter(x[:batch]), options.device)
        yield {
            "what": f"all profiles, batch {batch}", "device_s": whole, "by_forward": whole / plain,
        }  # fmt: skip


def _attacks(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Each attack at its defaults: seconds, successes and distances beside the CPU's."""
    models = {
        d: ut.load_model(options.model, device=d) for d in dict.fromkeys(["cpu", options.device])
    }
    for name in ATTACKS:
        if ATTACKS.needs(name):  # controls, and what takes several models
            continue
        count = FEW.get(name, 64)
        x, y = ut.load_data(options.data)[:count]
        yield from _beside(name, x, y, models, options.device, "float32")
        half = native(torch.device(options.device)) == torch.bfloat16
        if half and name in ("igsm", "jsma", "deepfool"):
            yield from _beside(name, x, y, models, options.device, "bf16")


def _beside(
    name: str, x: torch.Tensor, y: torch.Tensor, models: Any, device: str, kind: Any
) -> Iterator[dict[str, Any]]:
    attack = ATTACKS[name]()
    found, spent = [], []
    for place, how in (("cpu", "float32"), (device, kind)):
        began = time.perf_counter()
        found.append(ut.craft(attack, models[place], x, y, precision=how))
        spent.append(time.perf_counter() - began)
    here, there = found
    won = there.success.cpu()
    both = here.success & won
    gap = (there.l2.cpu()[both] / here.l2[both].clamp(min=1e-9)).log().abs().median()
    yield {
        "what": f"{name}, {kind}, {len(x)} inputs", "cpu_s": spent[0], "device_s": spent[1],
        "gain": spent[0] / spent[1], "success": float(won.float().mean()),
        "agree": float((here.success == won).float().mean()),
        "median_l2_ratio": float(gap.exp()) if both.any() else None,
    }  # fmt: skip


def _study(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    if not options.inputs:
        return
    spec = load_spec("paper" if options.data == "cifar10" else "carriers-digits")
    small = spec.model_copy(
        update={"data": spec.data.model_copy(update={"inputs": options.inputs})}
    )
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        run = study(small, out=Path(folder) / "run", device=options.device)
        seconds = time.perf_counter() - began
        claims = [c for q in (run.answers.questions if run.answers else ()) for c in q.claims]
    yield {
        "what": f"study {spec.name}, {options.inputs} inputs a cell", "device_s": seconds,
        "claims": len(claims),
    }  # fmt: skip


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[dict[str, Any]]]] = {
    "tests": _tests,
    "measure": _measure,
    "attacks": _attacks,
    "study": _study,
}

if __name__ == "__main__":
    sys.exit(main())
