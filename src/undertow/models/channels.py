"""Which channels of a plain convolutional network can go, and taking them out for good.

A layer is *plain* when its maps reach exactly one further convolution or linear layer, through
nothing that mixes channels: batch normalisation, ReLU, pooling, dropout, flattening. Such a map can
be removed: its filter here, its statistics on the way, its weights in the layer that reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, fx, nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils.parametrize import is_parametrized

from undertow.errors import BadInput

__all__ = ["PlainLayer", "fit_to", "plain_layers", "remove_channels"]

_NORM = nn.BatchNorm1d | nn.BatchNorm2d
_PASSING: Final = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d, nn.Dropout, nn.Dropout2d, nn.Identity, nn.Flatten,
)  # fmt: skip
_FUNCTIONS: Final = {
    torch.relu, torch.relu_, nn.functional.relu, nn.functional.max_pool2d, torch.flatten,
    nn.functional.avg_pool2d, nn.functional.adaptive_avg_pool2d, nn.functional.dropout,
}  # fmt: skip
_METHODS: Final = {"relu", "relu_", "flatten", "contiguous"}


@dataclass(frozen=True, slots=True)
class PlainLayer:
    """A convolution whose maps can be removed.

    Args:
        name: of the convolution.
        norms: batch normalisations on the way.
        activation: name of the graph's node whose output is the ReLU's.
        reader: the layer that reads the maps.
    """

    name: str
    norms: tuple[str, ...]
    activation: str
    reader: str


def trace(network: nn.Module) -> fx.GraphModule:
    """The network's graph in evaluation mode.

    Raises:
        BadInput: if the network's flow depends on its data.
    """
    training = network.training
    network.eval()
    try:
        return fx.symbolic_trace(network)
    except Exception as error:
        raise BadInput(
            f"trimming needs a plain network; this one cannot be traced: {error}"
        ) from None
    finally:
        network.train(training)


def plain_layers(network: nn.Module) -> dict[str, PlainLayer]:
    """The convolutions whose maps can be removed, in the order in which they run.

    Raises:
        BadInput: if there is none.
    """
    graph = trace(network).graph
    modules = dict(network.named_modules())
    calls = Counter(str(n.target) for n in graph.nodes if n.op == "call_module")
    taken = {str(n.target).rpartition(".")[0] for n in graph.nodes if n.op == "get_attr"}
    found: dict[str, PlainLayer] = {}
    for node in graph.nodes:
        if node.op != "call_module" or not isinstance(modules[str(node.target)], nn.Conv2d):
            continue
        layer = _follow(node, modules)
        if layer is None:
            continue
        changed = (layer.name, *layer.norms, layer.reader)
        # Modules have several names where they are used in several places.
        if all(calls[n] == 1 and n not in taken and _own(modules[n], network) for n in changed):
            found[layer.name] = layer
    if not found:
        raise BadInput("trimming needs a plain network; no convolution here has a single reader")
    return found


def _own(module: nn.Module, network: nn.Module) -> bool:
    """Whether what a module computes with is its own: not shared, nor made from something else."""
    if is_parametrized(module) or module._forward_pre_hooks or module._forward_hooks:
        return False  # weight and spectral normalisation, old and new
    names = [m for _, m in network.named_modules(remove_duplicate=False) if m is module]
    held = Counter(id(p) for m in network.modules() for p in m.parameters(recurse=False))
    return len(names) == 1 and all(
        held[id(p)] == 1 and not isinstance(p, UninitializedParameter)
        for p in module.parameters(recurse=False)
    )


def _flattens(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a step makes one row of channels and positions, channel by channel."""
    if isinstance(module, nn.Flatten):
        return (module.start_dim, module.end_dim) == (1, -1)
    given = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)) | node.kwargs
    return (given.get("start_dim", 0), given.get("end_dim", -1)) == (1, -1)


