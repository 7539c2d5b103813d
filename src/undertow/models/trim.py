"""Network Trimming (Hu et al. 2016, 1607.03250).

Maps that are zero nearly everywhere tell nothing. APoZ is the average percentage of zeros of a
map after its ReLU, over inputs and positions (equation 1). Each round removes, in every layer, the
maps whose APoZ lies more than one standard deviation above their layer's mean (section 3.3), and
then trains the smaller network further.

The paper stops when accuracy breaks; here the size to reach is given, and rounds go on until it is
reached. In the last round the bar is raised so that no more goes than has to.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from undertow.data import ImageSet
from undertow.models.channels import plain_layers, remove_channels, trace
from undertow.models.evaluation import multiply_adds, parameters
from undertow.models.fitting import fit
from undertow.models.recipe import Trimming
from undertow.progress import SILENT, Progress
from undertow.seeds import derive

__all__ = ["apoz", "maps_to_keep", "trim"]


@torch.no_grad()
def apoz(network: nn.Module, data: ImageSet, batch: int = 250) -> dict[str, Float[Tensor, " map"]]:
    """Average percentage of zeros of every map that could be removed (Hu 2016, equation 1).

    Args:
        network: plain, at least in parts.
        data: images to average over.
        batch: images at a time.

    Returns:
        Convolution -> share of zeros after its ReLU, one a map, in [0, 1].
    """
    layers = plain_layers(network)
    graph = trace(network)
    place = next(network.parameters()).device
    zeros = {name: torch.zeros((), dtype=torch.float64) for name in layers}
    by_node = {layer.activation: name for name, layer in layers.items()}

    class Reader(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            out = super().run_node(n)
            if n.name in by_node:
                share = (out == 0).flatten(2).double().mean(2).sum(0).cpu()
                zeros[by_node[n.name]] = zeros[by_node[n.name]] + share
            return out

    for start in range(0, len(data), batch):
        Reader(graph).run(data[start : start + batch][0].to(place))
    return {name: value / len(data) for name, value in zeros.items()}


def maps_to_keep(
    zeros: Mapping[str, Float[Tensor, " map"]], bar: float, least: Mapping[str, int]
) -> dict[str, Tensor]:
    """The maps that stay: APoZ at most ``bar`` standard deviations above the layer's mean.

    Args:
        zeros: APoZ of every map.
        bar: in standard deviations of the layer; 1 in the paper.
        least: how many maps each layer keeps in any case (those with the fewest zeros).
    """
    keep = {}
    for name, share in zeros.items():
        stays = share <= share.mean() + bar * share.std(correction=0)
        stays[share.argsort(stable=True)[: least[name]]] = True
        keep[name] = stays.nonzero().flatten()
    return keep


def trim(
    network: nn.Module,
    data: ImageSet,
    held_out: ImageSet,
    settings: Trimming,
    *,
    seed: int,
    out: Path | None = None,
    device: str = "cpu",
    title: str = "trimming",
    progress: Progress = SILENT,
) -> tuple[nn.Module, list[dict[str, int | float]], dict[str, Any]]:
    """Trim a plain convolutional network: prune by APoZ, train, repeat.

    Args:
        network: a copy of it is trimmed; its normalisation is inside.
        data: images to train on.
        held_out: images on which APoZ is counted.
        settings: how far, in how many rounds.
        seed: of the trainings.
        out: folder for checkpoints, so that a killed trimming goes on.
        device: where to train.
        title: shown with the progress.
        progress: told about every training.

    Returns:
        The trimmed network; one line an epoch; for the card, widths and APoZ before and after,
        round by round.

    Raises:
        BadInput: if no layer of the network can be trimmed.
    """
    small = _copy(network)
    example = held_out[:1][0]
    full = _size(small, example)
    rounds: list[dict[str, Any]] = []
    log: list[dict[str, int | float]] = []
    first = apoz(small, held_out)
    least = {name: max(2, round(settings.least * len(z))) for name, z in first.items()}
    goal = full[0] * settings.parameters, full[1] * settings.multiply_adds
    reached = False
    while not reached and len(rounds) < settings.rounds:
        bar, keep = _round(small, apoz(small, held_out), goal, least, example)
        small = remove_channels(_copy(small), keep)
        size = _size(small, example)
        reached = _within(size, goal)
        number = len(rounds) + 1
        log += fit(
            small,
            data,
            settings.last if reached else settings.between,
            seed=derive(seed, "round", number),
            checkpoint=None if out is None else out / f"round-{number}.pt",
            held_out=held_out,
            device=device,
            title=f"{title}, round {number}",
            progress=progress,
        )
        small = small.cpu()
        held = log[-1]["held_out"]
        rounds.append(
            {"bar": bar, "parameters": size[0], "multiply_adds": size[1], "held_out": held}
        )
    details = {
        "layers": _layers(first, apoz(small, held_out)),
        "rounds": rounds,
        "settings": asdict(settings),
        "parameters_before": full[0],
        "multiply_adds_before": full[1],
    }
    return small, log, details


def _copy(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).cpu().eval().requires_grad_(True)


def _size(network: nn.Module, example: Tensor) -> tuple[int, int]:
    return parameters(network), multiply_adds(network, example)


def _round(
    network: nn.Module,
    zeros: Mapping[str, Tensor],
    goal: Sequence[float],
    least: Mapping[str, int],
    example: Tensor,
) -> tuple[float, dict[str, Tensor]]:
    """The bar of one round and the maps it keeps.

    It is the paper's 1, raised where that goes below the goal, lowered where it removes nothing.
    """

    def at(bar: float) -> tuple[dict[str, Tensor], tuple[int, int]]:
        keep = maps_to_keep(zeros, bar, least)
        return keep, _size(remove_channels(_copy(network), keep), example)

    before = _size(network, example)
    bar = 1.0
    keep, size = at(bar)
    while size == before and bar > -3:
        bar = round(bar - 0.05, 2)
        keep, size = at(bar)
    while _within(size, goal):
        higher = round(bar + 0.05, 2)
        more, size = at(higher)
        if not _within(size, goal):
            break
        bar, keep = higher, more
    return bar, keep


def _within(size: tuple[int, int], goal: Sequence[float]) -> bool:
    return all(s <= g for s, g in zip(size, goal, strict=True))


def _layers(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    return [
        {
            "layer": name,
            "maps_before": len(before[name]),
            "maps": len(after[name]),
            "apoz_before": round(float(before[name].mean()), 4),
            "apoz": round(float(after[name].mean()), 4),
        }
        for name in before
    ]
