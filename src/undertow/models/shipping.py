"""Weights on disk: written as fp16 with a card, read back only if they are what the card says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from undertow.data import load_data
from undertow.data.cache import new_file
from undertow.errors import BadInput
from undertow.models.cards import WEIGHTS, Card, machine, read_card, stem, write_card
from undertow.models.defended import defence_in
from undertow.models.devices import precision
from undertow.models.evaluation import Evaluation, evaluate, fingerprint, multiply_adds, parameters
from undertow.models.registry import MODELS
from undertow.models.robustness import robustness
from undertow.progress import SILENT, Progress

BEHIND = "network."
"""Names of the weights of what a defence stands before."""

__all__ = ["load_zoo", "ship", "to_half", "write_weights"]


def to_half(network: nn.Module) -> dict[str, Tensor]:
    """Parameters as float16; buffers (normalisation's statistics) keep their type.

    What stands behind a defence has weights of its own, which are left out.
    """
    names = {name for name, _ in network.named_parameters()}
    behind = BEHIND if defence_in(network) is not None else None
    return {
        name: (value.detach().half() if name in names else value.detach()).cpu().contiguous()
        for name, value in network.state_dict().items()
        if behind is None or not name.startswith(behind)
    }


def write_weights(
    state: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> Path:
    """Write a safetensors file, atomically."""
    with new_file(path) as temporary:
        temporary.write_bytes(save(dict(state), dict(metadata or {})))
    return path


def ship(
    name: str,
    network: nn.Module,
    *,
    seed: int,
    out: Path,
    seconds: float,
    arguments: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
    device: str = "cpu",
    data_dir: str | Path | None = None,
    progress: Progress = SILENT,
) -> Card:
    """Write a trained network's weights and its card.

    Everything in the card is measured on the weights as shipped, read back from fp16. This is
    the one place where a training meets the test set.

    Args:
        name: a name in :data:`undertow.models.registry.MODELS`.
        network: trained.
        seed: of its training.
        out: folder for both files.
        seconds: the training took.
        arguments: the architecture's, where they are not its defaults.
        details: more for the card.
        device: on which it was trained.
        data_dir: where the data may lie.
        progress: told about both evaluations.
    """
    model = MODELS[name]
    path = write_weights(to_half(network), out / f"{stem(name)}.safetensors")
    served = _build(name, dict(arguments or {}), path)
    held_out = load_data(model.data, "held_out", data_dir=data_dir, progress=progress)
    test = load_data(model.data, "test", data_dir=data_dir, progress=progress)
    held = evaluate(served, held_out, progress=progress, title=f"{name}, held-out images")
    final = evaluate(served, test, progress=progress, title=f"{name}, test images")
    made_on = machine(str(precision(torch.device(device))).removeprefix("torch."))
    card = Card(
        name=name,
        summary=MODELS.entry(name).summary,
        method=model.method,
        data=model.data,
        classes=test.classes,
        shape=test.shape,
        arguments=dict(arguments or {}),
        recipe=model.settings,
        seed=seed,
        accuracy=final.accuracy,
        held_out_accuracy=held.accuracy,
        confusion=tuple(tuple(row) for row in final.confusion.tolist()),
        ece=final.ece,
        test_images=final.count,
        parameters=parameters(served),
        multiply_adds=multiply_adds(served, test[:1][0]),
        bytes=path.stat().st_size,
        sha256=_sha256(path),
        fingerprint=fingerprint(served),
        made_on={**made_on, "seconds": round(seconds, 1)},
        details={**(details or {}), **_rejections(served, final)},
        robust=robustness(served, test, progress=progress, title=name),
    )
    write_card(card, out)
    return card


def _rejections(served: nn.Module, final: Evaluation) -> dict[str, float]:
    return {} if defence_in(served) is None else {"test_rejected": final.rejected}


def load_zoo(name: str, folder: Path = WEIGHTS) -> nn.Module:
    """A network of the zoo with its weights, in evaluation mode, frozen, float32.

    Raises:
        UnknownName: if there is no such model.
        Unavailable: if it has no weights yet.
        BadInput: if the weights are not those of the card.
    """
    card = read_card(name, folder)
    path = folder / f"{card.stem}.safetensors"
    if not path.is_file() or _sha256(path) != card.sha256:
        raise BadInput(
            f"the weights {path} are missing or damaged (SHA-256 is not the card's); "
            f"reinstall, or make them: undertow models {card.method} {name}"
        )
    return _build(name, dict(card.arguments), path)


@contextmanager
def _single() -> Iterator[None]:
    """What is made inside is float32 unless it says otherwise, whatever torch's default is."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _build(name: str, arguments: dict[str, Any], path: Path) -> nn.Module:
    with torch.random.fork_rng(devices=[]), _single():
        network = MODELS[name].build(**arguments)
    state, parent = load_file(path), MODELS[name].parent
    if (defended := defence_in(network)) is not None and parent is not None:
        defended.network = load_zoo(parent)
        state |= {f"{BEHIND}{k}": v for k, v in defended.network.state_dict().items()}
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
