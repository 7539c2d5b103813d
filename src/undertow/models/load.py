"""Any classifier, ready to be studied: in evaluation mode, frozen, normalisation inside."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from undertow.errors import BadInput, UnknownName, of_kind
from undertow.loading import home, import_file
from undertow.models.asking import Around, Picked, in_training, stand_in
from undertow.models.blocks import Normalise
from undertow.models.cards import known_card
from undertow.models.defended import Thresholded, defence_in, undefended
from undertow.models.devices import usable
from undertow.models.evaluation import check_output
from undertow.models.foreign import hf_model, timm_model
from undertow.models.magnet import Magnet
from undertow.models.normalised import PROBES, normalises
from undertow.models.registry import MODELS
from undertow.models.shipping import load_zoo
from undertow.models.state import load_state, read_state
from undertow.seeds import derive

__all__ = ["Normalised", "class_names", "load_model", "untrained"]


class Normalised(Around):
    """A network that expects normalised inputs, made to take inputs in [0, 1].

    Args:
        network: expects (x - mean) / std.
        mean: one a channel.
        std: one a channel.
    """

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(network)
        self.normalise = Normalise(mean, std)

    def forward(self, x: torch.Tensor) -> Any:
        """Whatever the network gives for the normalised inputs."""
        return self.network(self.normalise(x))


def load_model(
    spec: str | nn.Module,
    *,
    classes: int | None = None,
    channels: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    weights: str | Path | None = None,
    output: int | str | None = None,
    device: str | torch.device = "cpu",
    probe: bool = True,
) -> nn.Module:
    """A model that maps inputs in [0, 1] to logits, in evaluation mode, with frozen parameters.

    It computes in float32: of a model in half or double precision, a copy is made that does.

    Args:
        spec: ``good_init`` or ``zoo:good_init`` (a name in the zoo); ``path/to/file.py:factory``
            (a function without arguments, or the module itself); ``timm:NAME``;
            ``hf:NAME_OR_FOLDER`` (image classification of Hugging Face transformers); or a module
            (it is copied unless it is frozen and in evaluation mode already).
        classes: how many the model must have.
        channels: how many its input must have.
        mean: subtracted from the input, one a channel; read from the configuration where timm or
            transformers have one.
        std: divides the input, one a channel.
        weights: a ``.safetensors`` file, or one for ``torch.load`` with tensors only.
        output: which of several things that the model puts out are its logits: a place, a key or
            an attribute.
        device: where the model shall be.
        probe: whether to try it on an image, and to warn where it does not normalise it.

    Raises:
        UnknownName: if no model has that name.
        BadInput: if file, factory, weights, classes, channels or device do not fit.
        Unavailable: if a package or the network is missing.
    """
    _check_pair(mean, std)
    place = usable(device)
    if isinstance(spec, nn.Module):
        model, own = _private(spec), False
    elif not isinstance(spec, str):
        raise BadInput(f"a model is a name or a torch module, not {type(spec).__name__}")
    else:
        model, own, (mean, std) = _from_text(spec, classes, channels, weights, (mean, std))
    if weights is not None:
        of_kind(weights, (str, Path), "weights", "the path of a file")
        model = _with_weights(model, Path(weights))
    if mean is not None and std is not None and not own:
        _check_channels(model, len(mean), "mean and std")
        if (defended := defence_in(model)) is not None:  # it sees images as they come
            defended.network = Normalised(defended.network, mean, std)
        else:
            model = Normalised(model, mean, std)
    if output is not None:
        model = Picked(model, output)
    model = _settled(model, place)
    if probe and not own and mean is None and normalises(undefended(model)) is False:
        warnings.warn(
            f"the model {_title(spec)} shows no normalisation inside, its first layer receives the "
            "image as it is; if it was trained on normalised inputs, give mean and std",
            stacklevel=2,
        )
    _check_channels(model, channels, "channels")
    if classes is not None:
        _check_classes(model, classes, _title(spec))
    return model


def _with_weights(model: nn.Module, path: Path) -> nn.Module:
    """The model with weights from a file; behind MagNet, where the file holds its autoencoder."""
    state = read_state(path)
    if defence_in(model) is None and "autoencoder.layers.0.weight" in state:
        with torch.random.fork_rng(devices=[]):
            model = Magnet(model, channels=state["autoencoder.layers.0.weight"].shape[1])
    load_state(model, path)
    return model


def _settled(model: nn.Module, place: torch.device) -> nn.Module:
    """On its device, in evaluation mode, its parameters frozen; in float32, as images are.

    Raises:
        BadInput: for an exported program, which has no mode to put it into.
    """
    try:
        kinds = {p.dtype for p in model.parameters() if p.is_floating_point()}
        if kinds - {torch.float32}:
            model = _in_float32(model)
        return model.to(place).eval().requires_grad_(False)
    except NotImplementedError:
        raise BadInput(
            f"a {type(model).__name__} that torch.export made cannot be put into evaluation mode; "
            "give the module that was exported"
        ) from None


def _in_float32(model: nn.Module) -> nn.Module:
    """A copy that computes in float32; thresholds, which only compare, keep their precision."""
    made = _copied(model)
    for module in made.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.is_floating_point():
                parameter.data = parameter.data.float()
        for name, value in module.named_buffers(recurse=False):
            if value.is_floating_point() and not isinstance(module, Thresholded):
                setattr(module, name, value.float())
    return made


def untrained(spec: str, *, seed: int, purpose: str = "") -> nn.Module:
    """A fresh network to train: a zoo architecture, or what ``path/to/file.py:factory`` gives.

    Args:
        spec: a name in the zoo, or a factory.
        seed: of its first weights, whatever was drawn before.
        purpose: gives several networks of one seed different first weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "untrained", purpose))
        file, _, factory = spec.rpartition(":")
        if file.endswith(".py"):
            network = _from_file(home(file), factory)
        else:
            network = MODELS[spec.removeprefix("zoo:")].build()
    return network.train().requires_grad_(True)


