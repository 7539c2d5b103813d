"""What the driver is given, checked once: model, images, labels, targets."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias, cast, get_args

import torch
from torch import Tensor, nn

from undertow.errors import BadInput
from undertow.models.asking import in_training, inside_box, unwrapped
from undertow.types import Attack, Images, Labels, Logits

__all__ = [
    "CANDIDATES", "MANY", "Rule", "Target", "as_images", "as_labels", "as_models",
    "count_candidates", "targets", "wrong_classes",
]  # fmt: skip

Rule: TypeAlias = Literal["untargeted", "easiest", "least_likely", "second"]
Target: TypeAlias = Rule | int | Labels | None
"""A rule, a class, one class an input, or ``None`` for the attack's own rule."""
MANY: Final = 64
"""Classes up to which ``easiest`` tries every wrong one: a row each, all of them in memory."""
CANDIDATES: Final = 8
"""Of more classes, the wrong ones that the model holds likeliest at the benign input."""


def as_models(model: Any) -> tuple[nn.Module, ...]:
    """One model or several, each in evaluation mode; of a compiled one what it stands around.

    Raises:
        BadInput: for something that is no module, or a module in training mode.
    """
    several = isinstance(model, Sequence) and not isinstance(model, str)
    models = tuple(model) if several else (model,)
    if not models:
        raise BadInput("there is no model: the sequence of models is empty")
    for m in models:
        if not isinstance(m, nn.Module):
            raise BadInput(f"the model is a {type(m).__name__}; it must be a torch.nn.Module")
        late = in_training(m)
        if late is not None:
            where = late or "the model"
            raise BadInput(f"the model is in training mode ({where}); call model.eval() first")
    return tuple(map(unwrapped, models))


def as_images(x: Any) -> Images:
    """Images as they came, half precision widened to float32.

    Raises:
        BadInput: for another shape or type, an empty batch, values outside [0, 1] or not finite.
    """
    if not isinstance(x, Tensor) or x.ndim != 4 or not x.is_floating_point():
        shape = (
            f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        )
        raise BadInput(
            f"the images are {shape}; they must be a floating-point tensor of four axes "
            "(sample, channel, row, col)"
        )
    if not x.numel():
        raise BadInput(f"the batch is empty (shape {tuple(x.shape)}); give at least one image")
    x = x.detach()
    wide: Tensor = x if x.dtype in (torch.float32, torch.float64) else x.float()
    return inside_box(wide, "the images")


def as_labels(y: Any, samples: int, classes: int, what: str = "labels") -> Labels:
    """Labels as int64.

    Raises:
        BadInput: for another shape or type, or a label that is no class of the model.
    """
    if isinstance(y, Sequence) and not isinstance(y, str | bytes):
        y = torch.as_tensor(y)
    if not isinstance(y, Tensor) or y.shape != (samples,) or y.is_floating_point():
        got = f"{y.dtype} of shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise BadInput(f"the {what} are {got}; they must be whole numbers of shape ({samples},)")
    wrong = y[(y < 0) | (y >= classes)]
    if len(wrong):
        raise BadInput(f"the {what} contain {int(wrong[0])}; the classes are 0 to {classes - 1}")
    labels: Tensor = y.detach().to(torch.int64)
    return labels


def rule_of(attack: Attack, target: Target) -> Rule | int | Labels:
    """The rule asked for, or the attack's own where none was."""
    if target is None:
        return cast(Rule, attack.default_target)
    if isinstance(target, str) and target not in get_args(Rule):
        allowed = ", ".join(get_args(Rule))
        raise BadInput(f"the target is '{target}' (allowed: {allowed}, a class, or one an input)")
    return target


def check_target(rule: Rule | int | Labels, y: Labels, classes: int) -> Rule | Labels:
    """Rules stay rules; classes become one an input.

    An input whose target is its own label is passed over by the driver; a warning counts them.

    Raises:
        BadInput: for a class that is not one of the model's.
    """
    if isinstance(rule, str):
        return rule
    if isinstance(rule, int) and not isinstance(rule, bool):
        rule = torch.full_like(y, rule)
    fixed = as_labels(rule, len(y), classes, "targets").to(y.device)
    if same := int((fixed == y).sum()):
        whose = "its own label is the target" if same == 1 else "their own label is the target"
        warnings.warn(f"{same} of {len(y)} inputs skipped: {whose}", stacklevel=3)
    return fixed


def count_candidates(classes: int) -> int:
    """How many targets ``easiest`` tries for an input."""
    return classes - 1 if classes <= MANY else CANDIDATES


def wrong_classes(y: Labels, logits: Logits) -> Tensor:
    """The targets that ``easiest`` tries, ascending. Shape (sample, target).

    All classes but the label; with more than :data:`MANY` the :data:`CANDIDATES` likeliest.
    """
    classes = logits.shape[1]
    if classes > MANY:
        rest = logits.scatter(1, y[:, None], -torch.inf)
        return rest.topk(CANDIDATES, dim=1).indices.sort(dim=1).values
    every = torch.arange(classes, device=y.device).expand(len(y), classes)
    return every[every != y[:, None]].view(len(y), classes - 1)


def targets(rule: Rule | Labels, logits: Logits, y: Labels) -> Labels | None:
    """The target of each input under a rule; ``None`` for an untargeted attack.

    ``least_likely`` and ``second`` are the wrong classes with the smallest and the largest logit.
    """
    if isinstance(rule, Tensor):
        return rule
    if rule == "least_likely":
        return logits.scatter(1, y[:, None], torch.inf).argmin(dim=1)
    if rule == "second":
        return logits.scatter(1, y[:, None], -torch.inf).argmax(dim=1)
    return None
