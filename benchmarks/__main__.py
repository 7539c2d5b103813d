"""Every benchmark in turn: ``python -m benchmarks [attacks carriers information study viewer]``."""

from __future__ import annotations

import subprocess
import sys

ALL = ("information", "attacks", "carriers", "study", "viewer")


def main(names: list[str]) -> int:
    """Run the named benchmarks, each in a process of its own; all by default."""
    unknown = sorted(set(names) - set(ALL))
    if unknown:
        print(f"unknown benchmark '{unknown[0]}' (allowed: {', '.join(ALL)})", file=sys.stderr)
        return 2
    codes = []
    for name in names or ALL:
        print(f"== {name}", flush=True)
        codes.append(subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False))
    return max(code.returncode for code in codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
