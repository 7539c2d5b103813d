from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from undertow.data import load_data
from undertow.errors import BadInput, Foreign
from undertow.models import devices, fitting
from undertow.models.fitting import Batches, fit
from undertow.models.recipe import Recipe
from undertow.models.registry import fresh

SMALL = Recipe(epochs=3, batch=64, rate=0.1, shift=1, flip=False, average=0.9)


def _data():
    return load_data("digits", "fit").subset(slice(0, 256))


def _fit(recipe=SMALL, *, seed=0, **options):
    network = fresh("digits_cnn", _data(), 0)
    log = fit(network, _data(), recipe, seed=seed, **options)
    return network, log


def _same(a, b):
    return all(
        torch.equal(x, y)
        for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_the_same_seed_gives_the_same_weights():
    assert _same(_fit()[0], _fit()[0])
    assert not _same(_fit()[0], _fit(seed=1)[0])


def test_it_learns_and_says_so():
    held = load_data("digits", "held_out")
    recipe = dataclasses.replace(SMALL, epochs=12)
    network, log = _fit(recipe, held_out=held)
    assert [line["epoch"] for line in log] == list(range(1, 13))
    assert [line["epoch"] for line in log if "held_out" in line] == [4, 8, 12]
    assert log[-1]["loss"] < log[0]["loss"] / 1.5
    assert log[-1]["held_out"] > 0.8
    assert not network.training


class Stop(Exception):
    pass


def stopping(after):
    """Progress that ends a training after so many epochs."""

    @contextmanager
    def progress(title, total, unit=""):
        left = [after]

        def advance(amount=1, note=""):
            left[0] -= amount
            if 0 < amount < 1 and left[0] < 0:
                raise Stop

        yield advance

    return progress


def test_a_stopped_training_ends_in_the_same_weights(tmp_path):
    """Stopped after each epoch, and once in the middle of one: nothing changes."""
    undisturbed, log = _fit()

    for after in (0.6, 1.1, 2.3):
        with pytest.raises(Stop):
            _fit(checkpoint=tmp_path / "c.pt", progress=stopping(after))
    resumed, again = _fit(checkpoint=tmp_path / "c.pt")
    assert _same(undisturbed, resumed)
    assert [line["loss"] for line in again] == [line["loss"] for line in log]
    finished, _ = _fit(checkpoint=tmp_path / "c.pt", progress=stopping(-1))
    assert _same(undisturbed, finished)  # nothing was left to do
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


def test_training_goes_on_in_the_precision_in_which_it_began(tmp_path, monkeypatch):
    plain, _ = _fit()
    monkeypatch.setattr(fitting, "precision", lambda device: torch.bfloat16)
    undisturbed, _ = _fit()
    assert not _same(plain, undisturbed)
    with pytest.raises(Stop):
        _fit(checkpoint=tmp_path / "c.pt", progress=stopping(1.1))
    monkeypatch.setattr(fitting, "precision", lambda device: torch.float32)
    assert _same(undisturbed, _fit(checkpoint=tmp_path / "c.pt")[0])


@pytest.mark.parametrize("gain", [0.7, 1.1, 2.0])
def test_bfloat16_is_for_processors_on_which_it_is_quicker(gain, monkeypatch):
    monkeypatch.setattr(devices, "bf16_gain", lambda kind: gain)
    monkeypatch.setattr(devices, "native", lambda device: torch.bfloat16)
    wanted = torch.bfloat16 if gain > 1.2 else torch.float32
    assert devices.precision(torch.device("cpu")) == wanted


_SCRIPT = """
import sys
from pathlib import Path
from undertow.models.train import train
train("digits_cnn", out=Path(sys.argv[1]), seed=5)
"""


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path):
    """A process that is killed again and again ends in the weights of an undisturbed one."""
    from undertow.models.train import train

    whole = train("digits_cnn", out=tmp_path / "whole", seed=5)
    out = tmp_path / "killed"
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    kills = 0
    while not (out / "digits_cnn.json").exists():
        process = subprocess.Popen([sys.executable, "-c", _SCRIPT, str(out)], env=environment)
        try:
            process.wait(timeout=6 + 0.7 * kills)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        assert kills < 40
    assert kills > 0
    again = train("digits_cnn", out=out, seed=5)
    assert again.fingerprint == whole.fingerprint
    assert again.sha256 == whole.sha256


