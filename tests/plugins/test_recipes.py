"""Every recipe of CONTRIBUTING.md, followed to the letter: in a user's file and in the package."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import undertow as ut
from undertow.attacks import ATTACKS, make
from undertow.data import load_data
from undertow.figures import FIGURES
from undertow.information import ESTIMATORS
from undertow.measuring.carriers import RANKINGS
from undertow.testing import attacks, datasets, estimators, figures, rankings
from undertow.testing.runs import synthetic_run

ROOT = Path(__file__).resolve().parents[2]
LINES = {
    "attack": "attacks/__init__.py",
    "estimator": "information/__init__.py",
    "null": "information/__init__.py",
    "ranking": "measuring/carriers/__init__.py",
    "question": "studies/answered/questions/__init__.py",
    "figure": "figures/registry.py",
    "data": "data/registry.py",
    "model": "models/registry.py",
}
"""Where the one line of each recipe goes."""


@pytest.mark.parametrize("check", attacks.CONTRACT, ids=lambda c: c.__name__)
def test_the_attack(recipes: Path, check: Any) -> None:
    model = ut.load_model("digits_cnn")
    x, y = load_data("digits")[:5]
    check(
        attacks.Case(attack=make(f"{recipes}/mine_attack.py:Fade", steps=4), model=model, x=x, y=y)
    )
    assert ATTACKS.entry("fade").label == "fade to grey"


@pytest.mark.parametrize("check", estimators.CHECKS)
def test_the_estimator(recipes: Path, check: str) -> None:
    estimators.CHECKS[check](ESTIMATORS[f"{recipes}/mine_estimator.py:Spearman"]())


@pytest.mark.parametrize("check", rankings.CHECKS)
def test_the_ranking(recipes: Path, check: str) -> None:
    rankings.CHECKS[check](RANKINGS[f"{recipes}/mine_ranking.py:towards"])
    assert RANKINGS.entry("towards").label == "growth"


def test_the_null(recipes: Path) -> None:
    """A mirrored counterpart of a map that is its own mirror image is no null at all."""
    model = ut.load_model("digits_cnn")
    half = torch.rand(3, 1, 16, 8, generator=torch.Generator().manual_seed(0))
    x = torch.cat([half, half.flip(-1)], dim=-1)
    found = ut.measure(model, x, null=f"{recipes}/mine_null.py:mirror", readers=None)
    assert found.attrs["null"] == "mirror"
    assert abs(found["iip_null"] - found["iip_raw"]).max() < 1e-5


@pytest.mark.parametrize("check", figures.CONTRACT, ids=lambda c: c.__name__)
def test_the_figure(recipes: Path, tmp_path: Path, check: Any) -> None:
    figure = FIGURES[f"{recipes}/mine_figure.py:FIGURE"]
    run = synthetic_run(tmp_path / "run")
    check(figure.from_run(run, **figure.choices(run)[0]))


@pytest.mark.parametrize("check", datasets.CONTRACT, ids=lambda c: c.__name__)
def test_the_data_set(recipes: Path, check: Any) -> None:
    load_data(f"{recipes}/mine_data.py:stripes")
    check("stripes")


def test_the_model(recipes: Path) -> None:
    model = ut.load_model(f"{recipes}/mine_model.py:halves", classes=2)
    assert not any(p.requires_grad for p in model.parameters())


SCRIPT = """
import undertow as ut
from undertow.attacks import ATTACKS, Fade
from undertow.data import load_data
from undertow.figures import FIGURES
from undertow.information import ESTIMATORS, NULLS
from undertow.measuring.carriers import RANKINGS
from undertow.models import MODELS
from undertow.studies.answered.questions import QUESTIONS
from undertow.testing import attacks, estimators

print(ut.__file__)
case = attacks.Case(attack=attacks.quick("fade"), model=ut.load_model("digits_cnn"),
                    x=load_data("digits")[:5][0], y=load_data("digits")[:5][1])
for check in attacks.CONTRACT:
    check(case)
for check in estimators.CHECKS.values():
    check(ESTIMATORS["spearman"]())
assert "Fade" in dir(ut.attacks)
print(NULLS["mirror"].__name__, QUESTIONS["quiet"].words, FIGURES["plain"].name,
      len(load_data("stripes")), MODELS["halves"].data, RANKINGS["towards"].__name__)
"""


def test_in_a_scratch_copy_of_the_package(recipes: Path, tmp_path: Path) -> None:
    """The file where the recipe says, and the one line: nothing else."""
    home = tmp_path / "undertow"
    shutil.copytree(ROOT / "src" / "undertow", home, ignore=shutil.ignore_patterns("__pycache__"))
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    lines = re.findall(r"`((?:[A-Z]+)\.add\([^`]*)`", text.partition("## Recipes")[2])
    places = re.findall(r"To ship: (?:into )?`src/undertow/([\w/.]+)`", text)
    assert len(lines) == len(LINES)
    files = ["attack", "estimator", "null", "ranking", "question", "figure", "data"]
    assert len(places) == len(files)
    for kind, place in zip(files, places, strict=True):
        code = (recipes / f"mine_{kind}.py").read_text(encoding="utf-8")
        with (home / place).open("a", encoding="utf-8") as file:
            file.write(code)
    (home / "models" / "halves.py").write_text((recipes / "mine_model.py").read_text())
    for line, place in zip(lines, LINES.values(), strict=True):
        extra = "from undertow.models.halves import halves\n" if line.startswith("MODELS") else ""
        with (home / place).open("a", encoding="utf-8") as file:
            file.write(f"\n{extra}{line}\n")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1",
             "HOME": str(Path.home())},
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[0].startswith(str(home))
    assert done.stdout.splitlines()[1].startswith("mirror Do benign inputs")
