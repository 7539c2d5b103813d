"""Detectors made for a network that stays as it is: MagNet, feature squeezing.

The autoencoder of MagNet learns to give benign images back from noisy ones (Meng and Chen 2017,
1705.09064, section 5.2). Thresholds are what a share of held-out benign images goes beyond.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from undertow.data import ImageSet
from undertow.errors import BadInput
from undertow.models.defended import Thresholded, rejected
from undertow.models.devices import precision, usable
from undertow.models.fitting import Batches, read_checkpoint, save_atomically
from undertow.models.magnet import Autoencoder, Magnet
from undertow.models.recipe import Recipe, Shielding
from undertow.progress import SILENT, Progress
from undertow.seeds import derive
from undertow.types import Images

__all__ = ["shield"]

BATCH = 250


def shield(
    defended: Thresholded,
    data: ImageSet,
    held_out: ImageSet,
    shielding: Shielding,
    *,
    seed: int,
    out: Path | None = None,
    device: str | torch.device = "cpu",
    title: str = "the autoencoder",
    progress: Progress = SILENT,
) -> tuple[list[dict[str, int | float]], dict[str, Any]]:
    """Train the autoencoder where there is one, and set the thresholds, in place.

    Args:
        defended: around a trained network.
        data: benign images to learn.
        held_out: benign images that the thresholds are set on.
        shielding: how.
        seed: of order, mirrors and noise.
        out: folder for the checkpoint, so that a killed training goes on.
        device: where to train.
        title: shown with the progress.
        progress: told about every step.

    Returns:
        One line an epoch; for the card, thresholds and the share of held-out images rejected.

    Raises:
        BadInput: if the training diverges, or there are too few held-out images for so few false
            alarms.
        Foreign: if the checkpoint belongs to another training.
    """
    if len(held_out) * shielding.false_alarms < 1:
        raise BadInput(
            f"{len(held_out)} held-out images cannot set thresholds that reject "
            f"{shielding.false_alarms:g} of them; allow more, or give more images"
        )
    place = usable(device)
    defended.to(place).eval().requires_grad_(False)
    log: list[dict[str, int | float]] = []
    if isinstance(defended, Magnet):
        checkpoint = None if out is None else out / "autoencoder.pt"
        log = _learn(
            defended.autoencoder, data, shielding, seed, checkpoint, place, title, progress
        )
        for p in defended.autoencoder.parameters():
            p.copy_(p.half().float())  # thresholds are those of the weights as shipped
    scores = _scores(defended, held_out, place)
    defended.threshold.copy_(
        scores.quantile(1 - shielding.false_alarms, dim=0, interpolation="higher")
    )
    refused = torch.cat([rejected(defended, part.to(place)).cpu() for part in _parts(held_out)])
    return log, {
        "shielding": asdict(shielding),
        "thresholds": defended.threshold.tolist(),
        "held_out_rejected": float(refused.double().mean()),
    }


def _learn(
    autoencoder: Autoencoder,
    data: ImageSet,
    how: Shielding,
    seed: int,
    checkpoint: Path | None,
    place: torch.device,
    title: str,
    progress: Progress,
) -> list[dict[str, int | float]]:
    """Adam on the mean squared error of clean images from noisy ones; the mean error a pixel."""
    batches = Batches(
        data.images, Recipe(epochs=max(1, how.epochs), batch=how.batch, shift=0), seed, place
    )
    if how.epochs < 1 or len(batches) == 0:
        raise BadInput(f"{how.epochs} epochs of {len(data)} images, {how.batch} a batch: too few")
    autoencoder.train().requires_grad_(True)
    optimiser = torch.optim.Adam(autoencoder.parameters(), lr=how.rate)
    state: dict[str, Any] = {"epoch": 0, "log": []}
    identity = {**asdict(how), "seed": seed, "data": data.fingerprint}
    if checkpoint is not None and (saved := read_checkpoint(checkpoint, identity)) is not None:
        autoencoder.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        state = {"epoch": saved["epoch"], "log": saved["log"]}
    steps = how.epochs * len(batches)
    with progress(f"training {title}", how.epochs, "epochs") as advance:
        advance(state["epoch"])
        while state["epoch"] < how.epochs:
            start, total = time.perf_counter(), 0.0
            draw = torch.Generator().manual_seed(derive(seed, "noise", state["epoch"]))
            for number, (x, _) in enumerate(batches.epoch(state["epoch"])):
                step = state["epoch"] * len(batches) + number
                optimiser.param_groups[0]["lr"] = (
                    how.rate * (1 + math.cos(math.pi * step / steps)) / 2
                )
                total += _step(autoencoder, optimiser, x, how.noise, draw)
                advance(1 / len(batches))
            state["epoch"] += 1
            line = {"epoch": state["epoch"], "loss": total / len(batches)}
            state["log"].append({**line, "seconds": time.perf_counter() - start})
            if not math.isfinite(line["loss"]):
                raise BadInput(
                    f"training {title} diverged in epoch {state['epoch']}; give a lower rate"
                )
            if checkpoint is not None:
                learnt = {
                    "network": autoencoder.state_dict(), "optimiser": optimiser.state_dict()
                }  # fmt: skip
                save_atomically({"identity": identity, **learnt, **state}, checkpoint)
            advance(0, f"epoch {state['epoch']}, loss {line['loss']:.3g}")
    autoencoder.eval().requires_grad_(False)
    log: list[dict[str, int | float]] = state["log"]
    return log


def _step(
    autoencoder: nn.Module,
    optimiser: torch.optim.Optimizer,
    x: Images,
    noise: float,
    draw: torch.Generator,
) -> float:
    drawn = torch.randn(x.shape, generator=draw, dtype=torch.float32)
    noisy = (x + noise * drawn.to(x)).clamp(0, 1)
    dtype = precision(x.device)
    with torch.autocast(x.device.type, dtype=dtype, enabled=dtype != torch.float32):
        made = autoencoder(noisy)
    loss = nn.functional.mse_loss(made.float(), x)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return float(loss.detach())


def _parts(data: ImageSet) -> list[Images]:
    return [data[start : start + BATCH][0] for start in range(0, len(data), BATCH)]


@torch.no_grad()
def _scores(defended: Thresholded, data: ImageSet, place: torch.device) -> Tensor:
    found = []
    for part in _parts(data):
        x = part.to(place)
        found.append(defended.score(x, defended(x)))
    return torch.cat(found)
