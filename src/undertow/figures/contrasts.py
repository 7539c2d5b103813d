"""Panels of one attack beside its controls: what both ways of drawing it share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from undertow.figures.data import Series
from undertow.figures.palette import FAINT, INK
from undertow.figures.wording import CONTROL_WORDS, tap_marks
from undertow.store import Contrast, Points, Run

__all__ = ["INTERVAL", "attack_series", "band_told", "of_run"]

INTERVAL = "95 % interval of the mean"


def _array(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], dtype=float)


def attack_series(
    contrast: Contrast, by: Mapping[str, Points], *, label: str, color: str, marker: str
) -> tuple[Series, ...]:
    """Grey band of the controls behind, then benign in black, then the attack.

    Args:
        contrast: whose taps they are.
        by: its levels or its changes.
        label: the attack in words.
        color: its colour.
        marker: its marker.
    """
    x = _array(contrast.depth)
    controls = [by[kind] for kind in CONTROL_WORDS if kind in by]
    found: list[Series] = []
    if controls:
        low = np.min([_array(c.low) for c in controls], axis=0)
        high = np.max([_array(c.high) for c in controls], axis=0)
        decides = by.get("transplant", controls[-1])
        found.append(
            Series(
                x=x, y=_array(decides.mean), low=low, high=high, color=FAINT, line="dashed",
                width=1.0, label="controls (band), transplant (dashed)", group="controls", rank=2,
                hover=tap_marks(contrast.tap, x),
            )
        )  # fmt: skip
    for who, word, ink, mark, rank in (
        ("benign", "benign", INK, "circle", 0),
        ("attack", label, color, marker, 1),
    ):
        if who in by:
            p = by[who]
            found.append(
                Series(
                    x=x, y=_array(p.mean), low=_array(p.low), high=_array(p.high), bars=True,
                    label=word, group=word, color=ink, marker=mark, rank=rank,  # type: ignore[arg-type]
                    width=2.0 if who == "attack" else 1.6, hover=tap_marks(contrast.tap, x),
                )
            )  # fmt: skip
    return tuple(found)


def band_told(contrasts: Mapping[str, Contrast]) -> str:
    """What the grey band is, for a caption; empty where there is none."""
    kinds = [k for k in CONTROL_WORDS if any(k in c.change for c in contrasts.values())]
    if not kinds:
        return ""
    told = "; ".join(f"{kind}, {CONTROL_WORDS[kind]}" for kind in kinds)
    return f" Grey: from the lowest to the highest interval of the controls ({told})."


def of_run(run: Run, model: str, quantity: str) -> dict[str, Contrast]:
    """One quantity of every attack on a model, as far as a run tells it."""
    found = run.answers.contrasts.get(model, {}) if run.answers else {}
    return {attack: by[quantity] for attack, by in found.items() if quantity in by}
