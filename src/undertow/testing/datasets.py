"""What every data set must do. Run each of :data:`CONTRACT` on every name in the registry."""

from __future__ import annotations

from collections.abc import Callable

import torch

from undertow.data import SPLITS, load_data
from undertow.errors import BadInput, UnknownName

__all__ = ["CONTRACT"]


def gives_floats_in_unit_range(name: str) -> None:
    """Slices give float32 in [0, 1] of (sample, channel, height, width) and int64 labels."""
    data = load_data(name)
    x, y = data[:16]
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64
    assert x.shape == (16, *data.shape)
    assert y.shape == (16,)
    assert 0 <= float(x.min()) < float(x.max()) <= 1
    assert torch.equal(x, data.images[:16].float() / 255)


def indexes_alike(name: str) -> None:
    """A number, a slice, a list, an array and a mask name the same images."""
    data = load_data(name)
    x, y = data[2:5]
    mask = torch.zeros(len(data), dtype=torch.bool)
    mask[2:5] = True
    for which in ([2, 3, 4], torch.tensor([2, 3, 4]), torch.tensor([2, 3, 4]).numpy(), mask):
        again = data[which]
        assert torch.equal(x, again[0])
        assert torch.equal(y, again[1])
    one, label = data[3]
    assert torch.equal(one, x[1])
    assert int(label) == int(y[1])
    assert torch.equal(data[-1][0], data[len(data) - 1][0])


def refuses_what_is_not_there(name: str) -> None:
    """An index outside the set and an unknown split are errors that name what is allowed."""
    data = load_data(name)
    for which in (len(data), [0, len(data)], -len(data) - 1):
        refused = _refusal(lambda w=which: data[w], BadInput)  # type: ignore[misc]
        assert str(len(data) - 1) in refused, f"{which}: {refused}"
    refused = _refusal(lambda: load_data(name, "validation"), UnknownName)
    assert "held_out" in refused, refused


def _refusal(ask: Callable[[], object], kind: type[Exception]) -> str:
    try:
        ask()
    except kind as error:
        return str(error)
    raise AssertionError("accepted")


def splits_are_disjoint(name: str) -> None:
    """``fit`` and ``held_out`` make up ``train``; no image of theirs is in ``test`` by place."""
    parts = {split: load_data(name, split) for split in SPLITS}
    assert len(parts["fit"]) + len(parts["held_out"]) == len(parts["train"])
    assert all(part.split == split for split, part in parts.items())

    def rows(split: str) -> list[bytes]:
        images = parts[split].images.flatten(1).numpy()
        return [row.tobytes() for row in images]

    assert sorted(rows("fit") + rows("held_out")) == sorted(rows("train"))
    assert not set(rows("test")) & set(rows("train"))


def holds_out_every_class_alike(name: str) -> None:
    """Each class has the same share in ``held_out`` as in ``train``, to one image."""
    train, held = (load_data(name, split) for split in ("train", "held_out"))
    share = len(held) / len(train)
    for label in range(len(train.classes)):
        expected = share * int((train.labels == label).sum())
        assert abs(int((held.labels == label).sum()) - expected) <= 1


def is_the_same_twice(name: str) -> None:
    """Loading again gives the same fingerprint; another split another one."""
    assert load_data(name).fingerprint == load_data(name).fingerprint
    held = load_data(name, "held_out")
    assert held.fingerprint == load_data(name, "held_out").fingerprint
    assert held.fingerprint != load_data(name, "fit").fingerprint


CONTRACT: tuple[Callable[[str], None], ...] = (
    gives_floats_in_unit_range,
    indexes_alike,
    refuses_what_is_not_there,
    splits_are_disjoint,
    holds_out_every_class_alike,
    is_the_same_twice,
)
"""Each takes a data set's name and raises ``AssertionError`` where it breaks the contract."""