def test_a_checkpoint_of_another_training_is_left_alone(tmp_path):
    path = tmp_path / "c.pt"
    _fit(checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(Foreign, match="rate"):
        _fit(dataclasses.replace(SMALL, rate=0.2), checkpoint=path)
    with pytest.raises(Foreign, match="seed"):
        _fit(seed=1, checkpoint=path)
    assert path.read_bytes() == before
    path.write_bytes(b"something else")
    with pytest.raises(Foreign, match="not a checkpoint"):
        _fit(checkpoint=path)
    assert path.read_bytes() == b"something else"


def test_soft_labels_of_one_class_are_labels():
    """Probabilities that are all on the label teach what the label teaches."""
    recipe = dataclasses.replace(SMALL, smoothing=0.0, epochs=1)
    soft = nn.functional.one_hot(_data().labels, 10).float()
    hard, _ = _fit(recipe)
    taught, _ = _fit(recipe, soft=soft)
    for a, b in zip(hard.parameters(), taught.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_too_few_images():
    with pytest.raises(BadInput, match="fewer than one batch"):
        fit(fresh("digits_cnn", _data(), 0), _data().subset(slice(0, 10)), SMALL, seed=0)


def test_bad_recipes():
    with pytest.raises(BadInput, match="epochs=0"):
        Recipe(epochs=0)


@given(steps=st.integers(2, 500), rise=st.floats(0.01, 0.9))
def test_one_cycle(steps, rise):
    """The rate rises to its peak, falls after it, never above it, never to zero or below."""
    recipe = Recipe(epochs=1, rate=0.4, rise=rise)
    rates = [recipe.rate_at(step, steps) for step in range(steps)]
    top = rates.index(max(rates))
    assert all(a < b for a, b in pairwise(rates[: top + 1]))
    assert all(a > b for a, b in pairwise(rates[top:]))
    assert min(rates) > 0
    assert max(rates) <= 0.4 + 1e-12
    assert rates[-1] < 0.4 / (steps * (1 - rise)) * 1.6 + 1e-9 or steps < 6


def test_batches_show_every_image_once_shifted_and_mirrored():
    """Each image of a batch is a window of its reflected original, perhaps mirrored."""
    data = _data()
    recipe = dataclasses.replace(SMALL, shift=2, flip=True)
    batches = Batches(data.images, recipe, 0, torch.device("cpu"))
    seen, shifted, mirrored = [], 0, 0
    for x, rows in batches.epoch(0):
        assert x.is_contiguous(memory_format=torch.channels_last)
        seen += rows.tolist()
        for image, row in list(zip(x, rows, strict=True))[:8]:
            original = data.images[row].float()[None] / 255
            padded = nn.functional.pad(original, (2, 2, 2, 2), mode="reflect")[0]
            windows = padded.unfold(1, 16, 1).unfold(2, 16, 1)[0]
            plain = (windows == image[0]).all(-1).all(-1)
            turned = (windows == image[0].flip(-1)).all(-1).all(-1)
            assert plain.any() or turned.any()
            shifted += not (plain[2, 2] or turned[2, 2])
            mirrored += bool(turned.any() and not plain.any())
    assert sorted(seen) == list(range(256))
    assert shifted > 16
    assert mirrored > 4


def test_epochs_differ_and_repeat():
    batches = Batches(_data().images, SMALL, 0, torch.device("cpu"))
    first = torch.cat([rows for _, rows in batches.epoch(0)])
    assert torch.equal(first, torch.cat([rows for _, rows in batches.epoch(0)]))
    assert not torch.equal(first, torch.cat([rows for _, rows in batches.epoch(1)]))


def test_averaged_weights_are_the_running_mean():
    """Early the memory is short, (step + 1) / (step + 10); later it is the recipe's."""
    from undertow.models.fitting import _State

    network = fresh("digits_cnn", _data(), 0)
    state = _State(network, dataclasses.replace(SMALL, average=0.75), torch.float32)
    with torch.no_grad():
        network.head.bias.fill_(1.0)
        network.blocks[0].norm.running_mean.fill_(2.0)
    expected = float(state.averaged.head.bias[0])
    for step, kept in ((0, 1 / 10), (9, 10 / 19), (99, 0.75)):
        expected = kept * expected + (1 - kept) * 1.0
        state.average(step)
        assert float(state.averaged.head.bias[0]) == pytest.approx(expected, abs=1e-6)
    assert 0 < float(state.averaged.blocks[0].norm.running_mean[0]) < 2
    assert network.head.bias.detach().tolist() == [1.0] * 10


def test_time_is_measured():
    start = time.perf_counter()
    _, log = _fit()
    assert 0 < sum(line["seconds"] for line in log) < time.perf_counter() - start


def test_a_folder_that_cannot_be_written_is_noticed_first(tmp_path):
    from undertow.errors import Unavailable
    from undertow.models.train import train

    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot write"):
        train("digits_cnn", out=tmp_path / "file" / "out")


def test_checkpoint_folder_is_made(tmp_path):
    _fit(checkpoint=tmp_path / "deep" / "er" / "c.pt")
    assert Path(tmp_path / "deep" / "er" / "c.pt").is_file()
