"""Classes of one's own images: by name, by number, and by order only with a warning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from undertow.data import ImageSet
from undertow.errors import BadInput
from undertow.studies.asked.matching import matched, names_in

NAMES = ("tench, Tinca tinca", "goldfish", "great white shark", "hen", "crane", "crane, machine")


class Named(nn.Module):
    """Six classes that its configuration names, as Hugging Face's models have it."""

    def __init__(self, names: tuple[str, ...] | None = NAMES, count: int = 6) -> None:
        super().__init__()
        if names is not None:
            self.config = type("Config", (), {"id2label": dict(enumerate(names))})()
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, : self.count]


def images(classes: list[str], labels: list[int]) -> ImageSet:
    pixels = np.zeros((len(labels), 3, 4, 4), np.uint8)
    return ImageSet.from_arrays(pixels, np.array(labels), classes=classes, name="mine")


def test_classes_are_found_by_their_names() -> None:
    found = matched(images(["Great_White-Shark", "tinca tinca"], [0, 1, 1]), "m", Named())
    assert found.labels.tolist() == [2, 0, 0]
    assert found.classes == NAMES


def test_a_name_that_two_classes_have_is_no_name() -> None:
    with pytest.raises(BadInput, match="none of the 6 of 'm'"):
        matched(images(["crane", "hen"], [0, 1]), "m", Named())


def test_numbers_are_those_of_the_models_classes() -> None:
    """Folders 7 and 41 of many are no classes 0 and 1."""
    model = Named(None, 48)
    many = matched(images(["7", "41"], [0, 1, 1, -1]), "m", model)
    assert many.labels.tolist() == [7, 41, 41, -1]
    assert many.classes == tuple(map(str, range(48)))
    named = matched(images(["3", "1"], [0, 1]), "m", Named())
    assert [named.classes[k] for k in named.labels.tolist()] == ["hen", "goldfish"]


def test_order_is_taken_only_with_a_warning() -> None:
    own = images(list("abcdef"), [5, 0])
    with pytest.warns(UserWarning, match="in their order: 'a' for the model's 'tench"):
        assert matched(own, "m", Named()).labels.tolist() == [5, 0]
    plain = matched(own, "m", Named(None))  # nobody knows other names: nothing to warn of
    assert plain.classes == tuple("abcdef")


def test_what_is_none_of_the_models_is_refused() -> None:
    with pytest.raises(BadInput, match=r"the 2 classes of mine \(cat, dog\) are none of the 6"):
        matched(images(["cat", "dog"], [0, 1]), "m", Named())
    with pytest.raises(BadInput, match="none of the 6"):
        matched(images(["3", "6"], [0, 1]), "m", Named())


def test_a_file_of_names(tmp_path: Path) -> None:
    file = tmp_path / "classes.txt"
    file.write_text("\n".join(NAMES) + "\n\n")
    told = names_in(file)
    assert told == NAMES
    assert matched(images(["hen"], [0]), "m", Named(None), told).labels.tolist() == [3]
    with pytest.raises(BadInput, match="6 classes are told, and 'm' has 9 logits"):
        matched(images(["hen"], [0]), "m", Named(None, 9), told)
    file.write_text("hen\nhen\n")
    with pytest.raises(BadInput, match="each once"):
        names_in(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="no UTF-8"):
        names_in(file)
    with pytest.raises(BadInput, match="No such file"):
        names_in(tmp_path / "none.txt")


def test_unlabelled_pictures_take_the_models_names(tmp_path: Path) -> None:
    own = ImageSet.from_arrays(
        np.zeros((2, 3, 4, 4), np.uint8), np.array([-1, -1]), classes=[], name="mine"
    )
    assert matched(own, "m", Named()).classes == ()
    assert matched(own, "m", Named(None), NAMES).classes == NAMES


def test_channels_that_come_last_are_no_224_channels() -> None:
    rng = np.random.default_rng(0)
    last = rng.integers(0, 255, (3, 20, 24, 3), dtype=np.uint8)
    found = ImageSet.from_arrays(last, np.zeros(3, int))
    assert found.shape == (3, 20, 24)
    assert torch.equal(found.stored, torch.from_numpy(last.transpose(0, 3, 1, 2).copy()))
    first = ImageSet.from_arrays(last.transpose(0, 3, 1, 2), np.zeros(3, int))
    assert torch.equal(first.stored, found.stored)
