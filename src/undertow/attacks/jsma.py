"""JSMA: the Jacobian-based saliency map attack (Papernot 2016, 1511.07528).

``increase`` or ``decrease`` two features at a time, the pair that the saliency map names, until
the target class is reached. Against distilled models ``adaptive`` follows Carlini and Wagner
2016 (1607.04311).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from undertow.attacks.parts.saliency import Direction
from undertow.attacks.parts.saliency_anywhere import Rule, search
from undertow.attacks.parts.settings import check, choice, flag, number
from undertow.errors import BadInput
from undertow.types import (
    Attack,
    Draws,
    Goal,
    Images,
    Iterate,
    Iterates,
    Keep,
    Logits,
    Norm,
    Oracle,
)

__all__ = ["JSMA", "Outputs", "Rule"]

Outputs: TypeAlias = Literal["logits", "softmax"]
"""What the forward derivative is taken of."""

_Features: TypeAlias = Float[Tensor, "sample feature"]


class _Next(NamedTuple):
    """What the forward derivative at x says about the next step."""

    logits: Logits
    pixels: Int64[Tensor, "sample 2"]
    stalled: Keep


@dataclass(frozen=True, slots=True, kw_only=True)
class JSMA(Attack):
    """Jacobian-based saliency map attack, targeted, few features (L0).

    Follows algorithms 1 to 3 of the paper: at most ⌊γ·features/2⌋ steps, each of which moves the
    best pair by θ and drops from the search what has become 0 or 1; a feature that has not may be
    chosen again. Features that are saturated from the start are left out, as in the authors' own
    code (the paper's listing lets them be chosen once, to no effect). A row is finished when no
    pair is admissible; it counts as stalled if that is because its gradients are all zero.

    With ``outputs="softmax"`` the derivatives of all classes sum to zero, so β = -α and one
    gradient is enough.

    Args:
        theta: change of a feature in one step, in (0, 1].
        gamma: share of the features that may be changed, in (0, 1] (the paper's Υ / 100).
        outputs: ``"logits"`` (the softmax inputs, as in the evaluation of distillation,
            1511.04508) or ``"softmax"``.
        direction: whether features are increased or decreased by θ.
        rule: ``"pair"`` is the paper's map; ``"gradient"`` looks at the target's gradient only.
        adaptive: the two changes of 1607.04311: softmax outputs, and softmax inputs divided by
            ``temperature``.
        temperature: the temperature at which the model was distilled; softmax outputs only.
    """

    name: ClassVar[str] = "jsma"
    norm: ClassVar[Norm] = "l0"
    default_target: ClassVar[str] = "easiest"
    strength: ClassVar[str | None] = "theta"

    theta: float = number(1.0, 0.0, 1.0, above=True)
    gamma: float = number(0.145, 0.0, 1.0, above=True)
    outputs: Outputs = choice("logits", Outputs)  # noqa: RUF009
    direction: Direction = choice("increase", Direction)  # noqa: RUF009
    rule: Rule = choice("pair", Rule)  # noqa: RUF009
    adaptive: bool = flag(False)
    temperature: float = number(1.0, 0.0, above=True)

    def __post_init__(self) -> None:
        check(self)
        if self.adaptive:
            object.__setattr__(self, "outputs", "softmax")
        if self.temperature != 1 and self.outputs == "logits":
            raise BadInput(
                f"jsma: temperature {self.temperature} acts on softmax outputs only; "
                "set adaptive=True or outputs='softmax'"
            )

    def budget(self, features: int) -> int:
        """The largest number of steps for inputs of so many features.

        Raises:
            BadInput: if ``gamma`` allows not even one pair.
        """
        # The smallest nudge keeps a product such as 0.29 · 100 from falling below its whole number.
        steps = math.floor(self.gamma * features / 2 * (1 + 1e-12))
        if not steps:
            allowed = 2 / features
            raise BadInput(
                f"jsma: gamma {self.gamma} of {features} features is less than one pair; "
                f"give at least {allowed:.3g}"
            )
        return steps

    def iterates(self, model: Oracle, x0: Images, goal: Goal, *, draws: Draws) -> Iterates:
        """Yield one changed pair of features a step.

        Notes of an iterate: ``pixels`` (sample, 2), the features changed, as indices into the
        flattened input (-1 where nothing was left to change), and ``stalled`` (sample,).

        Raises:
            BadInput: if the goal names no target class.
        """
        if goal.target is None:
            raise BadInput("jsma needs a target class: give target='easiest' or class numbers")
        target, last = goal.target, self.budget(x0[0].numel())
        x = x0.flatten(1).clone()
        _, pixels, _ = self._look(model, x0, target)
        for step in range(1, last + 1):
            moved = self._move(x, pixels)
            image = moved.view(len(moved), *x0.shape[1:])
            if step < last:
                logits, ahead, stalled = self._look(model, image, target)
            else:  # no step follows: the answer is all that is needed
                logits, ahead = model.logits(image), torch.full_like(pixels, -1)
                stalled = torch.zeros_like(target, dtype=torch.bool)
            notes = {"pixels": pixels, "stalled": stalled}
            out = ahead[:, 0] < 0
            stuck = out & ~stalled if step < last else None
            keep = yield Iterate(
                step=step, x=image, logits=logits, finished=out, stuck=stuck, notes=notes
            )
            if not keep.any():
                return
            x, pixels, target = moved[keep], ahead[keep], target[keep]

    def _move(
        self, x: Float[Tensor, "sample feature"], pixels: Int64[Tensor, "sample 2"]
    ) -> Float[Tensor, "sample feature"]:
        """Move two features a row by θ inside [0, 1]; rows without a pair stay."""
        step = self.theta if self.direction == "increase" else -self.theta
        chosen = pixels.clamp(min=0)
        now = x.gather(1, chosen)
        then = torch.where(pixels < 0, now, (now + step).clamp(0, 1))
        return x.scatter(1, chosen, then)

    def _look(self, model: Oracle, x: Images, target: Tensor) -> _Next:
        """The model's answer at ``x``, the features to change next, and where gradients vanish."""
        logits, alpha, beta = self._derivative(model, x, target)
        values = x.detach().flatten(1)
        domain = values < 1 if self.direction == "increase" else values > 0
        pairs = search(alpha, beta, domain, self.rule, self.direction)
        if self.rule == "pair":
            suspects = pairs[:, 0] < 0
        else:
            suspects = ~alpha.gather(1, pairs.clamp(min=0)).any(dim=1)
        stalled = suspects & domain.any(dim=1)
        stalled &= ~((alpha.bool() & domain).any(dim=1) & (beta.bool() & domain).any(dim=1))
        return _Next(logits, torch.where(stalled[:, None], -1, pairs), stalled)

    def _derivative(
        self, model: Oracle, x: Images, target: Tensor
    ) -> tuple[Logits, _Features, _Features]:
        """Logits, α = ∂F_t/∂x and β = Σ_{j≠t} ∂F_j/∂x (terms of the paper's equation 10)."""
        if self.outputs == "softmax":

            def chance(z: Logits) -> Float[Tensor, " sample"]:
                F = (z / self.temperature).softmax(dim=1)
                return F.gather(1, target[:, None])[:, 0]

            logits, gradient = model.gradient(x, chance)
            alpha = _flat(gradient)
            return logits, alpha, -alpha
        one = torch.nn.functional.one_hot(target, model.classes).to(x.dtype)
        if self.rule == "gradient":
            logits, gradients = model.jacobian(x, one[None])
            return logits, _flat(gradients[0]), _flat(gradients[0])
        logits, gradients = model.jacobian(x, torch.stack([one, 1 - one]))
        return logits, _flat(gradients[0]), _flat(gradients[1])


def _flat(images: Tensor) -> _Features:
    """Images as features (sample, feature), in float32 or float64."""
    flat = images.detach().flatten(1)
    return flat if flat.dtype in (torch.float32, torch.float64) else flat.float()
