"""Drift over depth: from which layer the flow goes to the rival, for each attack."""

from __future__ import annotations

from collections.abc import Mapping

from undertow.figures.contrasts import INTERVAL, attack_series, band_told, of_run
from undertow.figures.data import Axis, FigureData, Panel
from undertow.figures.from_run import of_model
from undertow.figures.palette import markers, paints
from undertow.figures.wording import SHORT_DEPTH, ZERO, attack_name, count
from undertow.store import Contrast, Run

__all__ = ["FIGURE", "build"]

COLUMNS = 4
"""Panels side by side."""
LEVEL = Axis(label="drift", unit="bit")
CHANGE = Axis(label="change", unit="bit")


def build(contrasts: Mapping[str, Contrast], *, model: str) -> FigureData:
    """A column an attack: drift as it is above, its paired difference from benign below.

    Args:
        contrasts: drift of each attack.
        model: the model that infers.
    """
    attacks = list(contrasts)
    color, marker = paints(attacks), markers(attacks)
    panels = []
    for place, attack in enumerate(attacks):
        found = contrasts[attack]
        row, column = 2 * (place // COLUMNS), place % COLUMNS
        look = {"label": attack_name(attack), "color": color[attack], "marker": marker[attack]}
        panels.append(
            Panel(
                title=f"{attack_name(attack)} (n = {found.n})", x=SHORT_DEPTH, y=LEVEL,
                marks=(ZERO,), series=attack_series(found, found.level, **look), row=row,
                column=column,
            )
        )  # fmt: skip
        panels.append(
            Panel(
                title="less benign", x=SHORT_DEPTH, y=CHANGE, marks=(ZERO,), row=row + 1,
                column=column, series=attack_series(found, found.change, **look), height=0.8,
            )
        )  # fmt: skip
    counts = sorted({c.n for c in contrasts.values()})
    return FigureData(
        name="drift",
        title=f"Where the flow leaves the true class, in {model}",
        caption=(
            "Drift: flow towards the class that the attack reaches, less flow towards the true "
            "one; above 0 a layer says more of the wrong class. Top: the inputs that each attack "
            "succeeds on, benign and attacked; bottom: their paired difference; "
            "depth is the share of multiply-adds (MACs); "
            f"{count(counts[-1])} in the largest panel, each says its own; bars: {INTERVAL}."
            f"{band_told(contrasts)}"
        ),
        n=counts[-1],
        interval=INTERVAL,
        panels=tuple(panels),
    )


def _draw(run: Run, model: str) -> FigureData | None:
    found = of_run(run, model, "drift")
    return build(found, model=model) if found else None


def _models(run: Run) -> list[str]:
    return [m for m in run.models if of_run(run, m, "drift")]


FIGURE = of_model("drift", build, _draw, _models, "drift of successful inputs")
