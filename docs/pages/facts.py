"""The page of measured facts, from the answers of kept runs and from a kept calibration.

``docs/results/calibrate.json`` is what ``undertow calibrate --part smoothness --json`` prints of
the default estimator.
"""

from __future__ import annotations

import json
from typing import Any, Final

from pages.results import HERE
from undertow.prose import prose

__all__ = ["page"]

FACTS: Final = (
    ("What an attack does to profiles, beside its controls", "paper",
     ("What an attack does to the IPs is due", "The information flows of adversarial inputs")),
    ("What it does to the flow", "paper",
     ("Every attack turns the flow", "Attacks differ in the depth")),
    ("Which maps carry it", "carriers",
     ("At every tap, the quarter of the maps that integrated attribution names first returns the "
      "true label more often than as many", "Integrated along the way, attribution restores more "
      "than size")),
    ("Defences under attacks that know them", "defences", ("Existing defences are often",)),
    ("Networks compared at equal success", "turning", ("Adversarial training moves the depth from "
     "which the flow turns (drift is positive for good), the same way",)),
)  # fmt: skip
"""Headings, the study that answers, and how the claims begin."""
TEXT: Final = """# What was measured

The definitions lead to claims, and claims can fail. Each block below is copied from a stored run by
`python docs/build.py`, with the command that makes the run; [results](../results/index.md) has all
of them with their numbers, controls and rules.

## What an estimate shows where there is nothing

Mean bits of the default estimator between maps that know nothing of each other, by how smooth
they are (standard deviation of the blur, in positions): as estimated, and net of two nulls.
`undertow calibrate --part smoothness` prints this for every estimator, null and grid.

{table}

An estimate without a null rises with smoothness, and more so the fewer the positions; shuffling
positions destroys the smoothness and so takes nothing off.
"""


def _smoothness() -> str:
    kept = json.loads((HERE / "calibrate.json").read_text(encoding="utf-8"))
    found = {(one["n"], one["task"], one["null"]): one["mean"] for one in kept}
    lines = ["| positions | blur | as estimated | net of `mismatch` | net of `shuffle` |",
             "|---|---|---|---|---|"]  # fmt: skip
    for n in sorted({one["n"] for one in kept}):
        for task in sorted({one["task"] for one in kept}):
            values = (found[n, task, null] for null in ("", "mismatch", "shuffle"))
            told = " | ".join(
                f"{round(value, 3) or 0.0:+.3f}".replace("-", "−") for value in values
            )
            lines.append(f"| {n} | {task.removeprefix('blur ')} | {told} |")
    return "\n".join(lines)


def _claim(claims: list[dict[str, Any]], begins: str) -> str:
    one = next(c for c in claims if c["claim"].startswith(begins))
    verdict = one["verdict"].capitalize()
    why = f" Why: {prose(one['reason'])}." if one["reason"] else ""
    return f"**{verdict}**: *{prose(one['claim'])}* {prose(one['sentence'])}{why}"


def page() -> str:
    """The whole page."""
    out = [TEXT.format(table=_smoothness())]
    for heading, study, begins in FACTS:
        kept = json.loads((HERE / study / "answers.json").read_text(encoding="utf-8"))
        claims = [
            claim for question in kept["answers"]["questions"] for claim in question["claims"]
        ]
        out += [f"## {heading}", "", f"`undertow study {study}`", ""]
        for begin in begins:
            out += [_claim(claims, begin), ""]
    return "\n".join(out)
