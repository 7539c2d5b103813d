"""What a network puts out, how well it classifies, and how large it is."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from undertow.data import ImageSet
from undertow.errors import BadInput, of_kind
from undertow.models.asking import logits_in
from undertow.models.defended import defence_in, rejected
from undertow.progress import SILENT, Progress
from undertow.types import Images, Keep, Labels, Logits

__all__ = [
    "Evaluation",
    "calibration_error",
    "check_output",
    "confusion",
    "evaluate",
    "fingerprint",
    "logits_of",
    "multiply_adds",
    "parameters",
]

BATCH = 250


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What a network does on a set of images.

    Args:
        accuracy: share classified correctly.
        confusion: (class, class), rows are true classes, columns answers; without what is rejected.
        ece: expected calibration error, 15 bins.
        count: number of images.
        rejected: share that a defence rejects; these are not classified correctly.
    """

    accuracy: float
    confusion: Int64[Tensor, "class answer"]
    ece: float
    count: int
    rejected: float = 0.0


def check_output(output: object, x: Images, classes: int | None = None) -> Logits:
    """The logits of shape (sample, class) that a model's output is, or holds.

    Args:
        output: what the model put out for ``x``.
        x: the inputs.
        classes: how many columns there must be; ``None`` for any number above one.

    Raises:
        BadInput: says what came out and what is allowed.
    """
    allowed = f"({len(x)}, {classes if classes is not None else 'two or more classes'})"
    logits = logits_in(output)
    if not isinstance(logits, Tensor):
        raise BadInput(
            f"the model puts out {type(logits).__name__} (allowed: a tensor of logits {allowed})"
        )
    fits = logits.ndim == 2 and len(logits) == len(x) and logits.shape[1] > 1
    if not fits or (classes is not None and logits.shape[1] != classes):
        raise BadInput(
            f"the model puts out shape {tuple(logits.shape)} for {len(x)} inputs "
            f"(allowed: logits {allowed})"
        )
    if not torch.isfinite(logits).all():
        raise BadInput("the model puts out numbers that are not finite")
    return logits


@torch.no_grad()
def logits_of(
    model: nn.Module, data: ImageSet, *, progress: Progress = SILENT, title: str = "evaluating"
) -> Float[Tensor, "sample class"]:
    """The model's logits of every image, in float32 on the CPU.

    Args:
        model: in evaluation mode.
        data: images it is asked about.
        progress: told about every batch.
        title: shown with the progress.

    Raises:
        BadInput: if the model does not put out one row of logits an image.
    """
    parameter = next(model.parameters(), torch.zeros(()))
    rows = []
    with progress(title, len(data), "images") as advance:
        for start in range(0, len(data), BATCH):
            x, _ = data[start : start + BATCH]
            x = x.to(parameter.device, memory_format=torch.channels_last)
            rows.append(check_output(model(x.clone()), x).float().cpu())
            advance(len(x))
    return torch.cat(rows) if rows else torch.empty(0, len(data.classes), dtype=torch.float32)


def confusion(answers: Labels, labels: Labels, classes: int) -> Int64[Tensor, "class answer"]:
    """Counts by true class (rows) and answer (columns)."""
    return torch.bincount(labels * classes + answers, minlength=classes**2).view(classes, classes)


def calibration_error(logits: Logits, labels: Labels, bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017, 1706.04599, equation 5).

    The mean, over inputs, of the distance between confidence and accuracy in bins of equal width.
    """
    if len(labels) == 0:
        return 0.0
    confidence, answer = logits.softmax(dim=1).max(dim=1)
    # In float32 a product may land on the edge of a bin that its factor is not in.
    which = (confidence.double() * bins).ceil().long().clamp(1, bins) - 1
    right = (answer == labels).double()
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, which, right - confidence.double())
    return float(gap.abs().sum() / len(labels))


def evaluate(
    model: nn.Module, data: ImageSet, *, progress: Progress = SILENT, title: str = "evaluating"
) -> Evaluation:
    """Accuracy, confusion matrix and calibration error of a model on a set of images.

    Raises:
        BadInput: if the model's classes are not those of the data.
    """
    of_kind(model, nn.Module, "the model", "a torch.nn.Module")
    of_kind(data, ImageSet, "the data", "what undertow.load_data gives")
    logits = logits_of(model, data, progress=progress, title=title)
    if logits.shape[1] != len(data.classes):
        raise BadInput(
            f"the model has {logits.shape[1]} classes, the data set '{data.name}' has "
            f"{len(data.classes)}"
        )
    answers = logits.argmax(dim=1)
    refused = _refused(model, data)
    return Evaluation(
        accuracy=float(((answers == data.labels) & ~refused).double().mean()),
        rejected=float(refused.double().mean()),
        confusion=confusion(answers[~refused], data.labels[~refused], len(data.classes)),
        ece=calibration_error(logits, data.labels),
        count=len(data),
    )


def _refused(model: nn.Module, data: ImageSet) -> Keep:
    if defence_in(model) is None:
        return torch.zeros(len(data), dtype=torch.bool)
    place = next(model.parameters(), torch.zeros(())).device
    return torch.cat(
        [
            rejected(model, data[start : start + BATCH][0].to(place)).cpu()
            for start in range(0, len(data), BATCH)
        ]
    )


def multiply_adds(model: nn.Module, example: Images) -> int:
    """Multiply-adds of one input: convolutions, matrix products, attention; nothing elementwise.

    Args:
        model: any module.
        example: at least one input of the right shape; only the first is used.
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(example[:1])
    finally:
        model.train(training)
    return int(counter.get_total_flops()) // 2


def parameters(model: nn.Module) -> int:
    """Number of trainable numbers, frozen or not."""
    return sum(p.numel() for p in model.parameters())


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over names, types, shapes and bytes of parameters and buffers.

    Equal weights give equal fingerprints on every device and in every memory layout.
    """
    digest = sha256()
    for name, value in sorted(model.state_dict().items()):
        plain = value.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
