"""Inputs made on one model and read by another, on real digits and two real networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from undertow.data import load_data
from undertow.models import load_model
from undertow.store import Cell, Run
from undertow.studies.answered.results import Results
from undertow.studies.asked.spec import StudySpec
from undertow.studies.run import study

OWN = """
import torch
from undertow.models import load_model

def shaken():
    model = load_model("digits_cnn")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.02 * torch.randn(p.shape, generator=generator)
    return model
"""


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("crossed")
    (folder / "own.py").write_text(OWN)
    other = f"{folder}/own.py:shaken"
    both = ("digits_cnn", other)
    spec = StudySpec(
        name="crossed", models=both, compressed={"digits_cnn": other},
        data={"name": "digits", "inputs": 12},
        attacks=(
            {"name": "igsm", "read_by": both, "settings": {"epsilon": 0.3}},
            {"name": "jsma", "models": ("digits_cnn",)},
            {"name": "jsma", "label": "adaptive", "models": ("digits_cnn",),
             "settings": {"adaptive": True, "outputs": "softmax", "temperature": 2.0}},
            {"name": "ensemble", "settings": {"attack": {"name": "igsm", "epsilon": 0.3}}},
        ),
        readers=200, exemplars=1, shard=6, questions=("q1", "q2", "q3", "q4", "q5"),
    )  # type: ignore[arg-type]  # fmt: skip
    return study(spec, out=folder / "run")


def test_all_five_questions_are_answered(crossed: Run) -> None:
    assert crossed.answers is not None
    assert [q.id for q in crossed.answers.questions] == ["q1", "q2", "q3", "q4", "q5"]
    for question in crossed.answers.questions:
        assert question.missing is None
        assert question.claims
    assert crossed.missing == ()


def test_a_transfer_rate_is_what_the_other_model_answers(crossed: Run) -> None:
    """The stored rate against the models themselves, asked about the stored inputs' answers."""
    results = Results(crossed)
    home, away = results.spec.models
    cell = Cell(away, "igsm", home)
    made = crossed.attacks(Cell(home, "igsm"))["success"].values
    hits = crossed.attacks(cell)["predicted"].values != crossed.attacks(cell)["label"].values
    assert crossed.answers is not None
    transfer = next(t for t in crossed.answers.transfers if t.attack == "igsm")
    row, column = transfer.source.index(home), transfer.model.index(away)
    assert transfer.n[row][column] == made.sum()
    assert transfer.rate[row][column] == pytest.approx(hits[made].mean())
    assert transfer.rate[row][transfer.model.index(home)] == pytest.approx(made.mean())


def test_an_input_of_every_model_is_one_and_the_same(crossed: Run) -> None:
    """Distances of one attack's inputs do not depend on who reads them."""
    results = Results(crossed)
    home, away = results.spec.models
    for name in ("igsm", "noise:igsm"):
        here, there = (
            crossed.attacks(Cell(m, name, s))["l2"].values for m, s in ((home, None), (away, home))
        )
        np.testing.assert_array_equal(here, there)


def test_inputs_are_those_that_all_models_classify_correctly(crossed: Run) -> None:
    index = crossed.manifest["inputs"]
    x, y = load_data("digits", "test")[np.array(index)]
    for name in Results(crossed).spec.models:
        with torch.no_grad():
            assert (load_model(name)(x).argmax(dim=1) == y).all()


def test_an_ensemble_succeeds_where_all_its_members_are_fooled(crossed: Run) -> None:
    results = Results(crossed)
    members = results.spec.models
    every = np.logical_and.reduce([results.fooled(Cell(m, "ensemble")) for m in members])
    for member in members:
        np.testing.assert_array_equal(results.success(Cell(member, "ensemble")), every)
