"""Invented numbers in the shape of results: simple curves, and gradients for pictures."""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np
import xarray as xr

from undertow.axes import PROFILES
from undertow.store import BENIGN, Cell

__all__ = [
    "CLASSES", "DEPTH", "PUSH", "SPREAD", "TAPS", "class_rows", "exemplar", "mean_drift",
    "mean_profile", "profile_rows", "push_of", "result_rows",
]  # fmt: skip

TAPS: Final = tuple(f"stage{s}.{i}" for s in (1, 2, 3) for i in range(3))
CLASSES: Final = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
DEPTH: Final = np.linspace(0.04, 1.0, len(TAPS))
PUSH: Final = {
    BENIGN: 0.0, "fgsm": -0.5, "igsm": 1.0, "deepfool": 0.35, "cw": 0.5, "jsma": 1.4,
    "noise:igsm": -0.2, "noise:jsma": -0.25,
}  # fmt: skip
"""How far each attack bends the profiles."""
SPREAD: Final = {"iip": 0.012, "oip": 0.008, "ioc": 0.09}
"""Standard deviation of each profile over inputs."""


def _draws(cell: Cell) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(cell.slug.encode()))


def push_of(cell: Cell) -> float:
    """How far a cell's inputs bend the profiles; half as far when aimed at another model."""
    return PUSH.get(cell.attack, 0.7) * (0.5 if cell.source else 1.0)


def mean_profile(profile: str, push: float) -> np.ndarray:
    """The mean profile, (tap,)."""
    if profile == "iip":
        found: np.ndarray = 0.17 * np.exp(-2.6 * DEPTH) * (1 - 0.12 * push)
    elif profile == "oip":
        found = 0.01 + 0.05 * DEPTH**2 + 0.02 * push * DEPTH**3
    else:
        found = 0.55 - 0.7 * DEPTH + 0.16 * push * np.sin(np.pi * DEPTH)
    return found


def mean_drift(push: np.ndarray | float) -> np.ndarray:
    """The mean drift at each tap, in bits; the attack turns it in the later half."""
    found: np.ndarray = -0.1 * DEPTH + 0.16 * push * DEPTH**4
    return found


def _evidence(draw: np.random.Generator, side: int) -> np.ndarray:
    """Evidence maps before and after, (2, class, row, col): blobs that change their place."""
    grid = np.linspace(-1, 1, side)
    near = np.exp(-4 * ((grid[:, None] - 0.3) ** 2 + (grid[None] + 0.3) ** 2))
    maps = draw.normal(0, 0.1, (2, len(CLASSES), side, side))
    maps[0, 3] += near
    maps[1, 5] += near[::-1]
    return maps


def profile_rows(cell: Cell, samples: int) -> dict[str, np.ndarray]:
    """Raw, null and net profiles, each (sample, tap)."""
    draw = _draws(cell)
    found: dict[str, np.ndarray] = {}
    for p in PROFILES:
        own = np.random.default_rng(7).normal(0, SPREAD[p], (samples, 1))
        noise = draw.normal(0, 0.4 * SPREAD[p], (samples, len(TAPS)))
        net = mean_profile(p, push_of(cell)) + own + noise
        null = np.broadcast_to(0.02 + 0.02 * DEPTH, net.shape)
        found |= {p: net, f"{p}_raw": net + null, f"{p}_null": null}
    return found


def result_rows(cell: Cell, samples: int) -> dict[str, np.ndarray]:
    """Where the attack ended, one value or row an input."""
    draw = _draws(cell)
    label = np.arange(samples) % len(CLASSES)
    tries = not cell.benign and cell.control_of is None
    fooled = tries & (draw.random(samples) < min(0.95, 0.25 + 0.7 * abs(push_of(cell))))
    predicted = np.where(fooled, (label + 3) % len(CLASSES), label)
    logits = draw.normal(0, 1, (samples, len(CLASSES)))
    logits[np.arange(samples), predicted] += 6
    moved = 0 if cell.benign else 1
    counts = {"target": -1, "steps": 12 * moved, "l0": 40 * moved, "forwards": 13, "backwards": 12}
    return {
        **{name: np.full(samples, value) for name, value in counts.items()},
        "index": 100 + np.arange(samples),
        "label": label,
        "predicted": predicted,
        "success": fooled,
        "stalled": np.zeros(samples, bool),
        "l2": moved * draw.uniform(0.8, 1.4, samples),
        "linf": np.full(samples, 0.3 * moved),
        "logits": logits,
    }


def _bits(label: int, other: int, share: float, draw: np.random.Generator) -> np.ndarray:
    """(tap, class): the true class's bits fall and the other's rise as the attack goes on."""
    bits = draw.normal(-1.2, 0.5, (len(TAPS), len(CLASSES))) * (0.3 + DEPTH[:, None])
    bits[:, label] = 3.2 * DEPTH * (1 - 1.9 * share * DEPTH)
    if other != label:
        bits[:, other] = -1 + 4.2 * share * DEPTH
    return bits


