"""Defensive distillation (Papernot et al. 2016, 1511.04508).

A teacher learns the labels with softmax at temperature T; its probabilities at T are the soft
labels from which a student of the same architecture learns, again at T; the student is served
at T = 1.

Here the last layer is *written in units of T* while it learns: W = T·W', b = T·b'. The softmax at
T is then softmax(W'h + b'), the same set of functions and the same optimum, and the gradient
reaches the weights undiminished. (Left as W, the gradient shrinks by T in the whole network while
the last layer has to grow T times as far; multiplying the loss by T or T² mends one of the two and
spoils the other, the more so under batch normalisation.) Serving at T = 1 means multiplying W' and
b' by T once: all logits are T times as large, and the softmax saturates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from undertow.data import ImageSet
from undertow.errors import BadInput
from undertow.models.evaluation import evaluate, logits_of
from undertow.models.fitting import fit
from undertow.models.recipe import Recipe
from undertow.progress import SILENT, Progress
from undertow.seeds import derive

__all__ = ["TEMPERATURES", "choose_temperature", "distill", "serve_at_one", "vanished_share"]

TEMPERATURES = (20.0, 30.0, 40.0, 60.0, 80.0, 100.0)
"""Temperatures to choose from; 100 is the highest of the paper."""
ENOUGH = 0.9
"""A temperature will do when so large a share of held-out inputs has no gradient left."""


def distill(
    start: Callable[[str], nn.Module],
    data: ImageSet,
    held_out: ImageSet,
    recipe: Recipe,
    *,
    name: str,
    seed: int,
    out: Path | None = None,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> tuple[nn.Module, list[dict[str, int | float]], dict[str, Any]]:
    """Train a teacher on the labels and a student on the teacher's probabilities.

    Args:
        start: gives a fresh network, ending in a linear layer, for ``"teacher"`` or ``"student"``.
        data: images to train both on.
        held_out: images on which the temperature is chosen.
        recipe: of both trainings.
        name: what the model is called; part of the seed.
        seed: of order, shifts and mirrors.
        out: folder for checkpoints, so that a killed distillation goes on.
        device: where to train.
        progress: told about both trainings.

    Returns:
        The student, served at temperature 1; one line an epoch of both trainings; for the card,
        the temperature, what each temperature does and the teacher's held-out accuracy.
    """
    networks: dict[str, nn.Module] = {}
    log: list[dict[str, int | float]] = []
    soft: Tensor | None = None
    for role in ("teacher", "student"):
        network = start(role)
        log += fit(
            network,
            data,
            recipe,
            seed=derive(seed, name, role),
            checkpoint=None if out is None else out / f"{role}.pt",
            held_out=held_out,
            soft=soft,
            device=device,
            title=f"training the {role} of {name}",
            progress=progress,
        )
        networks[role] = network.cpu()
        soft = logits_of(network, data, progress=progress).softmax(dim=1)
    student, teacher = networks["student"], networks["teacher"]
    own = logits_of(student, held_out)
    temperature = choose_temperature(own)
    details = {
        "temperature": temperature,
        "vanished_share": {f"{t:g}": vanished_share(own * t) for t in TEMPERATURES},
        "teacher_held_out_accuracy": evaluate(teacher, held_out).accuracy,
    }
    return serve_at_one(student, temperature), log, details


def vanished_share(logits: Float[Tensor, "sample class"]) -> float:
    """Share of inputs whose softmax has no gradient left in float32.

    ∂F_i/∂z_j = F_i (δ_ij − F_j) is zero for all i and j when one probability rounds to 1 and all
    others to 0.

    Args:
        logits: as served.
    """
    f = logits.float().softmax(dim=1)
    return float((f * (1 - f)).amax(dim=1).eq(0).float().mean())


def choose_temperature(
    logits: Float[Tensor, "sample class"], allowed: Sequence[float] = TEMPERATURES
) -> float:
    """The lowest temperature at which the softmax of held-out inputs is saturated.

    The classes put out do not depend on it, so accuracy cannot choose; what the defence is for can.

    Args:
        logits: of held-out inputs, in units of the temperature.
        allowed: rising; the last is taken where none is enough.
    """
    for temperature in allowed:
        if vanished_share(logits * temperature) >= ENOUGH:
            return temperature
    return allowed[-1]


@torch.no_grad()
def serve_at_one(network: nn.Module, temperature: float) -> nn.Module:
    """Multiply the last linear layer by the temperature, in place.

    Raises:
        BadInput: if the network has no linear layer.
    """
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    if not linear:
        raise BadInput("distillation needs a network that ends in a linear layer; this has none")
    linear[-1].weight.mul_(temperature)
    if linear[-1].bias is not None:
        linear[-1].bias.mul_(temperature)
    return network
