"""Each attack beside the control that decides: effect size at every tap, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from undertow.axes import PROFILES
from undertow.figures.data import Axis, FigureData, Panel, Series
from undertow.figures.from_run import of_model
from undertow.figures.palette import markers, paints
from undertow.figures.wording import (
    DEPTH,
    FULL,
    ZERO,
    benign_first,
    controls_told,
    count,
    curve_name,
    deciding,
    is_control,
    tap_marks,
)
from undertow.store import Effect, Run, split_key

__all__ = ["FIGURE", "build"]

INTERVAL = "95 % bootstrap interval"


def _array(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], dtype=float)


def _series(effect: Effect, key: str, color: str, marker: Any) -> Series:
    depth = _array(effect.depth)
    p = _array(effect.p_adjusted) if effect.p_adjusted else np.full(len(depth), np.nan)
    words = tap_marks(effect.tap, depth)
    return Series(
        x=depth,
        y=_array(effect.d_z),
        low=_array(effect.low) if effect.low else None,
        high=_array(effect.high) if effect.high else None,
        label=curve_name(key),
        color=color,
        marker=marker,
        hollow=is_control(key),
        line="dashed" if is_control(key) else "solid",
        bars=True,
        hover=tuple(
            w + (f", adjusted p {v:.2g}" if np.isfinite(v) else "")
            for w, v in zip(words, p, strict=True)
        ),
    )


def build(
    effects: Mapping[str, Mapping[str, Effect]], *, model: str, profiles: Sequence[str] = PROFILES
) -> FigureData:
    """One panel a profile, 0 being benign.

    Args:
        effects: ``effects[key][profile]``, against the same inputs left benign.
        model: the model that infers.
        profiles: which, in which order.
    """
    keys = benign_first([k for k in effects if effects[k]])
    color, marker = paints(keys), markers(keys)
    panels = tuple(
        Panel(
            title=FULL[profile],
            x=DEPTH,
            y=Axis(label=f"effect on {profile.upper()}", unit="d_z"),
            column=column,
            marks=(ZERO,),
            series=tuple(
                _series(effects[k][profile], k, color[k], marker[k])
                for k in keys
                if profile in effects[k]
            ),
        )
        for column, profile in enumerate(profiles)
    )
    n = max((e.n or 0 for by in effects.values() for e in by.values()), default=0)
    return FigureData(
        name="control",
        title=f"The attack, or any such change? Effects in {model}",
        caption=(
            "Paired effect size d_z (mean change over its standard deviation) at each tap against "
            "the same inputs "
            f"left benign; {count(n)} at most; bars: {INTERVAL}.{controls_told(keys)} A shift that "
            "a control shows too is not the attack's."
        ),
        n=n,
        interval=INTERVAL,
        panels=panels,
    )


def _draw(run: Run, model: str, *, attacks: Sequence[str] | None = None) -> FigureData | None:
    """Effects of ``attacks``; all of whole cells aimed at this model, if not said."""
    found = run.answers.effects.get(model) if run.answers else None
    if not found:
        return None
    keys = deciding(filter(_own, found)) if attacks is None else attacks
    return build({k: found[k] for k in keys if k in found}, model=model)


def _own(key: str) -> bool:
    return split_key(key)[1:] == (None, None)


def _models(run: Run) -> list[str]:
    found = run.answers.effects if run.answers else {}
    return [m for m, by in found.items() if any(map(_own, by))]


FIGURE = of_model("control", build, _draw, _models, "effect sizes")
