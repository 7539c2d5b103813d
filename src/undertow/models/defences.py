"""Defence mechanisms by name: what each promises, and which attack is made for it.

A defence of your own is a line, ``DEFENCES.add("mine", Defence(...), "…")``, and the key
``defences`` of a study, which says which model has it.
"""

from __future__ import annotations

from dataclasses import dataclass

from undertow.models.registry import MODELS
from undertow.registry import Registry

__all__ = ["DEFENCES", "Defence", "defence_name"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Defence:
    """A defence mechanism.

    Args:
        words: its name in a sentence.
        promise: what its authors say that it does.
        source: their paper.
        adaptive: attacks that are made for it, as a study names them; empty where none is known.
        detects: whether it rejects inputs; an attack on the whole network sees that, and one that
            is ``unaware`` does not.
    """

    words: str
    promise: str
    source: str
    adaptive: tuple[str, ...] = ()
    detects: bool = False


DEFENCES: Registry[Defence] = Registry("defence")
DEFENCES.add(
    "distillation",
    Defence(
        words="defensive distillation",
        promise="no gradient of the softmax is left for an attack to follow",
        source="Papernot et al. 2016, 1511.04508",
        adaptive=("jsma, settings: {adaptive: true, outputs: softmax, temperature: T}",),
    ),
    "a softmax trained at a high temperature and served at 1",
)
DEFENCES.add(
    "adversarial_training",
    Defence(
        words="adversarial training",
        promise="inputs in a small ball keep their class",
        source="Madry et al. 2018, 1706.06083",
        adaptive=("pgd, role: adaptive, settings: {restarts: 3, loss: both}",),
    ),
    "learning from inputs under attack",
)
DEFENCES.add(
    "magnet",
    Defence(
        words="MagNet",
        promise="adversarial inputs lie off the manifold of benign ones: those far off are "
        "rejected, those near are moved back",
        source="Meng and Chen 2017, 1705.09064",
        adaptive=("cw", "opgd", "pgd"),
        detects=True,
    ),
    "detectors and a reformer made of an autoencoder",
)
DEFENCES.add(
    "squeezing",
    Defence(
        words="feature squeezing",
        promise="the answer for an adversarial input does not survive a coarser input",
        source="Xu et al. 2018, 1704.01155",
        adaptive=("cw", "opgd", "pgd"),
        detects=True,
    ),
    "rejection where fewer bits or a median filter change the answer",
)


def defence_name(model: str) -> str | None:
    """The defence of a model of the zoo; ``None`` for others."""
    plain = model.removeprefix("zoo:")
    return MODELS[plain].defence if plain in tuple(MODELS) else None
