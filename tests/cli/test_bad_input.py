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

DIGITS = ("--model", "digits_cnn", "--data", "digits")
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
        (["trace", "--epsilon", "8/255"], "--set epsilon=VALUE"),
        (["trace", "--set", "epsilon"], "give name=value"),
        (["trace", "--set", "theta=1", "--set", "theta=2"], "stands twice"),
        (["trace", "--set", "thta=1"], "did you mean 'theta'"),
        (["trace", "--set", "theta=7", *DIGITS], "theta is 7"),
        (["trace", "--target", "nine", *DIGITS], "unknown target 'nine'"),
        (["trace", "--mean", "0.5,x", "--std", "1,1", *DIGITS], "--mean 0.5,x"),
        (["trace", "--mean", "0.5", "--std", "1", *DIGITS], "normalisation inside"),
        (["explain"], "Missing argument"),
        (["explain", "no/such.png"], "there is no picture"),
        (["explain", "digits:5000", *DIGITS[:2]], "there is no input 5000"),
        (["explain", "digits:5", *DIGITS[:2], "--label", "ten"], "unknown class 'ten'"),
        (["explain", "digits:5", *DIGITS[:2], "--target", "3"], "belong to an attack"),
        (["explain", "digits:5", "--model", "good_init"], "it takes 3 channels, the images have 1"),
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
def test_a_model_of_the_wrong_shape_is_refused(
    undertow, tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
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


def test_a_file_without_a_factory_lists_those_it_has(undertow, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def small():\n    return nn.Sequential(nn.Flatten(), nn.Linear(256, 10))\n"
        "class Large(nn.Module):\n    pass\n_hidden = 3\n"
    )
    for name, words in (("net.py", "needs a factory"), ("net.py:smal", "did you mean 'small'")):
        said = undertow("explain", "digits:1", "--model", tmp_path / name)
        assert said.code == 2
        assert words in said.err
        assert "Large, small" in said.err or "small, Large" in said.err
        assert _lines(said.err) <= 2


def test_a_model_that_guesses_is_announced(undertow, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def guesses():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 4, 3), nn.ReLU(),\n"
        "        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))\n"
    )
    with pytest.warns(UserWarning, match="inputs of digits right, where one answer for all gets"):
        said = undertow(
            "explain", "digits:1", "--model", f"{tmp_path}/net.py:guesses", "-q", "--out",
            tmp_path / "run",
        )  # fmt: skip
    assert said.code == 0, said.err
