from __future__ import annotations

import pytest
import torch

from undertow.data import DATASETS, load_data
from undertow.errors import Unavailable
from undertow.testing.datasets import CONTRACT


def _here(name: str) -> bool:
    if name == "digits":
        return True
    from undertow.data.cache import cache_dir

    return all((cache_dir() / name / f"{part}.bin").is_file() for part in ("train", "test"))


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", [*DATASETS])
def test_contract(name, check):
    if not _here(name):
        pytest.skip(f"{name} is not in the cache")
    check(name)


def test_registry_describes_each_set():
    assert {"cifar10", "digits"} <= set(DATASETS)
    for entry in DATASETS.entries():
        assert entry.summary
        assert callable(DATASETS[entry.name])


def test_digits_need_no_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("UNDERTOW_CACHE", str(tmp_path / "none"))
    assert len(load_data("digits", "train")) + len(load_data("digits", "test")) == 1797
    assert not (tmp_path / "none").exists()


def test_digits_are_those_of_scikit_learn():
    """The slow twin: torch's interpolation, half a pixel value apart at most."""
    from sklearn.datasets import load_digits

    small = torch.from_numpy(load_digits().images)[:, None] / 16
    big = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear") * 255
    parts = [load_data("digits", split) for split in ("train", "test")]
    ours = torch.cat([p.images for p in parts]).flatten(1).double()
    theirs = big.flatten(1)
    nearest = torch.cdist(ours, theirs).argmin(1)
    assert sorted(nearest.tolist()) == list(range(1797))
    assert float((ours - theirs[nearest]).abs().max()) <= 0.5 + 1e-6
    labels = torch.cat([p.labels for p in parts])
    assert labels.tolist() == load_digits().target[nearest.numpy()].tolist()


def test_no_route_says_what_to_do(monkeypatch, tmp_path):
    from undertow.data import cifar10

    def fails(progress):
        raise Unavailable("route: not reached")

    monkeypatch.setenv("UNDERTOW_CACHE", str(tmp_path))
    monkeypatch.delenv("UNDERTOW_DATA", raising=False)
    monkeypatch.setattr(cifar10, "ROUTES", (fails, fails))
    with pytest.raises(Unavailable) as caught:
        load_data("cifar10")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert str(tmp_path) in lines[0]
    assert "route: not reached" in lines[1]
    assert "--data-dir" in lines[2]
    assert "--data digits" in lines[2]
