"""Weights from files, without running anything that a file says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from undertow.errors import BadInput, shown
from undertow.loading import is_file

__all__ = ["load_state", "read_state"]


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file, or of one written by ``torch.save``.

    A ``state_dict``, ``model`` or ``model_state_dict`` inside is looked into.

    Raises:
        BadInput: if the file is missing, damaged, or holds anything but tensors.
    """
    if not is_file(path):
        raise BadInput(f"there is no weights file {shown(str(path))}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(
            f"{path} holds no weights that can be loaded safely: {reason[:160]}"
        ) from None
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not (isinstance(loaded, Mapping) and all(isinstance(v, Tensor) for v in loaded.values())):
        raise BadInput(f"{path} does not hold a state dictionary (names and tensors)")
    return {str(k).removeprefix("module."): v for k, v in loaded.items()}


def load_state(model: nn.Module, path: Path) -> None:
    """Load weights into a model, in place; a trimmed network's file also shrinks it first.

    Raises:
        BadInput: says which keys are missing, unknown or of another shape.
    """
    from undertow.models.channels import fit_to

    state = read_state(path)
    fit_to(model, state)
    ours = model.state_dict()
    missing = sorted(ours.keys() - state.keys())
    unknown = sorted(state.keys() - ours.keys())
    shapes = [
        f"{k} {tuple(state[k].shape)} for {tuple(ours[k].shape)}"
        for k in sorted(ours.keys() & state.keys())
        if ours[k].shape != state[k].shape
    ]
    wrong = [
        f"{len(found)} {word} ({', '.join(found[:3])}{', ...' if len(found) > 3 else ''})"
        for word, found in (("missing", missing), ("unknown", unknown), ("of other shape", shapes))
        if found
    ]
    if wrong:
        raise BadInput(f"the weights in {path} do not fit the model: {'; '.join(wrong)}")
    model.load_state_dict(state)
