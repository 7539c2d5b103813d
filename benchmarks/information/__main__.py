"""``python -m benchmarks.information``: tables, and all of it as JSON if asked for."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from benchmarks.information import costs, pairs
from benchmarks.information.peers import versions

PARTS = ("pairs", "profiles", "scaling", "memory")


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
        elif part == "scaling":
            found[part] = costs.scaling(options.rounds)
        else:
            found[part] = costs.memory()
        if not options.json:
            print(f"{part} ({options.threads} threads)\n{_table(found[part])}\n", flush=True)
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


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_cell(row.get(key)) for key in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [columns, *cells]
    )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    raise SystemExit(main())
