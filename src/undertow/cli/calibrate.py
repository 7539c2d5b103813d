"""``undertow calibrate``: the estimators where the truth is known."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from undertow.cli import options
from undertow.cli.options import Json, Quiet
from undertow.cli.show import document, say, table

PARTS = ("truth", "independence", "zeros", "smoothness", "aa", "verdicts")
SLOW = "verdicts"
"""Simulates for minutes, so it is done only where it is asked for."""
WORDS = {
    "truth": "Known mutual information",
    "independence": "Independent Gaussians",
    "zeros": "Independent maps with a share of zeros",
    "smoothness": "Independent maps, blurred, with each null taken off",
}


def calibrate(
    estimator: Annotated[
        list[str] | None, typer.Option(help="An estimator; may be repeated. All by default.")
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(
            help=f"One of {', '.join(PARTS)}; may be repeated. By default all but {SLOW}."
        ),
    ] = None,
    runs: Annotated[
        int, typer.Option(min=1, help=f"Simulated runs a line of {SLOW}; half have 32 inputs.")
    ] = 200,
    figure: Annotated[Path | None, typer.Option(help="Write a figure: .pdf, .svg or .png.")] = None,
    seed: options.Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hold estimators against known truths and noise, run the A/A test, simulate the verdicts."""
    from undertow.errors import UnknownName
    from undertow.information.calibrate import calibrate as measure
    from undertow.progress import terminal

    for name in part or ():
        if name not in PARTS:
            raise UnknownName("part", name, PARTS)
    chosen = tuple(part or (name for name in PARTS if name != SLOW))
    progress = terminal(quiet=quiet)
    records = measure(
        estimators=estimator, parts=tuple(p for p in chosen if p in WORDS), seed=seed,
        progress=progress,
    )  # fmt: skip
    rows = [asdict(r) for r in records]
    rates = []
    if "aa" in chosen:
        from undertow.measuring.aa import false_positives

        rates = [asdict(rate) for rate in false_positives(seed=seed, progress=progress)]
    errors = _verdicts(runs, seed) if SLOW in chosen else []
    if figure is not None:
        from undertow.figures.calibration import write_calibration

        write_calibration(rows, figure)
    if as_json:
        document({"estimators": rows, "aa": rates, "verdicts": errors})
        return
    for name, title in WORDS.items():
        found = [
            {k: v for k, v in row.items() if k != "part"} for row in rows if row["part"] == name
        ]
        if found:
            table(found, title=title)
            say()
    if rates:
        table(
            rates, title="A/A: two disjoint sets of benign inputs, compared as the study compares"
        )
    if errors:
        table(errors, title="Rules of verdicts: shares of simulated runs")


def _verdicts(runs: int, seed: int) -> list[dict[str, object]]:
    """Each rule at every planted effect: what is false must not be supported in more than 5 %."""
    from undertow.statistics.simulated import RULES, error_rates

    return [
        {
            "rule": line.rule,
            "asks": RULES[line.rule].words,
            "inputs vary": line.noise,
            "n": line.n,
            "planted": line.effect,
            "claim is": "true" if line.truth else "false",
            "supported": line.supported,
            "contradicted": line.contradicted,
            "runs": line.runs,
        }
        for line in error_rates(runs=runs, seed=seed)
    ]