def _follow(node: fx.Node, modules: Mapping[str, nn.Module]) -> PlainLayer | None:
    """From a convolution to its one reader; ``None`` where the way branches or mixes channels."""
    start = modules[str(node.target)]
    assert isinstance(start, nn.Conv2d)
    norms: list[str] = []
    activation = ""
    here, flat = node, False
    while start.groups == 1 and len(here.users) == 1:
        here, flattened = next(iter(here.users)), flat
        if here.op == "call_module":
            module = modules[str(here.target)]
            if isinstance(module, nn.Linear | nn.Conv2d):
                done = PlainLayer(str(node.target), tuple(norms), activation, str(here.target))
                return done if activation and _reads(module, start, flat=flat) else None
            if not isinstance(module, _PASSING):
                return None
            if isinstance(module, nn.Flatten):
                flat = _flattens(here, module)
                if not flat:
                    return None
            if isinstance(module, _NORM):
                norms.append(str(here.target))
            relu = isinstance(module, nn.ReLU)
        elif here.op == "call_function" and here.target in _FUNCTIONS:
            relu = "relu" in getattr(here.target, "__name__", "")
            flat = flat or here.target is torch.flatten
        elif here.op == "call_method" and here.target in _METHODS:
            relu = str(here.target).startswith("relu")
            flat = flat or here.target == "flatten"
        else:
            return None
        if flat and not flattened and here.op != "call_module" and not _flattens(here, None):
            return None
        activation = here.name if relu else activation
    return None


def _reads(reader: nn.Linear | nn.Conv2d, layer: nn.Conv2d, *, flat: bool) -> bool:
    """Whether a layer reads maps as maps; a linear layer over their width does not."""
    if isinstance(reader, nn.Conv2d):
        return reader.groups == 1 and not flat
    return flat and reader.in_features % layer.out_channels == 0


@torch.no_grad()
def remove_channels(network: nn.Module, keep: Mapping[str, Tensor]) -> nn.Module:
    """Take maps out of a network, in place: filters, statistics and the weights that read them.

    Args:
        network: plain where channels go.
        keep: convolution -> indices of the maps that stay, rising.
    """
    layers = plain_layers(network)
    modules = dict(network.named_modules())
    for name, kept in keep.items():
        layer = layers[name]
        conv = modules[name]
        assert isinstance(conv, nn.Conv2d)
        before = conv.out_channels
        conv.weight = _part(conv.weight, kept, 0)
        if conv.bias is not None:
            conv.bias = _part(conv.bias, kept, 0)
        conv.out_channels = len(kept)
        for norm_name in layer.norms:
            norm = modules[norm_name]
            assert isinstance(norm, _NORM)
            _shrink_norm(norm, kept, before)
        reader = modules[layer.reader]
        if isinstance(reader, nn.Conv2d):
            reader.weight = _part(reader.weight, kept, 1)
            reader.in_channels = len(kept)
        elif isinstance(reader, nn.Linear):
            columns = _spread(kept, reader.in_features // before)
            reader.weight = _part(reader.weight, columns, 1)
            reader.in_features = len(columns)
    return network


def _part(value: Tensor, kept: Tensor, axis: int) -> nn.Parameter:
    return nn.Parameter(value.index_select(axis, kept.to(value.device)), value.requires_grad)


def _spread(kept: Tensor, positions: int) -> Tensor:
    """Channel indices -> indices after flattening (channel, row, col)."""
    return (kept[:, None] * positions + torch.arange(positions)).flatten()


def _shrink_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d, kept: Tensor, before: int) -> None:
    kept = _spread(kept, norm.num_features // before)
    for name in ("weight", "bias"):
        if getattr(norm, name) is not None:
            setattr(norm, name, _part(getattr(norm, name), kept, 0))
    for name in ("running_mean", "running_var"):
        if getattr(norm, name) is not None:
            held = getattr(norm, name)
            setattr(norm, name, held.index_select(0, kept.to(held.device)))
    norm.num_features = len(kept)


def fit_to(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Shrink a network, in place, to the widths of a trimmed network's weights.

    Nothing happens where the widths agree, or where the difference is not one of trimming.
    """
    ours = network.state_dict()
    narrow = {
        key.removesuffix(".weight"): len(value)
        for key, value in state.items()
        if key.endswith(".weight") and key in ours and value.ndim == ours[key].ndim == 4
        and len(value) < len(ours[key])
    }  # fmt: skip
    if not narrow:
        return
    try:
        layers = plain_layers(network)
    except BadInput:
        return
    if narrow.keys() <= layers.keys():
        remove_channels(network, {n: torch.arange(c) for n, c in narrow.items()})