def class_rows(cell: Cell, ends: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Class information (sample, tap, class) and the takeover (sample,)."""
    draw, rows, taken = _draws(cell), [], []
    for label, other in zip(ends["label"].tolist(), ends["predicted"].tolist(), strict=True):
        share = float(np.clip(abs(push_of(cell)) * draw.uniform(0.6, 1.3), 0, 1.2))
        bits = _bits(label, other, share, draw)
        behind = np.flatnonzero(bits[:, other] <= bits[:, label])
        first = int(behind[-1]) + 1 if behind.size else 0
        rows.append(bits)
        taken.append(first if other != label and first < len(TAPS) else -1)
    where = np.array(taken)
    depth = np.where(where >= 0, DEPTH[np.clip(where, 0, None)], np.nan)
    return {"bits": np.array(rows), "takeover": where, "takeover_depth": depth}


def _images(draw: np.random.Generator, share: np.ndarray, size: int) -> np.ndarray:
    grid = np.linspace(0, 1, size)
    wave = 0.5 + 0.4 * np.outer(np.sin(6 * grid), grid)
    benign = np.stack([np.outer(grid, 1 - grid), np.outer(1 - grid, grid), wave])
    where = draw.choice([0, 0, 0, 0, 0, 1], (1, size, size))
    change = 0.25 * where * draw.choice([-1, 1], (3, size, size))
    found: np.ndarray = np.clip(benign + share[:, None, None, None] * change, 0, 1)
    return found.astype(np.float32)


Arrays = dict[str, tuple[tuple[str, ...], np.ndarray]]


def _matrices(draw: np.random.Generator, k: int, size: int) -> Arrays:
    """S, T and feature maps of tap ``k``, at two steps."""
    maps, side = 16 * (k // 4 + 1), max(4, size >> (k // 4))
    found: Arrays = {}
    for word, level in (("raw", 0.045), ("null", 0.02)):
        source, target = draw.gamma(2, level, (2, 3, maps)), draw.gamma(2, level, (2, maps, 10))
        found[f"S_{word}.{k}"] = (("chosen", "channel", f"map.{k}"), source)
        found[f"T_{word}.{k}"] = (("chosen", f"map.{k}", "class"), target)
    pictures = draw.gamma(1, 1, (2, maps, side, side)).astype(np.float16)
    found[f"maps.{k}"] = (("chosen", f"map.{k}", f"row.{k}", f"col.{k}"), pictures)
    return found


RANKED: Final = ("integrated", "attribution", "change", "drift", "random", "matched")
COUNT: Final = (1, 2, 4, 8, 16)


def restored(taps: int = len(TAPS)) -> np.ndarray:
    """Invented restoration curves, (tap, ranking, place); the first ranking is the best."""
    share = np.log2(COUNT) / np.log2(COUNT[-1])
    curves = [share ** (0.6 + 0.5 * rank) for rank in range(len(RANKED))]
    return np.broadcast_to(np.array(curves), (taps, len(RANKED), len(COUNT))).copy()


def _carried(draw: np.random.Generator) -> Arrays:
    """What sixteen maps of each tap carry."""
    taps, maps = len(TAPS), COUNT[-1]
    scores = np.full((taps, len(RANKED), maps), np.nan)
    scores[:, :4] = draw.normal(0.4, 1, (taps, 4, maps))
    few = np.arange(maps) < 3
    return {
        "restored": (("tap", "ranking", "place"), restored()),
        "implanted": (("tap", "ranking", "place"), restored() ** 0.7),
        "count": (("tap", "place"), np.tile(np.array(COUNT), (taps, 1))),
        "score": (("tap", "ranking", "map"), scores),
        "smallest": (("tap", "map"), np.tile(few, (taps, 1))),
        "smallest_random": (("tap",), np.full(taps, 7)),
    }


def exemplar(cell: Cell, steps: int = 13, size: int = 32) -> xr.Dataset:
    """One invented trajectory, from a cat to a dog.

    Args:
        cell: whose.
        steps: recorded iterates.
        size: rows and columns of the images.
    """
    draw, share = _draws(cell), np.linspace(0, 1, steps)
    logits = np.zeros((steps, len(CLASSES)))
    logits[:, 3], logits[:, 5] = 6 - 5 * share, 1 + 6 * share
    bits = np.array([_bits(3, 5, float(s), np.random.default_rng(2)) for s in share])
    arrays: Arrays = {
        "images": (("step", "channel", "row", "col"), _images(draw, share, size)),
        "logits": (("step", "class"), logits),
        "class_information": (("step", "tap", "class"), bits),
        "difference": (("step",), 5 * share**0.7),
        "depth": (("tap",), DEPTH),
        "drift": (("step", "tap"), mean_drift(share[:, None] * push_of(cell))),
        "evidence": (
            ("chosen", "class", "evidence_row", "evidence_col"), _evidence(draw, size // 4)
        ),
    }  # fmt: skip
    for p in PROFILES:
        net = np.array([mean_profile(p, float(s) * push_of(cell)) for s in share])
        net += draw.normal(0, 0.06 * SPREAD[p], net.shape)
        kinds = {p: net, f"{p}_raw": net + 0.03, f"{p}_null": np.full_like(net, 0.03)}
        arrays |= {name: (("step", "tap"), values) for name, values in kinds.items()}
        arrays[f"difference_{p}"] = (("step",), 3 * share**0.7)
    for k in (0, 4, 8):
        arrays |= _matrices(draw, k, size)
    arrays |= _carried(draw)
    coords = {"tap": list(TAPS), "step": np.arange(steps), "chosen": [0, steps - 1]}
    coords["ranking"] = list(RANKED)
    told = {"label": 3, "rival": 5, "success": True, "end": steps - 1}
    return xr.Dataset(arrays, coords=coords, attrs={**told, "classes": list(CLASSES)})
