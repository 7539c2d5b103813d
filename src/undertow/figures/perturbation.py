"""What was changed: benign input, adversarial input and their difference, amplified."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from undertow.figures.data import FigureData, Panel, Picture
from undertow.figures.from_run import class_names, of_input
from undertow.figures.wording import count
from undertow.store import Run

__all__ = ["FIGURE", "build", "rgb", "thumbnail", "unit_interval"]


def unit_interval(images: np.ndarray) -> np.ndarray:
    """Stored images (uint8 or in [0, 1]) as float64 in [0, 1]."""
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    found: np.ndarray = images.astype(float) / scale
    return found


def rgb(image: np.ndarray) -> np.ndarray:
    """(channel, row, col) in [0, 1] as uint8 (row, col, 3); one channel becomes grey.

    Args:
        image: one, or three and more channels, of which the first three are shown.
    """
    shown = image[:3] if image.shape[0] >= 3 else np.repeat(image[:1], 3, axis=0)
    found: np.ndarray = (np.clip(np.moveaxis(shown, 0, 2), 0, 1) * 255).round().astype(np.uint8)
    return found


def thumbnail(image: np.ndarray, side: int = 64) -> str:
    """A small picture as a data address.

    Args:
        image: (channel, row, col) in [0, 1].
        side: its longer side, in pixels.
    """
    from PIL import Image

    picture = Image.fromarray(rgb(image))
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    kind = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    buffer = io.BytesIO()
    picture.resize(size, kind).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def build(
    *,
    benign: np.ndarray,
    adversarial: np.ndarray,
    name: str,
    gain: float | None = None,
    answers: tuple[str, str] = ("", ""),
) -> FigureData:
    """Three pictures side by side.

    Args:
        benign: (channel, row, col) in [0, 1].
        adversarial: likewise.
        name: the input and the attack in words.
        gain: by what the difference is multiplied; ``None``: so that the largest change just fits.
        answers: what the model calls the two.
    """
    change = adversarial - benign
    largest = float(np.abs(change).max())
    gain = gain if gain is not None else max(1.0, float(f"{0.5 / largest:.2g}")) if largest else 1.0
    l2, l0 = float(np.sqrt((change**2).sum())), int((change != 0).sum())
    words = [f"“{a}”" if a else "" for a in answers]
    pictures = (
        (f"Benign {words[0]}".strip(), rgb(benign)),
        (f"Adversarial {words[1]}".strip(), rgb(adversarial)),
        (f"Difference × {gain:g}", rgb(0.5 + gain * change)),
    )
    return FigureData(
        name="perturbation",
        title=f"What was changed: {name}",
        caption=(
            f"Left to right: the benign input, the adversarial input, and what was added, times "
            f"{gain:g} about mid grey. L2 distance {l2:.3g}, largest "
            f"change {largest:.3g} (inputs lie in [0, 1]), {l0} of {change.size} components "
            "changed. "
            f"{count(1)}, interval: none."
        ),
        n=1,
        interval="none",
        panels=tuple(
            Panel(title=title, picture=Picture(pixels=pixels), column=i)
            for i, (title, pixels) in enumerate(pictures)
        ),
    )


def _draw(
    run: Run, data: Any, name: str, *, step: int | None = None, gain: float | None = None
) -> FigureData:
    """At ``step``, the last by default."""
    steps = [int(s) for s in data["step"].values]
    row = steps.index(step) if step in steps else -1
    images = unit_interval(data["images"].values[[0, row]])
    names = class_names(run, data)
    said = data["logits"].values[[0, row]].argmax(axis=1)
    return build(
        benign=images[0],
        adversarial=images[1],
        name=name,
        gain=gain,
        answers=(names[said[0]], names[said[1]]),
    )


FIGURE = of_input("perturbation", build, _draw)
