from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from undertow.data import ImageSet, load_data
from undertow.errors import BadInput, Unavailable, UnknownName
from undertow.models import (
    MODELS,
    check_model,
    check_output,
    evaluate,
    fingerprint,
    listing,
    load_model,
    multiply_adds,
    parameters,
    read_card,
)
from undertow.models.cards import WEIGHTS, write_card
from undertow.models.evaluation import calibration_error, confusion
from undertow.models.page import page
from undertow.models.shipping import load_zoo, ship


@pytest.fixture
def folder(tmp_path):
    for ending in ("json", "safetensors"):
        shutil.copy(WEIGHTS / f"digits_cnn.{ending}", tmp_path)
    return tmp_path


def test_check_model_agrees():
    checked = check_model("digits_cnn")
    assert checked.differs == ()
    assert checked.evaluation.accuracy == pytest.approx(checked.card.accuracy, abs=0.003)
    assert checked.evaluation.confusion.sum() == checked.card.test_images


def test_check_model_says_what_differs(folder):
    card = read_card("digits_cnn", folder)
    write_card(dataclasses.replace(card, accuracy=0.5, parameters=7), folder)
    differs = check_model("digits_cnn", folder=folder).differs
    assert len(differs) == 2
    assert "7 on the card" in differs[0]
    assert "0.5000 on the card" in differs[1]


def test_a_card_survives_the_disk(folder):
    card = read_card("digits_cnn")
    write_card(card, folder)
    assert read_card("digits_cnn", folder) == card
    json.loads((folder / "digits_cnn.json").read_text())


def test_damaged_weights_are_not_loaded(folder):
    path = folder / "digits_cnn.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadInput, match="damaged"):
        load_zoo("digits_cnn", folder)
    path.unlink()
    with pytest.raises(BadInput, match="missing"):
        load_zoo("digits_cnn", folder)


def test_cards_that_are_not_there(tmp_path):
    with pytest.raises(Unavailable, match="models train digits_cnn"):
        read_card("digits_cnn", tmp_path)
    with pytest.raises(UnknownName, match="digits_cnn"):
        read_card("digits_cn", tmp_path)
    (tmp_path / "digits_cnn.json").write_text("{")
    with pytest.raises(BadInput, match="cannot be read"):
        read_card("digits_cnn", tmp_path)
    (tmp_path / "digits_cnn.json").write_text('{"name": 1}')
    with pytest.raises(BadInput, match="cannot be read"):
        read_card("digits_cnn", tmp_path)


def test_what_is_shipped_is_what_is_loaded(tmp_path):
    torch.manual_seed(0)
    network = MODELS["digits_cnn"].build().eval()
    card = ship("digits_cnn", network, seed=3, out=tmp_path, seconds=1.0, details={"a": 1})
    again = load_zoo("digits_cnn", tmp_path)
    assert fingerprint(again) == card.fingerprint == read_card("digits_cnn", tmp_path).fingerprint
    for a, b in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(a.half().float(), b)
    assert card.seed == 3
    assert card.details == {"a": 1}
    assert card.accuracy < 0.6  # it has learnt nothing


@pytest.mark.slow
def test_the_recipe_gives_the_shipped_weights_again(tmp_path):
    """Trained anew as the card says; bit by bit on the machine that made it, near elsewhere."""
    from undertow.models.train import train

    shipped = read_card("digits_cnn")
    card = train("digits_cnn", out=tmp_path, seed=shipped.seed)
    assert card.recipe == shipped.recipe
    assert card.accuracy == pytest.approx(shipped.accuracy, abs=0.02)
    assert card.made_on["seconds"] > 0
    assert [line["epoch"] for line in card.details["log"]] == list(range(1, 31))


def test_listing_names_all_models(folder):
    rows = {row["name"]: row for row in listing(folder)}
    assert set(rows) == set(MODELS)
    assert rows["digits_cnn"]["parameters"] == read_card("digits_cnn").parameters
    assert rows["good_init"]["accuracy"] is None


def test_the_page_shows_every_card(folder):
    text = page(folder)
    assert "## `digits_cnn`" in text
    assert "## `good_init`" not in text
    card = read_card("digits_cnn")
    assert card.sha256 in text
    assert f"{card.accuracy:.2%}" in text
    row = "| **3** | " + " | ".join(map(str, card.confusion[3])) + " |"
    assert row in text


def test_the_page_tells_of_trimming_and_distillation(folder):
    card = read_card("digits_cnn")
    layer = {"layer": "conv", "maps_before": 9, "maps": 4, "apoz_before": 0.7, "apoz": 0.4}
    trimmed = {
        "parent": "digits_cnn", "layers": [layer], "rounds": [{}, {}],
        "parameters_before": 4 * card.parameters, "multiply_adds_before": 2 * card.multiply_adds,
    }  # fmt: skip
    distilled = {
        "temperature": 30.0, "vanished_share": {"20": 0.5, "30": 0.95},
        "teacher_held_out_accuracy": 0.9,
        "jsma": {"inputs": 50, "rows": [{"model": "m", "jsma": "regular", "success": 0.25}]},
    }  # fmt: skip
    for name, method, details in (
        ("good_init/trimmed", "trim", trimmed),
        ("good_init/distilled", "distill", distilled),
    ):
        write_card(dataclasses.replace(card, name=name, method=method, details=details), folder)
    text = page(folder)
    assert "in 2 rounds: 25.0% of the parameters and 50.0% of the multiply-adds" in text
    assert "| conv | 9 | 4 | 0.7 | 0.4 |" in text
    assert "at temperature 30, served at 1" in text
    assert "20: 50.0%, 30: 95.0%" in text
    assert "on 50 test images" in text
    assert "| m | regular | 0.25 |" in text