def class_names(spec: str, model: nn.Module, count: int) -> tuple[str, ...]:
    """What a model calls its classes: by its card or its configuration, else by their numbers."""
    card = known_card(spec)
    if card is not None and len(card.classes) == count:
        return card.classes
    network = getattr(model, "network", model)
    config = getattr(getattr(network, "network", network), "config", None)
    told = getattr(config, "id2label", None)
    if isinstance(told, dict) and len(told) == count:
        return tuple(str(told.get(k, told.get(str(k), k))) for k in range(count))
    return tuple(map(str, range(count)))


def _title(spec: str | nn.Module) -> str:
    return f"'{spec}'" if isinstance(spec, str) else type(spec).__name__


_Pair = tuple[Sequence[float] | None, Sequence[float] | None]


def _check_pair(mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
    if (mean is None) != (std is None):
        raise BadInput("mean and std belong together: give both or none")
    if mean is not None and std is not None and (len(mean) != len(std) or min(std) <= 0):
        raise BadInput(f"mean={list(mean)}, std={list(std)} (allowed: one a channel, std above 0)")


def _from_text(
    spec: str, classes: int | None, channels: int | None, weights: Any, pair: _Pair
) -> tuple[nn.Module, bool, _Pair]:
    """The model, whether normalisation is known to be inside, mean and std."""
    kind, colon, name = spec.partition(":")
    if kind == "timm" and colon:
        model, theirs = timm_model(name, classes, channels, pretrained=weights is None)
        return model, False, theirs if pair[0] is None else pair
    if kind == "hf" and colon:
        model, theirs = hf_model(name)
        return model, False, theirs if pair[0] is None else pair
    file, colon, factory = spec.rpartition(":") if not spec.endswith(".py") else (spec, ":", "")
    if colon and file.endswith(".py"):
        return _from_file(home(file), factory), False, pair
    known = name if kind == "zoo" and colon else spec
    if known not in MODELS:
        allowed = [*MODELS, "path/to/file.py:factory", "timm:NAME", "hf:NAME"]
        raise UnknownName("model", spec, allowed)
    if pair[0] is not None:
        raise BadInput(f"'{spec}' has its normalisation inside: mean and std cannot be given")
    if weights is not None:
        return MODELS[known].build(), True, pair
    return load_zoo(known), True, pair


def _private(module: nn.Module) -> nn.Module:
    """The module itself where nothing has to be changed, else a copy of it."""
    frozen = not any(p.requires_grad for p in module.parameters())
    if frozen and in_training(module) is None:
        return module
    return _copied(module)


def _copied(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except Exception as error:
        raise BadInput(
            f"the module {type(module).__name__} cannot be copied ({error}); "
            "give it as module.eval().requires_grad_(False)"
        ) from None


def _from_file(path: Path, name: str) -> nn.Module:
    module = import_file(path)
    if not name or not hasattr(module, name):
        found = factories(module)
        if not name:
            raise BadInput(
                f"'{path}' needs a factory: {path}:{found[0] if found else 'NAME'} "
                f"(allowed: {', '.join(found) or 'none is there'})"
            )
        raise UnknownName(f"factory in {path.name}", name, found)
    return _call(getattr(module, name), f"{path.name}:{name}")


def factories(module: ModuleType) -> list[str]:
    """What of a file may give a model: its own functions and classes, and modules that it holds."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (
            isinstance(value, nn.Module)
            or (callable(value) and getattr(value, "__module__", "") == module.__name__)
        )
    ]


def _call(factory: nn.Module | Callable[[], Any], title: str) -> nn.Module:
    if isinstance(factory, nn.Module):
        return factory
    try:
        with redirect_stdout(sys.stderr):  # what scripts read is ours alone
            model = factory()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit, too, is no way out of Undertow
        why = " ".join(str(error).split())[:200]
        raise BadInput(f"{title}() failed: {type(error).__name__}: {why}") from error
    if not isinstance(model, nn.Module):
        raise BadInput(f"{title}() gives {type(model).__name__} (allowed: a torch module)")
    return model


def _check_channels(model: nn.Module, channels: int | None, what: str) -> None:
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if channels is not None and first is not None and first.in_channels != channels:
        raise BadInput(
            f"{what}: {channels} asked for, the model takes {first.in_channels} channels"
        )


@torch.no_grad()
def _check_classes(model: nn.Module, classes: int, title: str) -> None:
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    channels = first.in_channels if first is not None else 3
    place = next(model.parameters(), torch.zeros(())).device
    for side in PROBES:
        x = torch.full((1, channels, side, side), 0.5, device=place, dtype=torch.float32)
        try:
            out = stand_in(model)(x)
        except Exception:  # another size may fit; a model that takes none is told below
            continue
        got = check_output(out, x).shape[1]
        if got != classes:
            raise BadInput(f"classes: {classes} asked for, the model {title} has {got}")
        return
    raise BadInput(
        f"the model {title} takes no {channels}-channel input of side "
        f"{', '.join(map(str, PROBES))}, so its classes cannot be checked"
    )
