"""How networks are trained and trimmed, in numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from undertow.errors import BadInput

__all__ = ["Hardening", "Recipe", "Shielding", "Trimming"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """SGD with Nesterov momentum on one cycle of the learning rate.

    Args:
        epochs: passes over the images to fit.
        batch: images a step.
        rate: the highest learning rate.
        rise: share of the steps in which the rate rises to it; then it falls to 0, both linearly.
        momentum: of SGD.
        decay: weight decay of convolutions and linear layers (not of normalisation and biases).
        smoothing: label smoothing.
        shift: crops are taken up to so many pixels off, from the image reflected at its edges.
        flip: whether half of the images are mirrored left to right.
        average: each step keeps this share of the averaged weights, which are the result.
        init: ``"lsuv"``, or ``"default"`` for the layers' own.
    """

    epochs: int
    batch: int = 128
    rate: float = 0.2
    rise: float = 0.2
    momentum: float = 0.9
    decay: float = 5e-4
    smoothing: float = 0.1
    shift: int = 4
    flip: bool = True
    average: float = 0.998
    init: Literal["lsuv", "default"] = "default"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2:
            raise BadInput(
                f"epochs={self.epochs}, batch={self.batch} (allowed: 1 or more, 2 or more)"
            )

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of step 0 ... steps - 1."""
        peak = max(1.0, self.rise * steps)
        done = step + 1
        return self.rate * (done / peak if done < peak else (steps - step) / (steps - peak + 1))

    def as_dict(self) -> dict[str, Any]:
        """For cards and checkpoints."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trimming:
    """How far and in how many rounds a network is trimmed.

    Args:
        rounds: the most prunings; each is followed by a training.
        parameters: share of the parameters that may remain.
        multiply_adds: share of the multiply-adds that may remain.
        least: share of its maps that every layer keeps.
        between: the training after every round but the last.
        last: the training after the last round.
    """

    rounds: int = 8
    parameters: float = 0.48
    multiply_adds: float = 0.58
    least: float = 0.25
    between: Recipe = field(default_factory=lambda: Recipe(epochs=3, rate=0.05))
    last: Recipe = field(default_factory=lambda: Recipe(epochs=10, rate=0.1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shielding:
    """How detectors are made: an autoencoder by Adam where they need one, then their thresholds.

    Args:
        epochs: passes over the images, for the autoencoder; 0 where there is none.
        batch: images a step.
        rate: of Adam, falling to 0 along half a cosine.
        noise: standard deviation of what is added to the images that it learns to give back.
        false_alarms: share of held-out images that each detector may reject.
    """

    epochs: int = 40
    batch: int = 256
    rate: float = 3e-3
    noise: float = 0.025
    false_alarms: float = 0.005

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch < 1 or not 0 < self.false_alarms < 1:
            raise BadInput(
                f"epochs={self.epochs}, batch={self.batch}, false_alarms={self.false_alarms} "
                "(allowed: 0 or more, 1 or more, between 0 and 1)"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardening:
    """How inputs are disturbed in adversarial training, and when it counts as failed.

    Args:
        epsilon: L∞ radius of the attack, of pixels in [0, 1].
        steps: gradient steps a batch, at the start.
        noise: half width of the random start of a single step, in units of epsilon.
        stride: length of a single step, in units of epsilon.
        watched: held-out images whose robust accuracy is measured after every epoch.
        watch_steps: of the attack that measures it.
        fall: a training is taken back that keeps less than this share of its best robust accuracy.
        mends: how often, at most.
    """

    epsilon: float = 8 / 255
    steps: int = 1
    noise: float = 1.0
    stride: float = 1.0
    watched: int = 500
    watch_steps: int = 10
    fall: float = 0.5
    mends: int = 3

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < 1 or self.steps < 1:
            raise BadInput(
                f"epsilon={self.epsilon}, steps={self.steps} "
                "(allowed: above 0 and below 1, for pixels in [0, 1]; 1 or more)"
            )
