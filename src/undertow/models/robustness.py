"""How many images a network still classifies correctly under projected gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from undertow.data import ImageSet
from undertow.losses import goal_entropy, margin
from undertow.models.asking import logits_in
from undertow.models.defended import Aware, defence_in
from undertow.models.devices import precision
from undertow.progress import SILENT, Progress
from undertow.types import Goal, Images, Labels, Logits

__all__ = ["IMAGES", "robustness", "withstands"]

BATCH = 250
IMAGES: Final = 1000
"""Of the test set, for model cards."""
EPSILON: Final = 8 / 255
STEPS: Final = 50
RESTARTS: Final = 3


def robustness(
    network: nn.Module, data: ImageSet, *, progress: Progress = SILENT, title: str = ""
) -> dict[str, float | int]:
    """What model cards say of robustness: accuracy under 50 steps of 2/255, three starts, 8/255.

    Args:
        network: in evaluation mode.
        data: its first 1,000 images are attacked.
        progress: told about every batch.
        title: of the model.
    """
    place = next(network.parameters()).device
    network = network if defence_in(network) is None else Aware(network)
    x, y = (t.to(place) for t in data[:IMAGES])
    standing = withstands(
        network,
        x,
        y,
        epsilon=EPSILON,
        steps=STEPS,
        restarts=RESTARTS,
        generator=torch.Generator().manual_seed(0),
        dtype=precision(place),
        progress=progress,
        title=f"{title}, {STEPS} steps of projected gradient descent",
    )
    told: dict[str, float | int] = {"accuracy": float(standing.double().mean())}
    return told | {"images": len(x), "epsilon": EPSILON, "steps": STEPS, "restarts": RESTARTS}


def withstands(
    network: nn.Module,
    x: Images,
    y: Labels,
    *,
    epsilon: float,
    steps: int,
    restarts: int = 1,
    size: float | None = None,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
    progress: Progress = SILENT,
    title: str = "projected gradient descent",
) -> Bool[Tensor, " sample"]:
    """Which inputs are classified correctly as they are, and fool the network at no step.

    Projected gradient descent with random starts in the L∞ ball (Madry et al. 2018, 1706.06083,
    section 2.1), on the cross-entropy and on the margin of the logits (Carlini and Wagner 2017,
    1608.04644, f6) in turn: a saturated softmax has no gradient and would read as robustness. An
    input leaves as soon as it is misclassified, at whichever step, so more restarts never leave
    more inputs standing.

    Args:
        network: takes inputs in [0, 1], gives logits; in evaluation mode. Of an
            :class:`~undertow.models.defended.Aware` one the last logit is that of rejection: an
            input that is rejected is not classified correctly, and does not fool the network.
        x: inputs.
        y: their classes.
        epsilon: radius, of pixels in [0, 1].
        steps: of each start.
        restarts: how many starts.
        size: of a step; 2.5 · epsilon / steps, but at least epsilon / 4, unless given.
        generator: of the starts, on the CPU.
        dtype: of the gradients; every misclassification is verified in float32.
        progress: told about every batch.
        title: shown with the progress.
    """
    stride = max(2.5 * epsilon / steps, epsilon / 4) if size is None else size
    standing = torch.zeros(len(x), dtype=torch.bool)
    with progress(title, len(x), "images") as advance:
        for start in range(0, len(x), BATCH):
            rows = slice(start, start + BATCH)
            xs = x[rows].contiguous(memory_format=torch.channels_last)
            left = (_answers(network, xs).argmax(1) == y[rows]).nonzero()[:, 0]
            for restart in range(restarts):
                if not len(left):
                    break
                clean, labels = xs[left], y[rows][left]
                noise = torch.rand(clean.shape, generator=generator, dtype=torch.float32)
                at = (clean + epsilon * (noise.to(clean) * 2 - 1)).clamp(0, 1)
                loss = (_cross_entropy, _margin)[restart % 2]
                ball = (epsilon, stride, steps)
                left = left[_one_start(network, clean, at, labels, ball, loss, dtype)]
            standing[start + left.cpu()] = True
            advance(len(xs))
    return standing


def _one_start(
    network: nn.Module,
    clean: Images,
    at: Images,
    labels: Labels,
    ball: tuple[float, float, int],
    loss: Callable[[Logits, Goal], Tensor],
    dtype: torch.dtype,
) -> Tensor:
    """Places of the inputs that withstood all steps."""
    epsilon, stride, steps = ball
    may = isinstance(network, Aware)
    places = torch.arange(len(clean), device=clean.device)
    for step in range(steps + 1):
        at = at.detach().requires_grad_(True)
        with torch.autocast(at.device.type, dtype=dtype, enabled=dtype != torch.float32):
            logits = logits_in(network(at)).float()
        goal = Goal(labels, rejection=may)
        suspect = goal.reached(logits).nonzero()[:, 0]
        keep = torch.ones(len(at), dtype=torch.bool, device=at.device)
        keep[suspect] = ~goal[suspect].reached(_answers(network, at[suspect].detach()))
        if step < steps and keep.any():
            (slope,) = torch.autograd.grad(loss(logits, goal), at)
            moved = clean + (at + stride * slope.sign() - clean).clamp(-epsilon, epsilon)
            at = moved.clamp(0, 1)
        at, clean, labels, places = (t.detach()[keep] for t in (at, clean, labels, places))
        if not len(places):
            break
    return places


def _cross_entropy(logits: Logits, goal: Goal) -> Tensor:
    return -goal_entropy(logits, goal).sum()


def _margin(logits: Logits, goal: Goal) -> Tensor:
    return -margin(logits, goal).sum()


@torch.no_grad()
def _answers(network: nn.Module, x: Images) -> Logits:
    if not len(x):
        return x.new_zeros(0, 2)
    answers: Tensor = logits_in(network(x))
    return answers
