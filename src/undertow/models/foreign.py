"""Models of other libraries: timm and Hugging Face transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from undertow.errors import BadInput, Unavailable, UnknownName
from undertow.loading import home, is_folder

__all__ = ["Logits", "hf_model", "timm_model"]

MeanStd = tuple[Sequence[float] | None, Sequence[float] | None]


class Logits(nn.Module):
    """A transformers classifier that gives its logits, not a record that holds them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits (sample, class) of normalised inputs."""
        logits: Tensor = self.network(pixel_values=x).logits
        return logits


def timm_model(
    name: str, classes: int | None, channels: int | None, *, pretrained: bool
) -> tuple[nn.Module, MeanStd]:
    """A model of timm, and mean and std of its configuration.

    Args:
        name: as timm knows it, or a folder with ``config.json`` and weights, as timm saves it.
        classes: its head is made for so many; ``None`` leaves it as it is.
        channels: its stem is made for so many; ``None`` leaves it as it is.
        pretrained: whether timm shall fetch its weights; those of a folder are read.

    Raises:
        Unavailable: if timm or its weights are not here.
        UnknownName: if timm has no such model.
        BadInput: for a folder that holds no model of timm.
    """
    try:
        import timm
    except ImportError:
        raise Unavailable(f"'timm:{name}' needs timm: pip install 'undertow[timm]'") from None
    except Exception as error:  # a torchvision that does not fit torch fails in many ways
        raise Unavailable(f"timm cannot be imported: {_first(error)}") from None
    folder = home(name)
    if is_folder(folder):
        if not (folder / "config.json").is_file():
            raise BadInput(f"'timm:{name}': the folder has no config.json (allowed: a saved model)")
        name, pretrained = f"local-dir:{folder}", True
    elif not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
        raise UnknownName("timm model", name, [*near, "timm.list_models() has them all"])
    wanted = {"num_classes": classes, "in_chans": channels}
    given = {k: v for k, v in wanted.items() if v is not None}
    try:
        model = timm.create_model(name, pretrained=pretrained, **given)
    except Exception as error:
        raise Unavailable(f"'timm:{name}' could not be made: {_first(error)}") from None
    config = getattr(model, "pretrained_cfg", {}) or {}
    mean, std = config.get("mean"), config.get("std")
    if channels is not None and mean is not None and len(mean) != channels:
        mean = std = None
    return model, (mean, std)


def hf_model(name: str) -> tuple[nn.Module, MeanStd]:
    """An image classifier of transformers, and mean and std of its preprocessor.

    Code that comes with a model is not run, and only safetensors are read.

    Args:
        name: a name on the hub, or a folder.

    Raises:
        Unavailable: if transformers or the model are not here.
        BadInput: if it is no image classifier.
    """
    try:
        from transformers import AutoModelForImageClassification
    except ImportError:
        raise Unavailable(f"'hf:{name}' needs transformers: pip install transformers") from None
    try:
        network = AutoModelForImageClassification.from_pretrained(
            name, use_safetensors=True, trust_remote_code=False
        )
    except ValueError as error:
        raise BadInput(f"'hf:{name}' is no image classifier: {_first(error)}") from None
    except Exception as error:
        raise Unavailable(f"'hf:{name}' could not be loaded: {_first(error)}") from None
    return Logits(network), _preprocessor(name)


def _first(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _preprocessor(name: str) -> MeanStd:
    config: dict[str, Any]
    path = Path(name) / "preprocessor_config.json"
    try:
        if not path.is_file():
            from transformers.utils import cached_file

            found = cached_file(name, "preprocessor_config.json")
            if found is None:
                return None, None
            path = Path(found)
        config = json.loads(path.read_text())
    except (OSError, ValueError):
        return None, None
    if not config.get("do_normalize", True):
        count = len(config.get("image_mean") or (0, 0, 0))
        return (0.0,) * count, (1.0,) * count
    return config.get("image_mean"), config.get("image_std")
