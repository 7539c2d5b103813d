"""How often inputs made on one model fool another: a matrix of rates with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from undertow.figures.data import Axis, Figure, FigureData, Heat, Panel
from undertow.figures.wording import attack_name, count, nothing
from undertow.store import Run, Transfer

__all__ = ["FIGURE", "build"]

INTERVAL = "95 % interval of the rate"


def _words(transfer: Transfer, r: int, c: int) -> str:
    rate = transfer.rate[r][c]
    if rate is None:
        return "–"
    low = transfer.low[r][c] if transfer.low else None
    high = transfer.high[r][c] if transfer.high else None
    reach = f"\n{100 * low:.0f}–{100 * high:.0f}" if low is not None and high is not None else ""
    return f"{100 * rate:.0f} %{reach}"


def build(transfer: Transfer) -> FigureData:
    """Rows: the model that the inputs were aimed at; columns: the model that reads them.

    Args:
        transfer: rates with their intervals.
    """
    z = np.array([[np.nan if v is None else 100 * v for v in row] for row in transfer.rate])
    text = tuple(
        tuple(_words(transfer, r, c) for c in range(len(transfer.model)))
        for r in range(len(transfer.source))
    )
    n = max((v or 0 for row in transfer.n for v in row), default=0)
    panel = Panel(
        title="Rows: aimed at. Columns: fooled",
        height=max(0.8, 0.26 * len(transfer.source)),
        x=Axis(
            label="model that infers",
            ticks=tuple((float(i), m) for i, m in enumerate(transfer.model)),
        ),
        y=Axis(
            label="model aimed at",
            ticks=tuple((float(i), m) for i, m in enumerate(transfer.source)),
        ),
        heat=Heat(z=z, unit="% fooled", low=0.0, high=100.0, text=text),
    )
    return FigureData(
        name="transfer",
        title=f"Transfer of {attack_name(transfer.attack)} inputs",
        caption=(
            f"Share of inputs that fool the model in the column when they were aimed at the one in "
            "the row, beneath it its "
            f"{INTERVAL}, in per cent; {count(n)} a field at most."
        ),
        n=n,
        interval=INTERVAL,
        panels=(panel,),
    )


def from_run(run: Run, *, attack: str | None = None) -> FigureData:
    """Draw the rates that the answers hold.

    Args:
        run: the run.
        attack: which; ``None``: the first there is.
    """
    for transfer in run.answers.transfers if run.answers else ():
        if attack in (None, transfer.attack):
            return build(transfer)
    raise nothing(f"transfer rates of {attack or 'any attack'}")


def choices(run: Run) -> tuple[Mapping[str, Any], ...]:
    """One figure an attack that was aimed at one model and read by another."""
    found = run.answers.transfers if run.answers else ()
    return tuple({"attack": t.attack} for t in found if {*t.source, *t.model} > set(t.source[:1]))


FIGURE = Figure("transfer", build, from_run, choices)
