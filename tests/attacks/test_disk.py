from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from undertow import craft
from undertow.attacks import IGSM, JSMA, Ensemble, open_trajectory
from undertow.errors import BadInput, Foreign
from undertow.types import Attack, Trajectory

Batch = tuple[Tensor, Tensor]


def _same(a: Trajectory, b: Trajectory) -> None:
    for f in fields(a):
        one, other = getattr(a, f.name), getattr(b, f.name)
        if isinstance(one, Tensor):
            assert torch.equal(one, other), f.name
        elif f.name == "notes":
            assert one.keys() == other.keys()
            for name in one:
                assert torch.allclose(one[name], other[name], equal_nan=True), name
        else:
            assert one == other, f.name


@pytest.mark.parametrize(
    "attack", [IGSM(epsilon=0.2), JSMA(gamma=0.4), Ensemble()], ids=lambda a: a.name
)
def test_what_streams_to_disk_is_the_same(
    attack: Attack, model: nn.Module, batch: Batch, tmp_path: Path
) -> None:
    memory = craft(attack, model, *batch, batch_size=30)
    streamed = craft(attack, model, *batch, batch_size=30, stream_to=tmp_path / "t")
    _same(memory, streamed)
    _same(memory, open_trajectory(tmp_path / "t"))
    size = (tmp_path / "t" / "images.bin").stat().st_size
    assert size == memory.images.numel() * 4, "images were kept twice, or not written"


def test_nothing_is_overwritten(model: nn.Module, batch: Batch, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for path in (tmp_path, tmp_path / "mine"):
        with pytest.raises(Foreign, match="exists"):
            craft(IGSM(), model, *batch, stream_to=path)
    with pytest.raises(Foreign, match="cannot be written"):
        craft(IGSM(), model, *batch, stream_to=tmp_path / "mine" / "deeper")
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_failed_attack_leaves_nothing(batch: Batch, tmp_path: Path) -> None:
    class Fails(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            z = images.flatten(1)[:, :10]
            return z if len(z) < 3 else z * torch.nan

    with pytest.raises(BadInput, match="not finite"):
        craft(IGSM(), Fails().eval(), *batch, stream_to=tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_what_is_no_trajectory(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "images.bin").write_bytes(b"0000")
    for name in ("none", "half"):
        with pytest.raises(Foreign, match="no finished trajectory"):
            open_trajectory(tmp_path / name)
