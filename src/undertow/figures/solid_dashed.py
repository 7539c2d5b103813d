"""Figures 3 and 4: inputs aimed at the inferring model (solid) and at other models (dashed)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from undertow.axes import PROFILES
from undertow.figures.aggregate import INTERVAL, curve_series
from undertow.figures.data import Figure, FigureData, Line, Marker, Panel, Series
from undertow.figures.palette import INK, PALETTE
from undertow.figures.wording import (
    DEPTH,
    attack_name,
    count,
    deciding,
    is_control,
    nothing,
    profile_axis,
)
from undertow.store import BENIGN, Curve, Run, split_key

__all__ = ["FIGURE", "build"]

Curves = Mapping[str, Mapping[str, Curve]]


def _style(model: str, key: str, colors: Mapping[str, str]) -> dict[str, Any]:
    attack, source, subset = split_key(key)
    if attack == BENIGN:
        return {"label": "benign", "color": INK}
    line: Line = (
        "solid" if source is None else "dotted" if subset == "non-transferable" else "dashed"
    )
    marker: Marker = "down" if source is None else "square"
    words = f", {subset}" if subset else ""
    return {
        "label": f"aimed at {source or model}{words}",
        "color": colors[source or model],
        "line": line,
        "marker": marker,
        "hollow": subset in ("non-transferable", "failed"),
    }


def build(
    curves: Mapping[str, Curves],
    *,
    attack: str,
    profiles: Sequence[str] = PROFILES,
    subsets: bool = False,
) -> FigureData:
    """A row a model, a column a profile; the colour says at which model the inputs were aimed.

    Args:
        curves: ``curves[model][key][profile]``.
        attack: which attack.
        profiles: which, in which order.
        subsets: whether transferable and non-transferable inputs are drawn apart.
    """
    models = list(curves)
    aimed = dict.fromkeys(
        [*models, *(s for c in curves.values() for k in c if (s := split_key(k)[1]))]
    )
    colors = dict(zip(aimed, PALETTE * (len(aimed) // len(PALETTE) + 1), strict=False))
    panels, most = [], 0
    told: list[str] = []
    for row, model in enumerate(models):
        keys = [k for k in curves[model] if _wanted(k, attack, subsets)]
        for column, profile in enumerate(profiles):
            series: list[Series] = []
            for key in keys:
                curve = curves[model][key].get(profile)
                if curve is not None:
                    style = _style(model, key, colors)
                    series += curve_series(curve, **style)
                    most = max(most, curve.n or 0)
                    if column == 0:
                        told.append(f"{curve.n} {style['label']} read by {model}")
            panels.append(
                Panel(
                    title=f"{model}: {profile.upper()}",
                    x=DEPTH,
                    y=profile_axis(profile),
                    series=tuple(series),
                    row=row,
                    column=column,
                )
            )
    split = "; dashed: those that transfer, dotted: those that do not" if subsets else ""
    return FigureData(
        name="solid_dashed",
        title=f"{attack_name(attack)} inputs aimed at the inferring model and at others"
        + (", by transfer" if subsets else ""),
        caption=(
            f"Solid: inputs aimed at the model that infers; dashed: aimed at another model{split}. "
            f"Black: benign. Mean profiles net of the null; {count(most)} in the largest curve "
            f"({'; '.join(told)}); band: {INTERVAL}."
        ),
        n=most,
        interval=INTERVAL,
        panels=tuple(panels),
    )


def _wanted(key: str, attack: str, subsets: bool) -> bool:
    of, source, subset = split_key(key)
    if of == BENIGN:
        return subset is None
    if of != attack:
        return False
    if source is None or not subsets:
        return subset is None
    return subset in ("transferable", "non-transferable")


def from_run(run: Run, *, attack: str | None = None, subsets: bool = False) -> FigureData:
    """Draw every model that has inputs of this attack aimed at another model.

    Args:
        run: the run.
        attack: which; ``None``: the first that crossed models.
        subsets: whether transferable and non-transferable inputs are drawn apart.
    """
    crossed = choices(run)
    if attack is None and crossed:
        attack = str(crossed[0]["attack"])
    found = run.answers.aggregates if run.answers else {}
    models = {m: c for m, c in found.items() if any(_crosses(k, attack, subsets) for k in c)}
    if attack is None or not models:
        raise nothing(f"{attack or 'attacks'} aimed at another model")
    return build(models, attack=attack, subsets=subsets)


def _crosses(key: str, attack: str | None, subsets: bool) -> bool:
    of, source, subset = split_key(key)
    return (
        source is not None and (attack is None or of == attack) and (subset is not None) == subsets
    )


def choices(run: Run) -> tuple[Mapping[str, Any], ...]:
    """Each attack that crossed models, and again by transfer where that is known."""
    found = run.answers.aggregates if run.answers else {}
    keys = [k for curves in found.values() for k in curves]
    crossed = {
        subsets: list(dict.fromkeys(split_key(k)[0] for k in keys if _crosses(k, None, subsets)))
        for subsets in (False, True)
    }
    # An attack with its split, then the next; controls come last.
    order = sorted(deciding(dict.fromkeys([*crossed[False], *crossed[True]])), key=is_control)
    return tuple(
        {"attack": attack, **({"subsets": True} if subsets else {})}
        for attack in order
        for subsets in (False, True)
        if attack in crossed[subsets]
    )


FIGURE = Figure("solid_dashed", build, from_run, choices)
