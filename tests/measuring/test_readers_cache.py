from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from undertow import taps
from undertow.data import ImageSet, load_data
from undertow.errors import BadInput
from undertow.information import readers as reading
from undertow.measuring import readers_cache
from undertow.measuring.readers_cache import fingerprint, load_readers, readers_for, save_readers


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(1176, 10)
    ).eval()


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return load_data("digits", "fit")


def get(model: nn.Module, digits: ImageSet, where: Path, **settings: object) -> reading.Readers:
    return readers_for(
        model, taps.choose(model, digits[:1][0]), digits, 300, directory=where, **settings
    )


def test_readers_of_digits_know_the_class(model, digits, tmp_path) -> None:
    found = get(model, digits, tmp_path)
    assert found.by_tap["2"].accuracy > 0.8
    assert found.information["2"] > 2
    torch.testing.assert_close(found.prior, torch.full((10,), 0.1))
    test, y = load_data("digits", "test")[:200]
    maps = taps.read(model, test, taps.choose(model, test)).maps
    bits = reading.class_information(found, maps)[torch.arange(200), 0, y]
    assert float(bits.mean()) == pytest.approx(found.information["2"], abs=0.4)


def test_the_second_time_they_come_from_the_cache(model, digits, tmp_path, monkeypatch) -> None:
    first = get(model, digits, tmp_path)
    (file,) = tmp_path.iterdir()
    monkeypatch.setattr(reading, "fit", None)
    second = get(model, digits, tmp_path)
    for tap, reader in first.by_tap.items():
        again = second.by_tap[tap]
        assert torch.equal(reader.weight, again.weight)
        assert torch.equal(reader.bias, again.bias)
        assert (reader.cross_entropy, reader.accuracy) == (again.cross_entropy, again.accuracy)
        assert (reader.temperature, reader.penalty) == (again.temperature, again.penalty)
    assert torch.equal(first.prior, second.prior)
    monkeypatch.undo()
    file.write_bytes(file.read_bytes()[:-40])  # a damaged cache is not believed
    assert load_readers(file) is None
    third = get(model, digits, tmp_path)
    assert torch.equal(third.by_tap["2"].weight, first.by_tap["2"].weight)
    assert load_readers(file) is not None


def test_what_the_readers_depend_on_is_in_their_name(model, digits) -> None:
    chosen = taps.choose(model, digits[:1][0])
    rows = np.arange(20)
    key = fingerprint(model, chosen, (digits, rows))
    assert key == fingerprint(copy.deepcopy(model), chosen, (digits, rows))
    nudged = copy.deepcopy(model)
    with torch.no_grad():
        nudged[0].weight[0, 0, 0, 0] += 1e-7
    moved = copy.deepcopy(model)
    moved[1].running_mean += 1e-3
    others = [
        fingerprint(nudged, chosen, (digits, rows)),
        fingerprint(moved, chosen, (digits, rows)),
        fingerprint(model, taps.choose(model, digits[:1][0], "0"), (digits, rows)),
        fingerprint(model, chosen, (digits, rows + 1)),
    ]
    assert len({key, *others}) == 5


def test_draws_are_even_over_classes_and_follow_the_seed(digits) -> None:
    rows = readers_cache._draw(digits, 95, 3)
    counts = np.bincount(digits.labels[rows].numpy())
    assert len(set(rows.tolist())) == 95
    assert set(counts.tolist()) <= {9, 10}
    assert rows.tolist() == readers_cache._draw(digits, 95, 3).tolist()
    assert rows.tolist() != readers_cache._draw(digits, 95, 4).tolist()


def test_held_out_inputs_are_not_those_of_the_fit(digits) -> None:
    fit, held = readers_cache.two_sets(digits, None)
    assert (fit.split, held.split) == ("fit", "held_out")
    own = ImageSet.from_arrays(digits.images[:100], digits.labels[:100], name="mine")
    a, b = readers_cache.two_sets(own, None)
    assert len(a) + len(b) == 100
    seen = {image.numpy().tobytes() for image in a.images}
    assert not seen & {image.numpy().tobytes() for image in b.images}


def test_a_cache_that_cannot_be_written_costs_no_results(model, digits, tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    found = get(model, digits, tmp_path / "file")
    assert found.by_tap["2"].accuracy > 0.8


def test_no_code_in_the_cache(model, digits, tmp_path) -> None:
    found = get(model, digits, tmp_path)
    save_readers(found, tmp_path / "plain.safetensors")
    (tmp_path / "odd.safetensors").write_bytes(b"\x80\x04}." * 100)
    assert load_readers(tmp_path / "odd.safetensors") is None
    assert load_readers(tmp_path / "absent.safetensors") is None


def test_bad_input(model, digits, tmp_path) -> None:
    with pytest.raises(BadInput, match="need training inputs, got 0"):
        readers_for(model, taps.choose(model, digits[:1][0]), digits, 0, directory=tmp_path)
