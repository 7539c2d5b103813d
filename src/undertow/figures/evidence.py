"""What was changed in the picture, and where the evidence for each class lies in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from undertow.figures.data import FigureData, Panel, Picture
from undertow.figures.from_run import class_names, input_name, of_recorded
from undertow.figures.perturbation import rgb, unit_interval
from undertow.figures.wording import count
from undertow.store import Cell, Run

__all__ = ["FIGURE", "build", "overlaid"]

GROWN: Final = 6
"""By how much small pictures are enlarged, so that evidence lies smoothly on them."""
LARGE: Final = 128
"""Pictures of this side are large enough."""
WARM: Final = np.array([213, 94, 0]) / 255
"""The colour of evidence."""


def _enlarged(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(row, col) values at another size, smoothly."""
    from PIL import Image

    grown = Image.fromarray(plane.astype(np.float32)).resize(
        (size[1], size[0]), Image.Resampling.BICUBIC
    )
    return np.asarray(grown, dtype=float)


def overlaid(image: np.ndarray, evidence: np.ndarray, top: float) -> np.ndarray:
    """Evidence for a class laid over the picture in grey: uint8 (row, col, 3).

    Args:
        image: (channel, row, col) in [0, 1].
        evidence: (row, col); what speaks for the class is above 0.
        top: evidence drawn in full colour.
    """
    plain = rgb(image).astype(float) / 255
    times = GROWN if max(plain.shape[:2]) < LARGE else 1
    plain = np.repeat(np.repeat(plain, times, axis=0), times, axis=1)
    grey = 0.25 + 0.7 * plain.mean(axis=2, keepdims=True)
    speaks = np.clip(_enlarged(evidence, plain.shape[:2]) / max(top, 1e-12), 0, 1)[..., None]
    found: np.ndarray = np.rint(255 * (grey * (1 - 0.85 * speaks) + WARM * 0.85 * speaks))
    return found.clip(0, 255).astype(np.uint8)


def build(
    *,
    images: np.ndarray,
    evidence: np.ndarray,
    classes: tuple[str, str],
    answers: Sequence[str],
    name: str,
) -> FigureData:
    """Pictures above, the evidence for the true class and for the rival below.

    Args:
        images: (moment, channel, row, col) in [0, 1]; one, or before and after an attack.
        evidence: (moment, class, row, col) of the true class and the rival.
        classes: these two.
        answers: what the model says of each picture.
        name: the input and the attack in words.
    """
    two = len(images) > 1
    words = ("before", "after") if two else ("",)
    pictures = [
        (f"{'Benign' if i == 0 else 'Attacked'}: {a}", rgb(x))
        for i, (x, a) in enumerate(zip(images, answers, strict=True))
    ]
    told = ""
    if two:
        change = images[1] - images[0]
        largest = float(np.abs(change).max())
        gain = max(1.0, float(f"{0.5 / largest:.2g}")) if largest else 1.0
        pictures.append((f"Change × {gain:g}", rgb(0.5 + gain * change)))
        times = f", times {gain:g}" if gain > 1 else ""
        told = f"the change about mid grey{times}; "
    below = []
    for c, who in enumerate(classes):
        top = float(np.abs(evidence[:, c]).max())
        for i, (image, word) in enumerate(zip(images, words, strict=True)):
            below.append(
                (f"Evidence for {who} {word}".strip(), overlaid(image, evidence[i, c], top))
            )
    panels = [
        Panel(title=title, picture=Picture(pixels=pixels), row=row, column=column, height=0.72)
        for row, line in enumerate((pictures, below) if two else (pictures + below,))
        for column, (title, pixels) in enumerate(line)
    ]
    return FigureData(
        name="evidence",
        title=f"What was changed, and where the evidence lies: {name}" if two
        else f"Where the evidence lies: {name}",
        caption=(
            f"The picture{'s' if two else ''}; {told}and in orange where the last layer "
            f"with positions finds evidence for {classes[0]} and for {classes[1]} (its class "
            "evidence maps, above 0; one scale a class). "
            f"{count(1)}, interval: none."
        ),
        n=1,
        interval="none",
        panels=tuple(panels),
    )  # fmt: skip


def _draw(run: Run, cell: Cell, index: int) -> FigureData:
    data = run.exemplar(cell, index)
    steps = data["step"].values.tolist()
    end = int(data.attrs.get("end", steps[-1]))
    rows = [0] if len(steps) == 1 else [0, steps.index(end) if end in steps else len(steps) - 1]
    names = class_names(run, data)
    who = [int(data.attrs["label"]), int(data.attrs["rival"])]
    logits = data["logits"].values[rows].astype(float)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    said = [f"{names[k]} {p[k]:.0%}".replace("%", " %") for p in shares for k in [int(p.argmax())]]
    name = f"input {index} on {cell.model}" if cell.benign else input_name(cell, index)
    evidence = data["evidence"].values[[0, -1] if len(rows) > 1 else [0]][:, who]
    return build(
        images=unit_interval(data["images"].values[rows]),
        evidence=evidence.astype(float),
        classes=(names[who[0]], names[who[1]]),
        answers=said,
        name=name,
    )


FIGURE = of_recorded("evidence", build, _draw, "evidence", "recorded inputs with evidence maps")
