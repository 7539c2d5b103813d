"""``python -m benchmarks.study``: tables, and all of it as JSON if asked for."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.tables import as_table

PARTS = ("bookkeeping", "workers", "inputs")


def main() -> int:
    """Run the parts that were asked for and print them."""
    options = _options()
    found: dict[str, Any] = {"load": os.getloadavg(), "cores": os.cpu_count()}
    for part in options.part or PARTS:
        found[part] = globals()[f"_{part}"](options)
        if not options.json:
            print(f"{part}\n{as_table(found[part])}\n", flush=True)
    if options.json:
        print(json.dumps(found, indent=1))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="default: all")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--inputs", type=int, default=1000, help="most inputs (default 1000)")
    parser.add_argument("--model", default="good_init", help="default good_init")
    parser.add_argument("--data", default="cifar10", help="default cifar10")
    return parser.parse_args()


def _once(options: argparse.Namespace, inputs: int, **more: Any) -> dict[str, Any]:
    told = {
        "model": options.model, "data": options.data, "inputs": inputs, "workers": None,
        "attacks": ["fgsm", "igsm"], "folder": tempfile.gettempdir(), "warm": True, "shard": 50,
        "preset": None,
        **more,
    }  # fmt: skip
    line = [sys.executable, "-m", "benchmarks.study.once", json.dumps(told)]
    done = subprocess.run(
        line, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _bookkeeping(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The share of the run's processor time that store, ledger and statistics take."""
    rows = []
    for attacks in (["fgsm", "igsm"], ["igsm", "jsma"], ["quick"]):
        preset = attacks[0] if len(attacks) == 1 else None
        model = "all five" if preset else options.model
        found = _once(
            options, min(200, options.inputs), attacks=attacks, preset=preset, model=model
        )
        for part in ("store", "statistics"):
            found[f"{part} %"] = 100 * found[f"{part} cpu"] / found["cpu"]
        rows.append({"attacks": "+".join(attacks), **found})
    return rows


def _workers(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The same study with one and with two workers of one thread each."""
    inputs = min(200, options.inputs)
    same = {"attacks": ["igsm", "jsma"], "shard": max(2, inputs // 16)}
    rows = [_once(options, inputs, workers=n, **same) for n in (1, 2)]
    for row in rows:
        row["over one worker"] = rows[0]["seconds"] / row["seconds"]
        row["rate over one"] = row["inputs a second"] / rows[0]["inputs a second"]
    return rows


def _inputs(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Cost and memory as inputs grow."""
    rows = []
    for inputs in (n for n in (10, 100, 1000, 10_000) if n <= options.inputs):
        found = _once(options, inputs)
        found["cpu an input"] = found["cpu"] / inputs
        rows.append(found)
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
