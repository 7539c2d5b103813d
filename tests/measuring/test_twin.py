"""A slow twin written from the definitions alone, against the meter, on three shipped networks.

numpy, scipy and torch's autograd; nothing of `undertow.information`. What is random (which
references an input draws, by how much evidence is moved) is asked of the meter, all else is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import digamma, ndtri
from scipy.stats import rankdata
from torch import Tensor, nn

from undertow import taps
from undertow.measuring.meter import Meter, by_row
from undertow.models import load_model

INPUTS, POOL, DRAWN, SHIFTS = 2, 10, 3, 4
Array = np.ndarray[Any, Any]


def images(n: int, channels: int, side: int, seed: int) -> Tensor:
    """Blurred bytes, as photographs are: neighbours alike, ties among them."""
    rng = np.random.default_rng(seed)
    fine = rng.random((n, channels, side + 4, side + 4))
    smooth = sum(fine[..., i : i + side, j : j + side] for i in range(5) for j in range(5)) / 25
    low, high = smooth.min((2, 3), keepdims=True), smooth.max((2, 3), keepdims=True)
    return torch.from_numpy(np.round(255 * (smooth - low) / (high - low)) / 255).float()


def averaged(maps: Array, grid: tuple[int, int]) -> Array:
    """Means over equal blocks."""
    rows, cols = (a // b for a, b in zip(maps.shape[-2:], grid, strict=True))
    split = maps.reshape(*maps.shape[:-2], grid[0], rows, grid[1], cols)
    return split.mean((-3, -1))


def scores(maps: Array) -> tuple[Array, Array]:
    """Normal scores of average ranks, and each map's entropy in bits; rows are maps."""
    n = maps.shape[1]
    found = ndtri(rankdata(maps, axis=1) / (n + 1))
    counts = [np.unique(row, return_counts=True)[1] / n for row in maps]
    return found, np.array([-(p * np.log2(p)).sum() for p in counts])


def bits(a: Array, b: Array) -> Array:
    """Every map of ``a`` with every map of ``b``."""
    n = a.shape[1]
    (x, hx), (y, hy) = scores(a), scores(b)
    bias = (digamma((n - 1) / 2) - digamma((n - 2) / 2)) / (2 * np.log(2))
    out = np.zeros((len(x), len(y)))
    for i, one in enumerate(x):
        for j, other in enumerate(y):
            if min(hx[i], hy[j]) > 0:
                rest = max(1 - np.corrcoef(one, other)[0, 1] ** 2, n**-2.0, 4.0**-10)
                out[i, j] = min((-0.5 * np.log2(rest) - bias) * (1 + 3 / n), hx[i], hy[j])
    return out


def seen(model: nn.Module, chosen: Any, x: Tensor) -> tuple[list[Array], Array, Array]:
    """Maps at every spatial tap, evidence maps on the last of them, and logits."""
    caught: dict[str, Tensor] = {}
    modules = dict(model.named_modules())
    hooks = [
        modules[tap.name].register_forward_hook(
            lambda _, __, out, name=tap.name: caught.__setitem__(name, out)
        )
        for tap in chosen
        if tap.spatial
    ]
    logits = model(x.clone().requires_grad_())
    for hook in hooks:
        hook.remove()
    last = caught[[tap.name for tap in chosen if tap.spatial][-1]]
    slopes = [torch.autograd.grad(y.sum(), last, retain_graph=True)[0] for y in logits.T]
    evidence = torch.stack([(last * slope).sum(1) for slope in slopes], 1)
    maps = [value.detach().double().numpy() for value in caught.values()]
    return maps, evidence.detach().double().numpy(), logits.detach().numpy()


def twin(maps: Array, image: Array, evidence: Array, pool: Any, offsets: Array) -> dict[str, Any]:
    """All profiles of one input at one tap. ``pool``: its references' images and evidence."""
    grid = maps.shape[-2:]
    coarse = tuple(min(a, b) for a, b in zip(grid, evidence.shape[-2:], strict=True))
    fine, shared = maps.reshape(len(maps), -1), averaged(maps, coarse).reshape(len(maps), -1)
    bytes_of = averaged(np.round(image * 255), grid).reshape(len(image), -1)
    own = averaged(evidence, coarse)
    S, T = bits(bytes_of, fine), bits(shared, own.reshape(len(own), -1))
    S_null, T_null = [], []
    for other, its in zip(*pool, strict=True):
        S_null.append(bits(averaged(np.round(other * 255), grid).reshape(len(other), -1), fine))
        T_null.append(bits(shared, averaged(its, coarse).reshape(len(its), -1)))
    moved = [np.roll(own, divmod(int(o), coarse[1]), (1, 2)) for o in offsets]
    shifted = np.mean([bits(shared, m.reshape(len(m), -1)).mean() for m in moved])

    def coupling(s: Array, t: Array) -> float:
        return float(np.corrcoef(s.mean(0), t.mean(1))[0, 1])

    ioc, ioc_null = (
        coupling(S, T),
        np.mean([coupling(*st) for st in zip(S_null, T_null, strict=True)]),
    )
    flow = {"_raw": T.mean(0), "_null": np.mean(T_null, axis=(0, 1))}
    flow[""] = flow["_raw"] - flow["_null"]
    return {
        "iip_raw": S.mean(), "iip_null": np.mean(S_null), "iip": S.mean() - np.mean(S_null),
        "oip_raw": T.mean(), "oip_null": np.mean(T_null), "oip": T.mean() - np.mean(T_null),
        "ioc_raw": ioc, "ioc_null": ioc_null, "ioc": ioc - ioc_null,
        "oip_shift": T.mean() - shifted, **{f"flow{k}": v for k, v in flow.items()},
    }  # fmt: skip


@pytest.mark.parametrize("name", ["digits_cnn", "good_init", "vgg_like"])
def test_every_profile_is_the_twins(name: str) -> None:
    model = load_model(name)
    channels, side = (1, 28) if name == "digits_cnn" else (3, 32)
    x, references = images(INPUTS, channels, side, 1), images(POOL, channels, side, 2)
    every = taps.choose(model, x[:1])
    spatial = [tap for tap in every if tap.spatial]
    chosen = every if len(spatial) < 4 else (spatial[0], spatial[-2], spatial[-1])
    meter = Meter(model, chosen, references=references, count=DRAWN)
    draws = by_row(0, INPUTS)
    found = meter(x, draws=draws)
    assert meter.pool is not None
    drawn = meter.pool.drawn(draws, DRAWN)
    assert drawn is not None
    maps, evidence, logits = seen(model, chosen, x)
    np.testing.assert_allclose(found.logits, logits, atol=1e-4)
    theirs = seen(model, chosen, references)[1]
    where = [k for k, tap in enumerate(chosen) if tap.spatial]
    for i in range(INPUTS):
        pool = references.numpy()[drawn[i]].astype(np.float64), theirs[drawn[i]]
        for place, tap_maps in zip(where, maps, strict=True):
            cells = (
                min(tap_maps.shape[-2], evidence.shape[-2]),
                min(tap_maps.shape[-1], evidence.shape[-1]),
            )
            size = cells[0] * cells[1]
            offsets = 1 + (draws.uniform((SHIFTS,)).double()[i] * (size - 1)).long().numpy()
            image = x[i].double().numpy()
            truth = twin(tap_maps[i], image, evidence[i], pool, offsets)
            for profile, value in truth.items():
                np.testing.assert_allclose(
                    found.profiles[profile][i, place], value, atol=1e-4,
                    err_msg=f"{name}, {chosen[place].name}, {profile}",
                )  # fmt: skip
