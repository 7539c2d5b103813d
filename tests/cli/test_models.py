"""Networks of one's own are trimmed and distilled; what was interrupted goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from undertow.data import load_data
from undertow.models import evaluate, load_model, parameters
from undertow.models.fitting import fit
from undertow.models.load import untrained
from undertow.models.recipe import Recipe

QUICK = Recipe(epochs=4, batch=64, rate=0.03, shift=1, flip=False, average=0.95)
NET = """
from torch import nn

def make():
    return nn.Sequential(
        nn.BatchNorm2d(1), nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4),
        nn.Conv2d(12, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10))

def small():
    return nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A factory of one's own, and weights trained for a moment."""
    folder = tmp_path_factory.mktemp("net")
    (folder / "net.py").write_text(NET)
    spec = f"{folder / 'net.py'}:make"
    network = untrained(spec, seed=0)
    fit(network, load_data("digits", "fit"), QUICK, seed=0)
    state = {k: v.contiguous() for k, v in network.state_dict().items()}
    save_file(state, folder / "trained.safetensors")
    return spec, folder / "trained.safetensors"


def test_a_network_of_your_own_is_trimmed_and_asking_again_repeats_nothing(
    undertow, net, tmp_path: Path
) -> None:
    spec, weights = net
    asked = (
        "models", "trim", spec, "--weights", weights, "--data", "digits", "--epochs", 3,
        "--keep", 0.6, "--out", tmp_path, "-q",
    )  # fmt: skip
    said = undertow(*asked)
    assert said.code == 0, said.err
    made = Path(said.out.strip().splitlines()[-1])
    small = load_model(spec, weights=made, classes=10)
    assert parameters(small) <= 0.6 * parameters(load_model(spec))
    told = json.loads((tmp_path / "trimmed.json").read_text())
    assert evaluate(small, load_data("digits")).accuracy == told["accuracy"]
    assert f"{told['parameters']}" in said.out
    first, stamps = made.read_bytes(), {p: p.stat().st_mtime_ns for p in tmp_path.glob("*.pt")}
    assert stamps
    assert undertow(*asked).code == 0
    assert made.read_bytes() == first
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("*.pt")} == stamps
    other = undertow(*(0.5 if word == 0.6 else word for word in asked))
    assert other.code == 2
    assert "differs in settings" in other.err


def test_a_network_of_your_own_is_distilled(undertow, net, tmp_path: Path) -> None:
    said = undertow(
        "models", "distill", net[0], "--data", "digits", "--epochs", 1, "--out", tmp_path, "-q"
    )
    assert said.code == 0, said.err
    served = load_model(net[0], weights=tmp_path / "distilled.safetensors")
    told = json.loads((tmp_path / "distilled.json").read_text())
    x = load_data("digits")[:50][0]
    assert evaluate(served, load_data("digits")).accuracy == told["accuracy"]
    assert told["details"]["temperature"] >= 20
    assert float(served(x).std()) > 1, "served at temperature 1, logits are large"


