"""A whole study on real digits: finished, repeatable, resumable, never overwriting."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import undertow as ut
from undertow.axes import PROFILES
from undertow.errors import BadInput, Foreign
from undertow.store import BENIGN, Cell, Run
from undertow.studies.answered.results import Results
from undertow.studies.asked.plan import Unit, cells_of
from undertow.studies.asked.spec import StudySpec
from undertow.studies.done.cell import Filled
from undertow.studies.done.workshop import Workshop
from undertow.studies.run import study
from undertow.testing.runs import same_results

JSMA = Cell("digits_cnn", "jsma")


def test_every_cell_is_finished_and_every_question_answered(small_run: Run) -> None:
    assert small_run.missing == ()
    assert set(small_run.cells) == set(cells_of(Results(small_run).spec))
    assert small_run.answers is not None
    assert [q.id for q in small_run.answers.questions] == ["q1", "q2"]
    assert all(q.claims and q.missing is None for q in small_run.answers.questions)


def test_the_numbers_fit_together(small_run: Run) -> None:
    for cell in small_run.cells:
        profiles = small_run.profiles(cell).load()
        for p in PROFILES[:2]:
            np.testing.assert_allclose(
                profiles[p], profiles[f"{p}_raw"] - profiles[f"{p}_null"], atol=1e-5
            )
        attacks = small_run.attacks(cell).load()
        fooled = attacks["logits"].values.argmax(axis=1) != attacks["label"].values
        np.testing.assert_array_equal(attacks["success"].values, fooled)
    assert not small_run.attacks(Cell("digits_cnn", BENIGN))["success"].values.any()


def test_the_control_has_the_attacks_norm(small_run: Run) -> None:
    for attack in ("fgsm", "jsma"):
        aimed = small_run.attacks(Cell("digits_cnn", attack))
        noise = small_run.attacks(Cell("digits_cnn", f"noise:{attack}"))
        np.testing.assert_allclose(noise["l2"], aimed["l2"], rtol=1e-3)


def test_exemplars_start_benign_and_end_where_the_attack_ended(small_run: Run) -> None:
    indices = small_run.exemplars(JSMA)
    assert len(indices) == 3
    benign = small_run.profiles(Cell("digits_cnn", BENIGN)).load()
    for place, index in enumerate(small_run.attacks(JSMA)["index"].values[:3]):
        found = small_run.exemplar(JSMA, int(index)).load()
        assert found["step"].values[0] == 0
        assert found["difference"].values[0] == 0
        np.testing.assert_allclose(found["iip"].values[0], benign["iip"].values[place], atol=1e-5)
        assert found["step"].values[-1] == small_run.attacks(JSMA)["steps"].values[place]


def test_one_seed_gives_identical_numbers(
    small_run: Run, small_spec: StudySpec, fresh_out: Path
) -> None:
    same_results(small_run, study(small_spec, out=fresh_out))


def test_an_interrupted_run_goes_on_and_repeats_nothing(
    small_run: Run, small_spec: StudySpec, fresh_out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []
    real = Workshop.fill

    def interrupted(shop: Workshop, unit: Unit) -> Filled:
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(unit)
        return real(shop, unit)

    monkeypatch.setattr(Workshop, "fill", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study(small_spec, out=fresh_out)
    assert ut.open_run(fresh_out).missing

    def counted(shop: Workshop, unit: Unit) -> Filled:
        done.append(unit)
        return real(shop, unit)

    monkeypatch.setattr(Workshop, "fill", counted)
    run = study(small_spec, out=fresh_out)
    assert len(done) == len(set(done)) == 9
    same_results(small_run, run)


def test_a_failing_shard_is_recorded_and_the_rest_goes_on(
    small_run: Run, small_spec: StudySpec, fresh_out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Workshop.fill

    def failing(shop: Workshop, unit: Unit) -> Filled:
        if unit.attack == "fgsm" and unit.shard == 1:
            raise RuntimeError("the ground gave way")
        return real(shop, unit)

    monkeypatch.setattr(Workshop, "fill", failing)
    run = study(small_spec, out=fresh_out)
    record = run.records[Cell("digits_cnn", "fgsm"), 1]
    assert record.state == "failed"
    assert "the ground gave way" in str(record.traceback)
    assert run.answers is not None
    assert "not finished" in str(run.answers.questions[1].missing)
    monkeypatch.undo()
    same_results(small_run, study(small_spec, out=fresh_out))


def test_exemplars_wait_for_the_benign_inputs_that_they_are_measured_by(
    small_run: Run, small_spec: StudySpec, fresh_out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Workshop.fill

    def failing(shop: Workshop, unit: Unit) -> Filled:
        if unit.attack == BENIGN and unit.shard == 0:
            raise RuntimeError("the ground gave way")
        return real(shop, unit)

    monkeypatch.setattr(Workshop, "fill", failing)
    run = study(small_spec, out=fresh_out)
    assert run.exemplars(JSMA) == ()
    assert run.records[JSMA, "exemplar:0"].state == "pending"
    monkeypatch.undo()
    same_results(small_run, study(small_spec, out=fresh_out))


def test_another_study_in_the_same_place_is_refused(small_run: Run, small_spec: StudySpec) -> None:
    before = (small_run.path / "manifest.json").read_bytes()
    with pytest.raises(BadInput, match=r"seed: 7 → 8"):
        study(small_spec, out=small_run.path, seed=8)
    assert (small_run.path / "manifest.json").read_bytes() == before


def test_a_foreign_directory_is_never_touched(small_spec: StudySpec, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(Foreign):
        study(small_spec, out=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_manifest_says_how_to_do_it_again(small_run: Run) -> None:
    manifest = json.loads((small_run.path / "manifest.json").read_text())
    assert manifest["seed"] == 7
    assert len(manifest["inputs"]) == 10
    assert {"data", "weights"} <= set(manifest["hashes"])
    assert manifest["versions"]["torch"]
    assert manifest["strengths"]["digits_cnn"]["fgsm"]["settings"]["epsilon"] == 0.2


def test_more_inputs_than_there_are_is_an_error(small_spec: StudySpec, fresh_out: Path) -> None:
    with pytest.raises(BadInput, match=r"only .* are classified correctly"):
        study(small_spec, out=fresh_out, inputs=5000)
