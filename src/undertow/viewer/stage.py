"""One trajectory as the browser plays it: sent once, then every step is drawn there."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.figures import Axis, FigureData, Series
from undertow.figures import trajectory as lines
from undertow.figures.streams import build as streams
from undertow.figures.streams import takeover_tap
from undertow.viewer.path import Path
from undertow.viewer.rest import payload, shorter

__all__ = ["frames", "stage"]

MOST: Final = 2_000_000
"""Numbers of all pictures together; of longer trajectories fewer iterates are sent."""
ANSWERS: Final = 12
"""The most classes that are drawn one by one."""
NOW: Final = "#d55e00"


def _shown_channels(images: NDArray[Any]) -> NDArray[Any]:
    return images[:, :3] if images.shape[1] >= 3 else images[:, :1]


def _packed(array: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array.astype(kind)).tobytes()).decode()


def frames(images: NDArray[Any]) -> str:
    """Pictures as 16-bit numbers, (step, row, col, channel).

    That is finer than what a screen shows, so that a small change can still be amplified.
    """
    shown = np.moveaxis(_shown_channels(images), 1, 3)
    return _packed(np.rint(np.clip(shown, 0, 1) * 65535), "<u2")


def _thin(path: Path) -> Path:
    """Fewer iterates where all of them would be too much for a browser."""
    each = int(np.prod(_shown_channels(path.images[:1]).shape[1:]))
    most = max(2, MOST // max(each, 1))
    if len(path.steps) <= most:
        return path
    keep = np.unique(np.linspace(0, len(path.steps) - 1, most).round().astype(int))
    return replace(
        path,
        images=path.images[keep],
        steps=path.steps[keep],
        logits=path.logits[keep],
        profiles={p: v[keep] for p, v in path.profiles.items()},
        difference=None if path.difference is None else path.difference[keep],
        bits=None if path.bits is None else path.bits[keep],
        notes={n: v[keep] for n, v in path.notes.items()},
    )


def _told(path: Path) -> list[int]:
    """The classes that are drawn one by one: true, adversarial, then the likeliest at any step."""
    first = [path.label, path.adversarial]
    rest = np.argsort(-path.logits.max(axis=0), kind="stable").tolist()
    return list(dict.fromkeys([*first, *rest]))[:ANSWERS]


def _rounded(array: NDArray[Any] | None, digits: int = 5) -> Any:
    if array is None:
        return None
    flat = [
        float(f"{v:.{digits}g}") if np.isfinite(v) else None
        for v in np.asarray(array, float).ravel()
    ]
    shaped = np.empty(len(flat), dtype=object)
    shaped[:] = flat
    return shaped.reshape(np.shape(array)).tolist()


def stage(path: Path, key: str) -> dict[str, Any]:
    """Everything the stage needs.

    Args:
        path: the trajectory.
        key: tells trajectories apart.
    """
    total = len(path.steps)
    path = _thin(path)
    change = (path.images - path.images[:1]).reshape(len(path.images), -1)
    told = _told(path)
    softmax = _softmax(path.logits)
    found = {
        "key": key,
        "name": path.name,
        "steps": path.steps.tolist(),
        "total": total,
        "shape": [*path.images.shape[2:], _shown_channels(path.images).shape[1]],
        "pixels": frames(path.images),
        "label": path.label,
        "adversarial": path.adversarial,
        "classes": [str(c) for c in path.classes],
        "told": told,
        "logits": _rounded(path.logits[:, told]),
        "probabilities": _rounded(softmax[:, told]),
        "predicted": path.logits.argmax(axis=1).tolist(),
        "taps": list(path.taps),
        "depth": _rounded(path.depth),
        "l2": _rounded(np.linalg.norm(change, axis=1)),
        "linf": _rounded(np.abs(change).max(axis=1)),
        "l0": (change != 0).sum(axis=1).tolist(),
        "components": change.shape[1],
        "difference": _rounded(path.difference),
        "profiles": {p: _rounded(v) for p, v in path.profiles.items()},
        "notes": {
            n[:40]: _rounded(np.asarray(v, float)) for n, v in path.notes.items() if np.ndim(v) == 1
        },
    }
    if path.profiles:
        found["lines"] = _lines(path)
    if path.bits is not None:
        found |= _bits(path)
    return found


def _softmax(logits: NDArray[Any]) -> NDArray[Any]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    total: NDArray[Any] = shifted / shifted.sum(axis=1, keepdims=True)
    return total


def _lines(path: Path) -> dict[str, Any]:
    """Figure 1, and on top of it in each panel the step that is shown (the last traces)."""
    difference = (
        path.difference if path.difference is not None else np.full(len(path.steps), np.nan)
    )
    data = lines.build(
        profiles=path.profiles,
        difference=difference,
        steps=path.steps,
        taps=path.taps,
        depth=path.depth,
        name=path.name,
    )
    panels = []
    for place, panel in enumerate(data.panels):
        name = list(path.profiles)[place] if place < len(path.profiles) else None
        x = path.depth if name else path.steps[:1]
        y = path.profiles[name][0] if name else difference[:1]
        now = Series(
            x=x,
            y=y,
            label="shown step",
            group="shown step",
            color=NOW,
            width=3.0,
            marker="diamond",
            line="solid" if name else "none",
            legend=place == 0,
        )
        axis = _reach(panel.y, path.profiles[name]) if name else panel.y
        panels.append(replace(panel, y=axis, series=(*panel.series, now)))
    if path.difference is None:  # nothing to measure it by
        panels = panels[: len(path.profiles)]
    drawn = payload(shorter(replace(data, panels=tuple(panels)), 0.74))
    drawn["now"] = [i for i, t in _points(drawn) if t.get("name") == "shown step"]
    return drawn


def _points(drawn: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """Traces that show numbers; edges of bands and samples of the legend do not."""
    return [(i, t) for i, t in enumerate(drawn["traces"]) if t.get("hoverinfo") != "skip"]


def _reach(axis: Axis | None, y: NDArray[Any]) -> Axis | None:
    """A fixed range, so that nothing jumps while the steps play."""
    if axis is None or not np.isfinite(y).any():
        return axis
    low, high = float(np.nanmin(y)), float(np.nanmax(y))
    room = 0.06 * max(high - low, 1e-6)
    return replace(axis, low=low - room, high=high + room)


def _bits(path: Path) -> dict[str, Any]:
    """Class information at the shown step; of very many classes only the likeliest."""
    assert path.bits is not None
    classes = path.bits.shape[2]
    kept = list(range(classes)) if classes <= 24 else sorted(_told(path))
    bits = path.bits[:, :, kept]
    label, adversarial = kept.index(path.label), kept.index(path.adversarial)
    first = streams(
        bits=bits[:1],
        steps=[int(path.steps[0])],
        depth=path.depth,
        taps=path.taps,
        label=label,
        adversarial=adversarial,
        classes=[path.classes[k] for k in kept],
        name=path.name,
    )
    taken = [takeover_tap(at, label, adversarial) for at in bits]
    drawn = payload(shorter(_streams(first, path, bits), 0.8))
    order = [k for k in range(len(kept)) if k not in (label, adversarial)]
    order += [label] if label == adversarial else [label, adversarial]
    now = [i for i, _ in _points(drawn)]
    assert len(now) == len(order) + 1, "the ink draws one trace a class, and the takeover"
    return {
        "streams": {**drawn, "classes": order, "now": now},
        "bits": _rounded(np.moveaxis(bits, 2, 1), 4),
        "takeover": [-1 if t is None else t for t in taken],
    }


def _streams(first: FigureData, path: Path, bits: NDArray[Any]) -> FigureData:
    panel = first.panels[0]
    axis = _reach(panel.y, bits)
    assert axis is not None
    low = axis.low if axis.low is not None else -1.0
    takeover = Series(
        x=np.repeat(path.depth[:1], 2),
        y=np.array([low, axis.high if axis.high is not None else 1.0]),
        label="takeover",
        color=NOW,
        line="dotted",
        width=1.6,
        legend=path.label != path.adversarial,
    )
    marks = tuple(m for m in panel.marks if m.label != "takeover")
    shown = replace(
        panel,
        title="Class information at the shown step",
        y=axis,
        marks=marks,
        series=(*panel.series, takeover),
    )
    caption = (
        "Bits that a linear reader of each tap holds about each class (0: no more than guessing). "
        "Dotted: the takeover tap, from which the adversarial class holds more bits than the true "
        "one for good. n = 1 input, interval: none."
    )
    return replace(first, caption=caption, panels=(shown,))