def test_the_page_in_the_documentation_is_up_to_date():
    from pathlib import Path

    written = Path(__file__).parents[2] / "docs" / "reference" / "models.md"
    assert written.read_text(encoding="utf-8") == page()


class Fixed(nn.Module):
    """Gives the logits it was made with, image by image (told by the first pixel)."""

    def __init__(self, logits):
        super().__init__()
        self.register_buffer("logits", logits)

    def forward(self, x):
        return self.logits[(x[:, 0, 0, 0] * 255).round().long()]


def _numbered(labels):
    images = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    return ImageSet.from_arrays(images.numpy(), labels, classes=["a", "b", "c"])


def test_evaluation_of_known_logits():
    """Four images: confidences 0.9, 0.6, 0.6, 0.8; right, right, wrong, wrong."""
    p = torch.tensor([[0.9, 0.05, 0.05], [0.2, 0.6, 0.2], [0.6, 0.2, 0.2], [0.1, 0.1, 0.8]])
    found = evaluate(Fixed(p.log()), _numbered([0, 1, 2, 1]))
    assert found.accuracy == 0.5
    assert found.confusion.tolist() == [[1, 0, 0], [0, 1, 1], [1, 0, 0]]
    # bins: {0.9: right}, {0.6, 0.6: one right}, {0.8: wrong}
    assert found.ece == pytest.approx((0.1 + 0.2 + 0.8) / 4, abs=1e-6)
    assert found.count == 4


@given(seed=st.integers(0, 10_000))
@example(seed=3895)  # a confidence just beside the edge of a bin
def test_calibration_error_is_that_of_the_definition(seed):
    """The slow twin of Guo et al. 2017, equation 5."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(40, 4, generator=generator)
    labels = torch.randint(4, (40,), generator=generator)
    probability = logits.softmax(1)
    total = 0.0
    for low in range(15):
        inside = [i for i in range(40) if low / 15 < float(probability[i].max()) <= (low + 1) / 15]
        if inside:
            right = sum(int(probability[i].argmax()) == int(labels[i]) for i in inside)
            sure = sum(float(probability[i].max()) for i in inside)
            total += abs(right - sure) / 40
    assert calibration_error(logits, labels) == pytest.approx(total, abs=1e-5)


def test_confusion_counts_pairs():
    answers, labels = torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 2, 2])
    assert confusion(answers, labels, 3).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]


def test_classes_that_do_not_fit_the_data():
    with pytest.raises(BadInput, match="2 classes"):
        evaluate(Fixed(torch.zeros(3, 2)), _numbered([0, 1, 2]))


@pytest.mark.parametrize(
    ("output", "word"),
    [
        (torch.zeros(3, 5), "5"),
        (torch.zeros(2, 4), r"\(2, 4\)"),
        (torch.zeros(3, 4, 1), r"\(3, 4, 1\)"),
        (torch.zeros(3, 1), r"\(3, 1\)"),
        ({"logits": 1}, "dict"),
        (torch.full((3, 4), float("nan")), "finite"),
    ],
)
def test_outputs_that_are_refused(output, word):
    x = torch.zeros(3, 1, 2, 2)
    with pytest.raises(BadInput, match=word):
        check_output(output, x, 4)


def test_outputs_that_are_accepted():
    x = torch.zeros(3, 1, 2, 2)
    good = torch.zeros(3, 4)
    assert check_output(good, x, 4) is good
    assert check_output(good, x) is good


def test_multiply_adds_of_known_layers():
    conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    x = torch.zeros(4, 3, 8, 8)
    assert multiply_adds(conv, x) == 8 * 16 * 27
    network = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))
    assert multiply_adds(network, x) == 8 * 16 * 27 + 1280
    assert multiply_adds(nn.Conv2d(4, 8, 3, groups=2, padding=1), torch.zeros(1, 4, 5, 5)) == (
        8 * 25 * 9 * 2
    )
    assert parameters(network) == 8 * 27 + 8 + 1290
    assert network.training


def test_the_fingerprint_is_of_the_weights():
    model = load_model("digits_cnn")
    base = fingerprint(model)
    assert fingerprint(model.to(memory_format=torch.channels_last)) == base
    assert fingerprint(MODELS["digits_cnn"].build()) != base
    changed = load_model("digits_cnn")
    changed.blocks[0].norm.running_mean[0] += 1e-3
    assert fingerprint(changed) != base
    assert fingerprint(load_model("digits_cnn").double()) != base


def test_evaluation_is_the_same_in_any_batch(monkeypatch):
    from undertow.models import evaluation

    model, data = load_model("digits_cnn"), load_data("digits")
    whole = evaluate(model, data)
    monkeypatch.setattr(evaluation, "BATCH", 7)
    parts = evaluate(model, data)
    assert torch.equal(whole.confusion, parts.confusion)
    assert whole.ece == pytest.approx(parts.ece, abs=1e-4)
