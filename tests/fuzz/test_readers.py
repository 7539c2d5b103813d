"""Files of every kind that Undertow reads, damaged in every way: read, or refused in one line."""

from __future__ import annotations

import json
import os
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import undertow as ut
from undertow.attacks import open_trajectory
from undertow.data import load_data
from undertow.errors import UndertowError
from undertow.models import load_model, read_card
from undertow.models.cards import WEIGHTS
from undertow.studies.asked.matching import names_in
from undertow.studies.asked.spec import load_spec

CASES = 60
NASTY = (
    b"", b"\0" * 64, b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"{}", b"[]", b"null", b"\xff\xfe\xfd",
    b"name: [", b"A" * 5000, b"\x93NUMPY\x01\x00", b"<svg/>", b'{"a": 1}', b"- x\n- y\n",
    b"&a [*a, *a]",
)  # fmt: skip


def _npz(place: Path) -> Path:
    path = place / "x.npz"
    np.savez(path, images=np.zeros((4, 1, 16, 16), np.uint8), labels=np.arange(4))
    return path


def _png(place: Path) -> Path:
    Image.effect_noise((16, 16), 80).save(place / "x.png")
    return place / "x.png"


def _jpg(place: Path) -> Path:
    Image.effect_noise((16, 16), 80).save(place / "x.jpg")
    return place / "x.jpg"


def _study(place: Path) -> Path:
    told = {"name": "x", "models": ["digits_cnn"], "attacks": [{"name": "fgsm"}]}
    (place / "x.yaml").write_text(json.dumps(told))
    return place / "x.yaml"


def _weights(place: Path) -> Path:
    (place / "x.safetensors").write_bytes((WEIGHTS / "digits_cnn.safetensors").read_bytes())
    return place / "x.safetensors"


def _checkpoint(place: Path) -> Path:
    torch.save(load_model("digits_cnn").state_dict(), place / "x.pt")
    return place / "x.pt"


def _card(place: Path) -> Path:
    (place / "digits_cnn.json").write_bytes((WEIGHTS / "digits_cnn.json").read_bytes())
    return place / "digits_cnn.json"


def _names(place: Path) -> Path:
    (place / "names.txt").write_text("\n".join("abcdefghij"))
    return place / "names.txt"


def _trajectory(place: Path) -> Path:
    x, y = load_data("digits")[:2]
    model = load_model("digits_cnn")
    ut.craft(ut.attacks.FGSM(epsilon=0.1), model, x, y, stream_to=place / "t")
    return max((place / "t").iterdir(), key=lambda path: path.suffix == ".safetensors")


READERS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], Any]]] = {
    "npz": (_npz, lambda p: load_data(str(p))[:2]),
    "png": (_png, lambda p: load_data(str(p))[:1]),
    "jpg": (_jpg, lambda p: load_data(str(p))[:1]),
    "study": (_study, load_spec),
    "safetensors": (_weights, lambda p: load_model("digits_cnn", weights=p)),
    "checkpoint": (_checkpoint, lambda p: load_model("digits_cnn", weights=p)),
    "card": (_card, lambda p: read_card("digits_cnn", p.parent)),
    "class names": (_names, names_in),
    "trajectory": (_trajectory, lambda p: open_trajectory(p.parent).end),
}


def damaged(content: bytes, chance: random.Random) -> Iterator[bytes]:
    """The content cut, with bits turned, with stretches exchanged, doubled or left out."""
    yield from NASTY
    for _ in range(CASES - len(NASTY)):
        a = chance.randrange(len(content) + 1)
        b = min(len(content), a + chance.choice([1, 3, 40, 4000]))
        kind = chance.randrange(5)
        if kind == 0:
            yield content[:a]
        elif kind == 1 and a < len(content):
            turned = bytearray(content)
            turned[a] ^= 1 << chance.randrange(8)
            yield bytes(turned)
        elif kind == 2:
            yield content[:a] + chance.randbytes(b - a) + content[b:]
        elif kind == 3:
            yield content[:a] + content[b:]
        else:
            yield content[:b] + content[a:]


def fault(read: Callable[[Path], Any], path: Path) -> str:
    """What is wrong with how a file is refused; empty: it was read, or refused in one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
    except UndertowError as error:
        lines = str(error).splitlines()
        return "" if 0 < len(lines) <= 2 else f"{len(lines)} lines: {str(error)[:200]!r}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return ""


@pytest.mark.parametrize("kind", READERS)
def test_a_damaged_file(kind: str, tmp_path: Path) -> None:
    make, read = READERS[kind]
    path = make(tmp_path)
    content = path.read_bytes()
    assert fault(read, path) == ""
    chance = random.Random(kind)
    faults = []
    for number, worse in enumerate(damaged(content, chance)):
        path.write_bytes(worse)
        if said := fault(read, path):
            faults.append((number, worse[:30], said))
    assert faults == []


@pytest.mark.parametrize("kind", READERS)
def test_no_file_at_all(kind: str, tmp_path: Path) -> None:
    """A folder, nothing, a link to nowhere, one to itself, a file that nobody may read."""
    make, read = READERS[kind]
    path = make(tmp_path)
    path.unlink()
    assert fault(read, path) == ""
    path.mkdir()
    assert fault(read, path) == ""
    path.rmdir()
    for target in (tmp_path / "nowhere", path):
        path.symlink_to(target)
        assert fault(read, path) == ""
        path.unlink()
    long = path.with_name("x" * 300 + path.suffix)
    assert fault(read, long) == ""
    os.mkfifo(path)
    assert fault(read, path) == ""
