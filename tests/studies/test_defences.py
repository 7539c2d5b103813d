"""Q3 on real digits: networks behind defences, attacks that know of them and others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import undertow as ut
from undertow.attacks import make
from undertow.data import load_data
from undertow.errors import BadInput
from undertow.models import load_model
from undertow.models.defended import fooled, rejected, undefended
from undertow.store import Cell, Run
from undertow.studies.answered.results import Results
from undertow.studies.asked.roles import adapted, defended_models, pairings
from undertow.studies.asked.spec import StudySpec
from undertow.studies.done.sanity import sanity
from undertow.studies.run import study
from undertow.studies.trace import trace

OWN = """
import torch
from undertow.data import load_data
from undertow.models import load_model
from undertow.models.recipe import Shielding
from undertow.models.shield import shield
from undertow.models.squeezed import Squeezed

def squeezed():
    made = Squeezed(load_model("digits_cnn"), bits=3)
    few = Shielding(epochs=0, false_alarms=0.05)
    shield(made, load_data("digits", "fit"), load_data("digits", "held_out"), few, seed=0)
    return made

def plain():
    return load_model("digits_cnn")
"""
SETTINGS = {"epsilon": 0.2, "steps": 20}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Named from their folder: random numbers depend on a model's name, and names on the path."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield "own.py:squeezed", "own.py:plain"


@pytest.fixture(scope="module")
def spec(own: tuple[str, str]) -> StudySpec:
    squeezed, plain = own
    return StudySpec(
        name="defended", models=own, defences={squeezed: "squeezing", plain: "distillation"},
        data={"name": "digits", "inputs": 24},
        attacks=(
            {"name": "pgd", "label": "blind", "unaware": True, "models": (squeezed,),
             "settings": SETTINGS},
            {"name": "pgd", "label": "aware", "models": (squeezed,), "settings": SETTINGS},
        ),
        readers=200, exemplars=2, shard=12, questions=("q3",),
    )  # type: ignore[arg-type]  # fmt: skip


@pytest.fixture(scope="module")
def run(spec: StudySpec, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return study(spec, out=tmp_path_factory.mktemp("defended") / "run")


def test_roles_are_as_told_or_as_the_defence_says(spec: StudySpec, own: tuple[str, str]) -> None:
    blind, aware = spec.attacks
    assert not adapted(spec, blind, own[0])
    assert adapted(spec, aware, own[0])
    other = aware.model_copy(update={"role": "regular"})
    told = spec.model_copy(update={"attacks": (blind, other)})
    assert pairings(told, own[0]) == ()
    (pair,) = pairings(spec, own[0])
    assert (pair.regular.id, pair.adaptive.id) == ("blind", "aware")
    assert defended_models(spec) == own


def test_a_cell_counts_what_comes_out_of_the_whole(run: Run, own: tuple[str, str]) -> None:
    """Made on the network alone, judged with the detectors; the same numbers by hand."""
    model, seen = load_model(own[0]), run.attacks(Cell(own[0], "blind"))
    name = Path(own[0]).name  # the draws are the same wherever the file lies
    x, y = load_data("digits")[seen["index"].values]
    t = ut.craft(
        make("pgd", **SETTINGS), undefended(model), x, y,
        seed=ut.types.Draws(torch.tensor([
            ut.seeds.derive(0, name, "blind", int(i)) for i in seen["index"].values
        ])),
    )  # fmt: skip
    refused = rejected(model, t.end)
    assert np.array_equal(seen["rejected"].values, refused.numpy())
    assert np.array_equal(
        seen["success"].values, fooled(model(t.end).argmax(1), y, refused).numpy()
    )
    assert refused.any()
    results, cell = Results(run), Cell(own[0], "blind")
    assert np.array_equal(results.rejected(cell), refused.numpy())
    assert not (results.rejected(cell) & results.fooled(cell)).any()


def test_q3_tells_of_the_one_and_does_not_call_the_other_safe(
    run: Run, own: tuple[str, str]
) -> None:
    assert run.answers is not None
    (answer,) = run.answers.questions
    assert answer.missing is None
    around = [c for c in answer.claims if "gets around it" in c.claim]
    assert [c.verdict for c in around] == ["supported"]
    assert "Feature squeezing" in around[0].claim
    assert "checks of its soundness" in around[0].sentence
    (unjudged,) = [c for c in answer.claims if "falls to an adaptive" in c.claim]
    assert unjudged.verdict == "inconclusive"
    assert own[1] in unjudged.sentence
    assert "not called safe" in unjudged.sentence
    (often,) = [c for c in answer.claims if "often vulnerable" in c.claim]
    assert often.verdict == "inconclusive"
    assert often.reason == "1 of 2 defences fall, 0 do not at this budget"


def test_the_table_of_defences_has_a_row_an_attack(run: Run, own: tuple[str, str]) -> None:
    assert run.answers is not None
    (table,) = [t for t in run.answers.tables if t.title.startswith("Defences under")]
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [(r["attack"], r["made for it"]) for r in rows] == [("blind", "no"), ("aware", "yes")]
    for row in rows:
        assert row["fooled"] + row["rejected"] + row["correct"] == pytest.approx(1)
        assert row["low"] <= row["fooled"] <= row["high"]
    assert rows[1]["fooled"] > rows[0]["fooled"]


def test_an_exemplar_says_when_it_was_rejected(run: Run, own: tuple[str, str]) -> None:
    assert run.answers is not None
    data = run.exemplar(Cell(own[0], "blind"), run.exemplars(Cell(own[0], "blind"))[0])
    assert data["rejected"].dims == ("step",)
    assert not data["rejected"].values[0]
    for told in run.answers.explanations:
        cell = run.exemplar(Cell(own[0], "blind"), told.index)
        assert ("rejected" in told.sentences[0]) == bool(cell["rejected"].values[-1])
        assert (told.kind == "fooled") == bool(cell.attrs["success"])


def test_one_input_is_followed_with_and_without_a_thought_of_the_defence(
    own: tuple[str, str], run: Run, tmp_path: Path
) -> None:
    """Of an input that the blind attack had rejected: what is told of it, either way."""
    refused = run.attacks(Cell(own[0], "blind"))
    index = int(refused["index"].values[np.flatnonzero(refused["rejected"].values)[0]])
    told = {}
    for unaware in (True, False):
        found = trace(
            model=own[0], attack="pgd", data="digits", index=index, settings=SETTINGS, readers=0,
            unaware=unaware, out=tmp_path / str(unaware),
        )  # fmt: skip
        assert found.answers is not None
        assert not [r for r in found.records.values() if r.state == "failed"]
        (told[unaware],) = found.answers.explanations
    assert "→ rejected after" in told[True].sentence
    assert "the defence rejects it" in told[True].sentence
    assert told[True].kind == "held"
    assert told[False].kind == "fooled"


def test_there_must_be_a_defence_to_know_nothing_of(own: tuple[str, str], tmp_path) -> None:
    spec = StudySpec(
        name="none", models=("digits_cnn",), data={"name": "digits", "inputs": 4},
        attacks=({"name": "pgd", "unaware": True},), readers=0, questions=(),
    )  # type: ignore[arg-type]  # fmt: skip
    with pytest.raises(BadInput, match="unaware of a defence, but 'digits_cnn'"):
        study(spec, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_study_names_no_defence_that_there_is_not(own: tuple[str, str]) -> None:
    wrong = StudySpec(
        name="none", models=("digits_cnn",), defences={"digits_cnn": "magnets"},
        data={"name": "digits", "inputs": 4}, attacks=({"name": "pgd"},), questions=("q3",),
    )  # type: ignore[arg-type]  # fmt: skip
    with pytest.raises(ut.errors.UnknownName, match="magnet"):
        defended_models(wrong)


class _Masked(torch.nn.Module):
    """Answers as the network does, without a gradient: as a defence by obfuscation would."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = load_model("digits_cnn")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        levels = 31
        return self.inner((x * levels).round() / levels)


def test_sanity_sees_an_attack_that_only_seems_to_fail() -> None:
    x, y = load_data("digits")[:24]
    attack = make("pgd", epsilon=0.2, steps=10)

    def checks(model: torch.nn.Module) -> dict[str, dict[str, Any]]:
        return {r["check"]: r for r in sanity(attack, model, x, y, target=None, seed=0)}

    sound, masked = checks(load_model("digits_cnn")), checks(_Masked().eval())
    assert len(sound) == 5
    assert all(row["holds"] for row in sound.values()), sound
    assert masked["inputs without a gradient"]["value"] > 0.9
    failed = {name for name, row in masked.items() if not row["holds"]}
    assert failed >= {
        "inputs without a gradient", "success without a bound", "fooled by noise of its size"
    }  # fmt: skip
