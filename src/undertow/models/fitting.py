"""The training loop: one cycle of SGD, averaged weights, and a checkpoint after every epoch."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from undertow.data import ImageSet
from undertow.data.cache import new_file
from undertow.errors import BadInput, Foreign
from undertow.models.asking import logits_in
from undertow.models.devices import precision, usable
from undertow.models.harden import Adversary
from undertow.models.recipe import Hardening, Recipe
from undertow.progress import SILENT, Progress
from undertow.seeds import derive

__all__ = ["Batches", "fit", "read_checkpoint", "save_atomically"]


def fit(
    network: nn.Module,
    data: ImageSet,
    recipe: Recipe,
    *,
    seed: int,
    checkpoint: Path | None = None,
    held_out: ImageSet | None = None,
    soft: Float[Tensor, "sample class"] | None = None,
    hardening: Hardening | None = None,
    device: str | torch.device = "cpu",
    title: str = "training",
    progress: Progress = SILENT,
) -> list[dict[str, int | float]]:
    """Train a network in place; it ends with the averaged weights, in evaluation mode.

    A killed training goes on from its last whole epoch and ends in the same weights as an
    undisturbed one.

    Args:
        network: takes inputs in [0, 1], gives logits.
        data: images to fit.
        recipe: how.
        seed: fixes order, shifts and mirrors.
        checkpoint: file to go on from and to write after every epoch; ``None`` for no file.
        held_out: images whose accuracy is reported now and then; it decides nothing here.
        soft: class probabilities to learn instead of the labels, one row an image.
        hardening: learn from images disturbed by an attack; ``held_out`` is then watched.
        device: where to train.
        title: shown with the progress.
        progress: told about every step.

    Returns:
        One line an epoch: ``epoch``, ``loss``, ``seconds``, sometimes ``held_out``; with hardening
        ``steps`` and ``robust``, too, and ``taken_back`` where an epoch was done again.

    Raises:
        BadInput: if there is no such device, there are too few images for a batch, or the training
            diverges.
        Foreign: if the checkpoint belongs to another recipe, seed or data set.
    """
    device = usable(device)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = Batches(data.images, recipe, seed, device)
    if len(batches) == 0:
        raise BadInput(f"{len(data)} images to fit, fewer than one batch of {recipe.batch}")
    targets = (data.labels if soft is None else soft).to(device)
    state = _State(network, recipe, precision(device))
    identity = {**recipe.as_dict(), "seed": seed, "data": data.fingerprint, "soft": _digest(soft)}
    if hardening is not None:
        state.adversary = Adversary(hardening, _watched(held_out), seed, state.dtype)
        identity |= state.adversary.identity()
    if checkpoint is not None:
        state.resume(checkpoint, identity)
    steps = recipe.epochs * len(batches)
    with _deterministic(), progress(title, recipe.epochs, "epochs") as advance:
        advance(state.epoch)
        while state.epoch < recipe.epochs:
            before = state.copied()
            line = _epoch(state, batches, targets, data.labels.to(device), steps, advance)
            last = state.epoch == recipe.epochs
            if held_out is not None and (last or state.epoch % 4 == 0):
                line["held_out"] = quick_accuracy(state.averaged, held_out, device)
            if fault := state.fault(line, device):
                state.take_back(before, fault)
                line["taken_back"] = 1
                advance(-1, fault)
            state.log.append(line)
            if checkpoint is not None:
                save_atomically({"identity": identity, **state.saved()}, checkpoint)
            shown = ", ".join(f"{k} {v:.4g}" for k, v in line.items() if k != "seconds")
            advance(0, shown)
    network.load_state_dict(state.averaged.state_dict())
    network.eval()
    return state.log


class _State:
    """Everything that changes while training."""

    def __init__(self, network: nn.Module, recipe: Recipe, dtype: torch.dtype) -> None:
        self.network = network
        self.dtype = dtype
        self.recipe = recipe
        self.averaged = torch.optim.swa_utils.AveragedModel(network, use_buffers=True).module
        self.averaged.eval().requires_grad_(False)
        plain = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
        decayed = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
        groups: list[dict[str, Any]] = [
            {"params": decayed, "weight_decay": recipe.decay},
            {"params": plain},
        ]
        self.optimiser = torch.optim.SGD(
            groups,
            lr=recipe.rate,
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
        )
        self.epoch = 0
        self.log: list[dict[str, int | float]] = []
        self.adversary: Adversary | None = None

    def saved(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epoch": self.epoch,
            "log": self.log,
            "dtype": self.dtype,
            "adversary": None if self.adversary is None else self.adversary.saved(),
        }

    def copied(self) -> dict[str, Any] | None:
        """A state to go back to, where there is an adversary that may ask for it."""
        return None if self.adversary is None else copy.deepcopy(self.saved())

    def fault(self, line: dict[str, int | float], device: torch.device) -> str:
        """What went wrong in the epoch of a line, which gets what the adversary says of it.

        Raises:
            BadInput: for a plain training that diverged.
        """
        if self.adversary is None:
            if not math.isfinite(line["loss"]):
                raise BadInput(
                    f"training diverged: the loss of epoch {self.epoch} is not finite "
                    f"(rate {self.recipe.rate}); give a lower rate"
                )
            return ""
        line["steps"] = self.adversary.steps
        line["robust"] = self.adversary.robust(self.network, device)
        return self.adversary.fault(line["loss"], line["robust"])

    def take_back(self, before: dict[str, Any] | None, fault: str) -> None:
        """Go back to a state, to do its epoch again in another way.

        Raises:
            BadInput: where that has been done often enough.
        """
        assert self.adversary is not None
        assert before is not None
        self.adversary.mend(fault)
        self._take({**before, "adversary": self.adversary.saved(), "log": self.log})

    def resume(self, checkpoint: Path, identity: dict[str, Any]) -> None:
        saved = read_checkpoint(checkpoint, identity)
        if saved is not None:
            self._take(saved)

    def _take(self, saved: dict[str, Any]) -> None:
        self.network.load_state_dict(saved["network"])
        self.averaged.load_state_dict(saved["averaged"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.epoch = saved["epoch"]
        self.log = saved["log"]
        self.dtype = saved.get("dtype", self.dtype)  # training goes on as it began
        if self.adversary is not None:
            self.adversary.dtype = self.dtype
            self.adversary.resume(saved["adversary"])

    @torch.no_grad()
    def average(self, step: int) -> None:
        # A short memory at the start, so that the random first weights are soon forgotten.
        share = 1 - min(self.recipe.average, (step + 1) / (step + 10))
        ours, theirs = self.averaged.state_dict(), self.network.state_dict()
        floating = [k for k, v in ours.items() if v.is_floating_point()]
        torch._foreach_lerp_([ours[k] for k in floating], [theirs[k] for k in floating], share)


def _epoch(
    state: _State, batches: Batches, targets: Tensor, labels: Tensor, steps: int, advance: Any
) -> dict[str, int | float]:
    start = time.perf_counter()
    dtype = state.dtype
    total = torch.zeros((), device=batches.device, dtype=torch.float32)
    state.network.train()
    adversary = state.adversary
    noise = None if adversary is None else adversary.epoch(state.epoch)
    slower = 1.0 if adversary is None else adversary.slower
    for number, (plain, rows) in enumerate(batches.epoch(state.epoch)):
        step = state.epoch * len(batches) + number
        for group in state.optimiser.param_groups:
            group["lr"] = slower * state.recipe.rate_at(step, steps)
        x = plain
        if adversary is not None and noise is not None:
            x = adversary.disturb(state.network, plain, labels[rows], noise)
        with torch.autocast(batches.device.type, dtype=dtype, enabled=dtype != torch.float32):
            logits = logits_in(state.network(x))
        loss = nn.functional.cross_entropy(
            logits.float(), targets[rows], label_smoothing=state.recipe.smoothing
        )
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimiser.step()
        state.average(step)
        total += loss.detach()
        advance(1 / len(batches))
    state.epoch += 1
    return {
        "epoch": state.epoch,
        "loss": float(total) / len(batches),
        "seconds": time.perf_counter() - start,
    }


@torch.no_grad()
def quick_accuracy(network: nn.Module, data: ImageSet, device: torch.device) -> float:
    """Share of images classified correctly, in the precision of training."""
    dtype = precision(device)
    right = 0
    for start in range(0, len(data), 500):
        x, y = data[start : start + 500]
        x = x.to(device, memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            right += int((logits_in(network(x)).argmax(1).cpu() == y).sum())
    return right / len(data)


def _watched(held_out: ImageSet | None) -> ImageSet:
    """Raises BadInput where there is nothing to watch."""
    if held_out is None or len(held_out) == 0:
        raise BadInput("adversarial training needs held-out images, to see whether it collapses")
    return held_out


def _digest(soft: Tensor | None) -> str:
    return "" if soft is None else sha256(soft.contiguous().numpy().tobytes()).hexdigest()


@contextmanager
def _deterministic() -> Iterator[None]:
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before


def read_checkpoint(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """What a training of this identity saved; ``None`` where there is no file.

    Raises:
        Foreign: for a file of another kind, or of another training.
    """
    if not path.is_file():
        return None
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        other = sorted(k for k in identity if saved["identity"].get(k) != identity[k])
    except Exception as error:
        raise Foreign(f"{path} is not a checkpoint of ours: {error}") from None
    if other:
        raise Foreign(
            f"{path} belongs to another training (differs in {', '.join(other)}); "
            "delete it or choose another folder"
        )
    return saved


def save_atomically(value: Any, path: Path) -> None:
    """``torch.save`` to a temporary file that then takes the place of ``path``."""
    with new_file(path) as temporary:
        torch.save(value, temporary)


class Batches:
    """Training images on a device, in epochs of shuffled, shifted, mirrored batches.

    Every draw of an epoch follows from (seed, epoch), so a training that is resumed sees what an
    undisturbed one sees.

    Args:
        images: (sample, channel, height, width), bytes.
        recipe: batch size, shift and flip.
        seed: of the draws.
        device: where batches are made.
    """

    def __init__(self, images: Tensor, recipe: Recipe, seed: int, device: torch.device) -> None:
        pad = recipe.shift
        around = ((0, 0), (pad, pad), (pad, pad), (0, 0))
        padded = np.pad(images.permute(0, 2, 3, 1).numpy(), around, mode="reflect")
        self.padded = torch.from_numpy(padded).to(device)  # sample, height, width, channel
        self.height, self.width = images.shape[2:]
        self.recipe = recipe
        self.seed = seed
        self.device = device

    def __len__(self) -> int:
        """Batches an epoch; the odd rest is left out."""
        return len(self.padded) // self.recipe.batch

    def epoch(self, number: int) -> Iterator[tuple[Float[Tensor, "b c h w"], Int64[Tensor, " b"]]]:
        """Batches of one epoch: images in [0, 1] (channels last in memory) and their rows."""
        count, batch = len(self.padded), self.recipe.batch
        generator = torch.Generator().manual_seed(derive(self.seed, "epoch", number))
        order = torch.randperm(count, generator=generator)
        span = 2 * self.recipe.shift + 1
        top = torch.randint(span, (count, 1), generator=generator) + torch.arange(self.height)
        left = torch.randint(span, (count, 1), generator=generator) + torch.arange(self.width)
        if self.recipe.flip:
            mirrored = torch.rand(count, generator=generator, dtype=torch.float32) < 0.5
            left = torch.where(mirrored[:, None], left.flip(1), left)
        order, top, left = (t.to(self.device) for t in (order, top, left))
        for start in range(0, len(self) * batch, batch):
            take = slice(start, start + batch)
            rows = order[take]
            x = self.padded[rows[:, None, None], top[take, :, None], left[take, None, :]]
            yield x.permute(0, 3, 1, 2).float().div_(255), rows
