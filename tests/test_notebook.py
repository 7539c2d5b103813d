"""Results show themselves in a notebook, and no word of theirs becomes markup."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import undertow
from undertow.notebook import picture, table
from undertow.store import Answers, Table
from undertow.testing.runs import synthetic_run

EVIL = '<img src=x onerror="alert(1)">'


class _Text(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name.startswith("on") for name, _ in attrs)
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_trajectory_shows_one_row_an_input_with_both_pictures() -> None:
    model, (x, y) = undertow.load_model("digits_cnn"), undertow.load_data("digits")[:14]
    made = undertow.craft(undertow.attacks.FGSM(epsilon=0.2), model, x, y)
    shown = made._repr_html_()
    page = _Text(shown)
    assert page.tags.count("tr") == 1 + 12
    assert "and 2 more inputs" in page.text
    pictures = re.findall(r"base64,([^\"]+)", shown)
    assert len(pictures) == 24
    first = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[1]))))
    np.testing.assert_allclose(first[..., 0] / 255, made.end[0, 0], atol=0.51 / 255)
    won = int(made.success.sum())
    assert repr(made) == f"Trajectory(fgsm, {won} of 14 inputs succeeded, 28 iterates)"


def test_a_run_and_its_answers_show_verdicts_and_sentences(tmp_path: Path) -> None:
    run = synthetic_run(tmp_path / "run", samples=4, shard=2, models=("m",), size=8)
    assert run.answers is not None
    shown = _Text(run.answers._repr_html_()).text
    for question in run.answers.questions:
        assert question.question in shown
        for claim in question.claims:
            assert claim.verdict in shown
            assert claim.sentence.split(" (n")[0] in shown
        assert (question.missing or "") in shown
        assert question.question in _Text(question._repr_html_()).text
    assert "q1: supported" in repr(run.answers)
    assert "m" in _Text(run._repr_html_()).text


@pytest.mark.parametrize(
    "shown",
    [
        Answers.of(
            questions=[
                {
                    "id": EVIL,
                    "question": EVIL,
                    "missing": EVIL,
                    "claims": [{"claim": EVIL, "sentence": EVIL, "verdict": "supported"}],
                }
            ]
        ),
        Table(title=EVIL, columns=(EVIL,), rows=((EVIL,),), caption=EVIL),
    ],
    ids=["answers", "table"],
)
def test_words_with_markup_stay_words(shown: Answers | Table) -> None:
    page = _Text(shown._repr_html_())
    assert "img" not in page.tags
    assert page.text.count("alert(1)") >= 3
    if isinstance(shown, Answers):
        assert "img" not in _Text(shown.questions[0]._repr_html_()).tags


def test_a_run_with_markup_in_its_names_runs_nothing(tmp_path: Path) -> None:
    run = synthetic_run(
        tmp_path / "run", samples=2, shard=2, models=(EVIL,), attacks=("benign",), size=8
    )
    page = _Text(run._repr_html_())
    assert "img" not in page.tags
    assert EVIL in page.text


def test_cells_are_words_numbers_and_dashes() -> None:
    page = _Text(table("t", ["a"], [(None,), (float("nan"),), (True,), (1.23456,), (-2.0,)]))
    assert page.text.split("a", 1)[1] == "––yes1.235\N{MINUS SIGN}2"


def test_a_picture_of_many_channels_shows_the_first() -> None:
    grey = np.linspace(0, 1, 5 * 16).reshape(5, 4, 4)
    data = re.findall(r"base64,([^\"]+)", picture(grey))[0]
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    np.testing.assert_allclose(found[..., 1] / 255, grey[0], atol=0.51 / 255)
