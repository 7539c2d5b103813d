"""A network of 1,000 classes with real weights and photographs, in the same commands."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import undertow as ut
from undertow.attacks import make
from undertow.attacks.driver.craft import craft
from undertow.data import ImageSet, load_data
from undertow.data.folder import numbers_are_classes
from undertow.measuring.among import LEADING, LOT, drawn_classes
from undertow.models.load import load_model
from undertow.taps import choose

pytest.importorskip("efficientnet_lite_pytorch")
pytest.importorskip("foolbox")
ROOT = Path(__file__).parents[2]
NETWORK = f"{ROOT / 'examples' / 'efficientnet.py'}:lite0"
NORMAL = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        from efficientnet import photographs  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    to = tmp_path_factory.mktemp("imagenet") / "photographs"
    assert photographs(to) == 20
    return to


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return load_model(NETWORK, **NORMAL)


@pytest.fixture(scope="module")
def pictures(folder: Path) -> ImageSet:
    with numbers_are_classes():
        return load_data(str(folder), size=(224, 224))


def test_taps_are_the_blocks(network: nn.Module, pictures: ImageSet) -> None:
    taps = choose(network, pictures[:1][0])
    assert [tap.name for tap in taps] == [
        "_swish", *(f"_blocks.{k}" for k in range(16)), "_swish#2"
    ]  # fmt: skip
    assert taps[-1].shape == (1280, 7, 7)


def test_one_measure_holds_the_classes_that_matter(network: nn.Module, pictures: ImageSet) -> None:
    x = pictures[:2][0]
    found = ut.measure(network, x, references=pictures[2:10][0])
    measured = np.isfinite(found["flow"].values)
    assert measured.any(axis=1).sum(axis=1).max() <= LOT + LEADING
    assert measured[:, :, drawn_classes(1000).numpy()].all()
    for name in ("iip", "oip", "ioc", "drift"):
        assert np.isfinite(found[name].values).all()


@pytest.mark.slow
def test_jsma_comes_to_an_end_in_memory(network: nn.Module, pictures: ImageSet) -> None:
    x = pictures[12:13][0]
    y = network(x).argmax(1)
    found = craft(make("jsma", gamma=0.0006), network, x, y)
    likeliest = network(x)[0].topk(9).indices.tolist()[1:]
    assert int(found.target[0]) in likeliest
    assert bool(found.success[0])
    page = (ROOT / "docs" / "how-to" / "imagenet.md").read_text(encoding="utf-8")
    said = re.findall(r"still (\d+)\s(\d+)\s% after (\d+) steps of JSMA, (\d+) of ", page)
    answer, sure, steps, changed = map(int, said[0])
    x = pictures[5:6][0]
    found = craft(make("jsma", gamma=0.0006), network, x, network(x).argmax(1))
    assert not bool(found.success[0])
    assert (int(found.end_logits.argmax()), int(found.l0[0])) == (answer, changed)
    assert int(found.step.max()) == steps
    assert float(found.end_logits.softmax(1).max()) == pytest.approx(sure / 100, abs=0.02)


@pytest.mark.parametrize("attack", ["igsm", "deepfool", "cw"])
def test_the_page_says_what_attacks_do(network: nn.Module, pictures: ImageSet, attack: str) -> None:
    page = (ROOT / "docs" / "how-to" / "imagenet.md").read_text(encoding="utf-8")
    asked, label, answer, sure, steps = re.findall(
        rf"--index 5 --attack {attack}(.*) …\n(\d+)\s\d+\s% → (\d+)\s(\d+)\s% after (\d+) step",
        page,
    )[0]
    settings = {
        k: float(v) if "." in v else int(v) for k, v in re.findall(r"--set (\w+)=(\S+)", asked)
    }
    x = pictures[5:6][0]
    t = craft(make(attack, **settings), network, x, network(x).argmax(1))
    assert pictures.classes[int(pictures.labels[5])] == label == str(int(network(x).argmax()))
    assert int(t.end_logits.argmax()) == int(answer)
    assert int(t.steps[0]) == int(steps)
    assert float(t.end_logits.softmax(1).max()) == pytest.approx(int(sure) / 100, abs=0.02)


def test_the_page_says_what_the_command_says(folder: Path, tmp_path: Path) -> None:
    told = ut.explain(NETWORK, folder, size=(224, 224), out=tmp_path / "run", **NORMAL)
    page = (ROOT / "docs" / "how-to" / "imagenet.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^(imagenet_\S+\.jpg): (\d+)\s\d+\s%", page, re.M))
    assert len(stated) == 20
    said = {each.input: each.sentence for each in told}
    assert set(said) == set(stated)
    for name, answer in stated.items():
        assert re.match(rf"{answer}\s\d+\s%", said[name]), (name, said[name])
