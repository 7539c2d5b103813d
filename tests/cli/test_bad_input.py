"""What a user gets wrong: one clear message, exit code 2, nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from undertow.store import open_run

SMALL = """
name: small
models: [digits_cnn]
data: {name: digits, inputs: 4}
attacks: [{name: fgsm}]
readers: 0
exemplars: 0
questions: []
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def _lines(text: str) -> int:
    return len([line for line in text.splitlines() if line.strip()])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["study", "quik"], "did you mean 'quick'"),
        (["study"], "a preset"),
        (["trace", "--model", "god_init"], "did you mean 'good_init'"),
        (["trace", "--attack", "jmsa"], "did you mean 'jsma'"),
        (["trace", "--attack", "noise"], "control"),
        (["trace", "--data", "cifar", "--model", "digits_cnn"], "did you mean 'cifar10'"),
        (["measure", "--data", "didgits", "--model", "digits_cnn"], "did you mean 'digits'"),
        (["measure", "--model", "no/such/file.py:net", "--data", "digits"], "no/such/file.py"),
        (["taps", "digits_cnn", "--tap", "layer9.*"], "layer9"),
        (["data", "fetch", "cifar100"], "did you mean 'cifar10'"),
        (["models", "check"], "--all"),
        (["models", "check", "good"], "did you mean 'good_init'"),
        (["models", "trim", "good_init"], "undertow models train good_init"),
        (["report", "nowhere"], "there is no run at"),
        (["export", "nowhere"], "there is no run at"),
        (["calibrate", "--part", "everything"], "allowed: aa"),
        (["calibrate", "--part", "truth", "--estimator", "ksgg"], "did you mean 'ksg'"),
        (["frobnicate"], "frobnicate"),
        (["study", "quick", "--inputs", "0"], "greater than or equal to 1"),
    ],
)
def test_each_mistake_gets_one_clear_message(undertow, arguments, words) -> None:
    said = undertow(*arguments)
    assert said.code == 2
    assert words in said.err
    assert "Traceback" not in said.err
    if said.err.startswith("undertow:"):
        assert _lines(said.err) <= 3


@pytest.mark.filterwarnings("ignore:.*shows no normalisation")
def test_a_model_of_the_wrong_shape_is_refused(undertow, tmp_path: Path, small: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def seven(): return nn.Sequential(nn.Flatten(), nn.Linear(256, 7))\n"
        "def image(): return nn.Conv2d(1, 3, 3)\n"
        "def colour(): return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(784, 10))\n"
    )
    for factory, words in (
        ("seven", "(2, 7)"),
        ("image", "(2, 3, 14, 14)"),
        ("colour", "1 x 16 x 16"),
    ):
        small.write_text(SMALL.replace("digits_cnn", f"{tmp_path}/net.py:{factory}"))
        said = undertow("study", small, "--out", tmp_path / factory, "-q")
        assert said.code == 2, said
        assert words in said.err
        assert _lines(said.err) <= 2
        assert not (tmp_path / factory).exists()


def test_images_outside_the_box_are_refused(undertow, tmp_path: Path, small: Path) -> None:
    import numpy as np

    images = np.random.default_rng(0).uniform(0, 255, (20, 1, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "raw.npz", images=images, labels=np.arange(20) % 10)
    small.write_text(SMALL.replace("name: digits", f"name: {tmp_path}/raw.npz"))
    said = undertow("study", small, "--out", tmp_path / "run", "-q")
    assert said.code == 2
    assert "[0, 1]" in said.err


def test_a_foreign_directory_is_refused_and_kept(undertow, tmp_path: Path, small: Path) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter1.tex").write_text("years of work")
    said = undertow("study", small, "--out", out, "-q")
    assert said.code == 2
    assert "thesis" in said.err
    assert (out / "chapter1.tex").read_text() == "years of work"
    assert len(list(out.iterdir())) == 1


def test_an_unwritable_directory_is_named(undertow, tmp_path: Path, small: Path) -> None:
    (tmp_path / "file").write_text("")
    said = undertow("study", small, "--out", tmp_path / "file" / "run", "-q")
    assert said.code == 2
    assert "file" in said.err
    assert _lines(said.err) <= 2


def test_another_study_in_the_same_place_shows_the_difference(
    undertow, tmp_path: Path, small: Path
) -> None:
    out = tmp_path / "run"
    assert undertow("study", small, "--out", out, "-q").code == 0
    said = undertow("study", small, "--out", out, "-q", "--seed", 5)
    assert said.code == 2
    assert "seed: 0 → 5" in said.err
    assert open_run(out).missing == ()


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(
    tmp_path: Path, small: Path
) -> None:
    small.write_text(SMALL.replace("inputs: 4", "inputs: 12") + "shard: 1\n")
    out = tmp_path / "run"
    command = [sys.executable, "-m", "undertow", "study", str(small), "--out", str(out)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    ledger = out / "ledger.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if ledger.exists() and ledger.read_text().count('"done"') >= 3:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted" in err
    done = ledger.read_text().count('"done"')
    assert 3 <= done < 5 * 12
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert again.stdout.strip().endswith("report.html")
    assert ledger.read_text().count('"done"') == 5 * 12, "benign, fgsm and its three controls"
