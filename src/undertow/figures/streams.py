"""Class information: bits about each class over depth, and where one takes over from another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from undertow.figures.data import Axis, FigureData, Mark, Marker, Panel, Series
from undertow.figures.from_run import class_names, of_input
from undertow.figures.palette import FAINT, INK
from undertow.figures.wording import DEPTH, ZERO, count, tap_marks
from undertow.store import Run

__all__ = ["FIGURE", "build", "takeover_tap"]

_ADVERSARIAL = "#d55e00"


def takeover_tap(bits: np.ndarray, label: int, adversarial: int) -> int | None:
    """The first tap from which the adversarial class holds more bits than the true one for good.

    Args:
        bits: (tap, class).
        label: true class.
        adversarial: class of the model's answer.
    """
    if adversarial == label:
        return None
    ahead = bits[:, adversarial] > bits[:, label]
    behind = np.flatnonzero(~ahead)
    first = int(behind[-1]) + 1 if behind.size else 0
    return first if first < len(ahead) else None


def _streams(
    bits: np.ndarray,
    depth: np.ndarray,
    taps: tuple[str, ...],
    names: Sequence[str],
    label: int,
    adversarial: int,
) -> tuple[Series, ...]:
    hover = tap_marks(taps, depth)
    others = [
        Series(
            x=depth,
            y=bits[:, m],
            label="other classes",
            group="other classes",
            color=FAINT,
            width=0.9,
            opacity=0.75,
            legend=i == 0,
            hover=tuple(f"{names[m]}: {h}" for h in hover),
        )
        for i, m in enumerate(m for m in range(bits.shape[1]) if m not in (label, adversarial))
    ]
    told: list[tuple[int, str, str, Marker]] = [(label, "true class", INK, "circle")]
    if adversarial != label:
        told.append((adversarial, "adversarial class", _ADVERSARIAL, "diamond"))
    for m, words, color, marker in told:
        look: dict[str, Any] = {"color": color, "marker": marker, "width": 2.4, "group": words}
        name = f"{words}: {names[m]}"
        others.append(Series(x=depth, y=bits[:, m], label=name, hover=hover, **look))
    return tuple(others)


def build(
    *,
    bits: np.ndarray,
    steps: Sequence[int],
    depth: np.ndarray,
    taps: tuple[str, ...],
    label: int,
    adversarial: int,
    classes: Sequence[str],
    name: str,
) -> FigureData:
    """One panel an iterate, the takeover marked where there is one.

    Args:
        bits: (step, tap, class).
        steps: the attack's step numbers of these iterates.
        depth: (tap,).
        taps: their names.
        label: true class.
        adversarial: the class that the attack ends in.
        classes: names of the classes.
        name: the input and the attack in words.
    """
    low, high = float(np.nanmin(bits)), float(np.nanmax(bits))
    reach = 0.05 * max(high - low, 1e-6)
    axis = Axis(label="class information", unit="bit", low=low - reach, high=high + reach)
    panels, said = [], []
    for column, (step, at) in enumerate(zip(steps, bits, strict=True)):
        tap = takeover_tap(at, label, adversarial)
        marks = [ZERO]
        if tap is not None:
            marks.append(Mark(at=float(depth[tap]), label="takeover", color=_ADVERSARIAL))
            said.append(
                f"at step {step} the adversarial class takes over at tap {taps[tap]}, depth "
                f"{depth[tap]:.2f}"
            )
        panels.append(
            Panel(
                title="Benign (step 0)" if step == 0 else f"Step {step}",
                x=DEPTH,
                y=axis,
                column=column,
                marks=tuple(marks),
                series=_streams(at, depth, taps, classes, label, adversarial),
            )
        )
    found = ("; ".join(said) or "the adversarial class takes over nowhere") + "."
    return FigureData(
        name="streams",
        title=f"Which class the information is about: {name}",
        caption=(
            "Pointwise V-information that a linear reader of each tap holds about each class (0: "
            "no more than guessing; "
            f"at most log2 of the number of classes): {found} {count(1)}, interval: none."
        ),
        n=1,
        interval="none",
        panels=tuple(panels),
    )


def _draw(run: Run, data: Any, name: str, *, steps: Sequence[int] | None = None) -> FigureData:
    """Benign and last iterate unless ``steps`` says otherwise."""
    all_steps = [int(s) for s in data["step"].values]
    chosen = list(dict.fromkeys([all_steps[0], all_steps[-1]])) if steps is None else list(steps)
    rows = [all_steps.index(s) for s in chosen if s in all_steps]
    answers = data["logits"].values.argmax(axis=1)
    return build(
        bits=data["class_information"].values[rows],
        steps=[all_steps[r] for r in rows],
        depth=data["depth"].values,
        taps=tuple(map(str, data["tap"].values)),
        label=int(data.attrs.get("label", answers[0])),
        adversarial=int(answers[-1]),
        classes=class_names(run, data),
        name=name,
    )


FIGURE = of_input(
    "streams", build, _draw, lambda data: "class_information" in data, "class information"
)