def test_a_network_of_your_own_is_hardened_and_asking_again_repeats_nothing(
    undertow, net, tmp_path: Path
) -> None:
    asked = ("models", "harden", net[0], "--data", "digits", "--epochs", 2, "--epsilon", "26/255",
             "--steps", 2, "--out", tmp_path, "-q")  # fmt: skip
    said = undertow(*asked)
    assert said.code == 0, said.err
    assert said.out.strip().endswith("robust.safetensors")
    served = load_model(net[0], weights=tmp_path / "robust.safetensors")
    told = json.loads((tmp_path / "robust.json").read_text())
    assert evaluate(served, load_data("digits")).accuracy == told["accuracy"]
    assert told["details"]["hardening"]["epsilon"] == 26 / 255
    assert [line["steps"] for line in told["details"]["log"]] == [2, 2]
    before = (tmp_path / "robust.pt").stat().st_mtime_ns
    assert undertow(*asked).code == 0
    assert (tmp_path / "robust.pt").stat().st_mtime_ns == before
    other = undertow(*("27/255" if word == "26/255" else word for word in asked))
    assert other.code == 2
    assert "differs in hardening" in other.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("trim", "{make}"), "needs --data"),
        (("distill", "{make}"), "needs --data"),
        (("trim", "good_init/trimmed", "--epochs", 3), "not for 'good_init/trimmed'"),
        (("distill", "good_init/distilled", "--epochs", 3), "not for 'good_init/distilled'"),
        (("trim", "digits_cnn"), "is made by: undertow models train"),
        (("trim", "nope"), "unknown model 'nope'"),
        (("trim", "{make}", "--data", "digits"), "which is chance"),
        (("trim", "{small}", "--data", "{cifar}"), "does not take images of 3 × 16 × 16"),
        (("distill", "{small}", "--data", "{cifar}"), "does not take images of 3 × 16 × 16"),
        (("harden", "{make}"), "needs --data"),
        (("harden", "good_init/robust", "--steps", 3), "not for 'good_init/robust'"),
        (("harden", "{small}", "--data", "{cifar}"), "does not take images of 3 × 16 × 16"),
        (("harden", "{make}", "--data", "digits", "--epsilon", "8"), "below 1, for pixels"),
        (("harden", "{make}", "--data", "digits", "--epsilon", "wide"), "such as 8/255"),
        (("distill", "nix.py:make", "--data", "digits"), "there is no file nix.py"),
        (("trim", "{make}", "--data", "nowhere"), "unknown data set 'nowhere'"),
        (("trim", "{make}", "--data", "digits", "--weights", "nix.pt"), "nix.pt"),
        (("trim", "{make}", "--data", "digits", "--keep", 3), "--keep"),
        (("train", "nope"), "unknown model 'nope'"),
    ],
)
def test_what_cannot_be_made_is_said_in_a_line(
    undertow, net, tmp_path: Path, arguments: tuple[object, ...], words: str
) -> None:
    import numpy as np

    cifar = tmp_path / "own.npz"
    some = {"images": np.zeros((60, 3, 16, 16), np.uint8), "labels": np.arange(60) % 10}
    np.savez(cifar, **some)
    small = net[0].replace(":make", ":small")
    known = {"make": net[0], "small": small, "cifar": cifar}
    filled = [a.format(**known) if isinstance(a, str) else a for a in arguments]
    said = undertow("models", *filled, "--out", tmp_path / "out", "-q")
    assert said.code == 2, said.err
    assert words in said.err
    assert len(said.err.strip().splitlines()) <= 2


BRIEF = """
from undertow.cli import main
from undertow.models import MODELS
object.__setattr__(MODELS["digits_cnn"].recipe, "epochs", 8)
main()
"""
"""The command, with a recipe of 8 epochs in place of 30."""


def _train(out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BRIEF, "models", "train", "digits_cnn", "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_an_interrupted_training_keeps_its_epochs_and_goes_on(tmp_path: Path) -> None:
    training, checkpoint = _train(tmp_path), tmp_path / "checkpoint.pt"
    while not checkpoint.is_file() and training.poll() is None:
        time.sleep(0.02)
    training.send_signal(signal.SIGINT)
    _, err = training.communicate(timeout=120)
    assert training.returncode == 130, err
    assert "interrupted; what was finished is kept" in err
    assert "Traceback" not in err
    assert not list(tmp_path.glob("*.safetensors"))
    had = torch.load(checkpoint, weights_only=True)["epoch"]
    assert had >= 1
    again = _train(tmp_path)
    out, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert "digits_cnn" in out
    card = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert card["accuracy"] > 0.97
    epochs = [line["epoch"] for line in card["details"]["log"]]
    assert epochs == list(range(1, len(epochs) + 1))
    assert len(epochs) > had
    weights = load_model("digits_cnn", weights=next(tmp_path.glob("*.safetensors")))
    assert evaluate(weights, load_data("digits")).accuracy == pytest.approx(card["accuracy"])
