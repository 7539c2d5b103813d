"""``python -m benchmarks.information``: tables, and all of it as JSON if asked for."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

import torch

from benchmarks.information import costs, pairs
from benchmarks.information.peers import versions
from benchmarks.tables import as_table

PARTS = ("pairs", "profiles", "scaling", "memory", "classes")


def main() -> int:
    """Run the parts that were asked for and print them."""
    options = _options()
    torch.set_num_threads(options.threads)
    found: dict[str, Any] = {"versions": versions(), "threads": options.threads,
                             "load": os.getloadavg()}  # fmt: skip
    for part in options.part or PARTS:
        if part == "pairs":
            found[part] = pairs.measure(options.rounds)
        elif part == "profiles":
            found[part] = costs.profiles(options.rounds, options.model)
        elif part == "classes":
            found[part] = costs.classes(options.rounds)
        elif part == "scaling":
            found[part] = costs.scaling(options.rounds)
        else:
            found[part] = costs.memory()
        if not options.json:
            print(f"{part} ({options.threads} threads)\n{as_table(found[part])}\n", flush=True)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        print("versions:", ", ".join(f"{k} {v}" for k, v in found["versions"].items()))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.information", description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="default: all")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default 5)")
    parser.add_argument("--threads", type=int, default=1, help="threads (default 1)")
    parser.add_argument("--model", default="good_init", help="for profiles (default good_init)")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
