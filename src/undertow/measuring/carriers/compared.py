"""What rankings may look at: an input and its adversarial one as the model sees both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from undertow.measuring.seen import Forwarded
from undertow.taps.replace import TapOutputs, outputs
from undertow.types import Images, Labels, Logits, Tap

__all__ = ["Compared", "Ranking", "Scores", "lead"]

Scores: TypeAlias = Float[Tensor, "sample map"]
"""What each map carries; those with the largest numbers are put back first."""


@runtime_checkable
class Ranking(Protocol):
    """Ranks the maps of a tap by what they carry."""

    def __call__(self, pair: Compared, tap: Tap) -> Scores:
        """A number a map, NaN where there is none; maps with larger ones are put back first."""
        ...


def lead(logits: Logits, label: Labels, rival: Labels) -> Float[Tensor, " sample"]:
    """How far the rival leads the true class, in logits."""
    of_rival, of_label = (
        logits.gather(1, c[:, None].to(logits.device))[:, 0] for c in (rival, label)
    )
    return of_rival - of_label


class Compared:
    """Inputs and adversarial ones, and what the model made of both; each pass runs once.

    Args:
        model: in evaluation mode.
        taps: where maps are looked at.
        benign: the inputs.
        adversarial: what the attack made of them.
        label: true classes.
        rival: the classes that the model gives the adversarial ones.
    """

    def __init__(
        self,
        model: nn.Module,
        taps: Sequence[Tap],
        benign: Images,
        adversarial: Images,
        label: Labels,
        rival: Labels,
    ) -> None:
        self.model, self.taps = model, tuple(taps)
        self.benign, self.adversarial = benign, adversarial
        self.label, self.rival = label, rival
        self._sloped: dict[float, TapOutputs] = {}

    def _lead(self, logits: Logits) -> Tensor:
        return lead(logits, self.label, self.rival)

    @cached_property
    def at_benign(self) -> TapOutputs:
        """What the model puts out for the benign inputs."""
        return outputs(self.model, self.benign, self.taps)

    @cached_property
    def at_adversarial(self) -> TapOutputs:
        """What it puts out for the adversarial ones."""
        return self._sloped.get(1.0) or outputs(self.model, self.adversarial, self.taps)

    def change(self, tap: Tap) -> Float[Tensor, "sample map ..."]:
        """How the attack changed the maps of a tap."""
        after, before = self.at_adversarial.maps[tap.name], self.at_benign.maps[tap.name]
        return after.float() - before.float()

    def slopes(self, place: float) -> dict[str, Float[Tensor, "sample map ..."]]:
        """Slopes of the rival's lead over the true class at the maps of every tap.

        Args:
            place: on the straight line between the inputs, 0 benign and 1 adversarial.
        """
        if place not in self._sloped:
            x = self.benign + place * (self.adversarial - self.benign)
            found = outputs(
                self.model, self.adversarial if place == 1 else x, self.taps, self._lead
            )
            self._sloped[place] = found if place == 1 else replace(found, maps={})
        return self._sloped[place].slopes

    @cached_property
    def evidence(self) -> Forwarded:
        """Maps and evidence maps of the adversarial inputs, as they are measured."""
        spatial = [tap for tap in self.taps if tap.spatial]
        two = torch.stack([self.rival, self.label], dim=1)
        return Forwarded.of(self.model, spatial, self.adversarial, two)
