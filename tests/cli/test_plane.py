"""``undertow plane``: the command prints what the function gives, and keeps its warnings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from undertow.data import load_data
from undertow.information.plane import CAVEATS
from undertow.measuring.population import information_plane
from undertow.models import load_model

ASKED = ("plane", "--model", "digits_cnn", "--data", "digits", "--inputs", 60, "-q")


@pytest.mark.parametrize("method", ["kernel", "binned"])
def test_the_numbers_are_those_of_the_function(undertow, tmp_path: Path, method: str) -> None:
    out = tmp_path / "plane.svg"
    said = undertow(*ASKED, "--method", method, "--attack", "fgsm", "--out", out, "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert told["caveats"] == list(CAVEATS)
    x, y = load_data("digits")[:60]
    wanted = information_plane(load_model("digits_cnn"), x, y, method=method)
    rows = [row for row in told["layers"] if row["cell"] == "benign"]
    assert [row["tap"] for row in rows] == wanted["tap"].values.tolist()
    assert {row["cell"] for row in told["layers"]} == {"benign", "fgsm"}
    if method == "kernel":  # binned: the bins span all cells
        for row, found in zip(rows, wanted["x_upper"].values[0], strict=True):
            assert row["x_upper"] == pytest.approx(found, abs=1e-5)
    assert out.read_text().startswith("<?xml")


def test_the_page_holds_the_caveats(undertow, tmp_path: Path) -> None:
    said = undertow(*ASKED, "--out", tmp_path / "plane.html")
    assert said.code == 0, said.err
    page = (tmp_path / "plane.html").read_text()
    for words in ("Goldfeld et al. 2019", "not settled by such plots"):
        assert words in page
        assert words in said.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--out", "plane.gif"), "unknown figure format '.gif'"),
        (("--method", "nix"), "unknown method 'nix'"),
        (("--attack", "nix"), "unknown attack 'nix'"),
        (("--tap", "nix"), "nix"),
        (("--noise-variance", 0), "noise_variance is above 0"),
        (("--model", "good_init"), "channels"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(undertow, arguments, words: str) -> None:
    said = undertow(*ASKED, *arguments)
    assert said.code == 2
    assert words in said.err
    assert len(said.err.strip().splitlines()) <= 2
