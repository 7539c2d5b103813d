"""A whole study on real digits: finished, repeatable, resumable, never overwriting."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import undertow as ut
from undertow.axes import CONTROLS, PROFILES
from undertow.cli import main
from undertow.data import ImageSet
from undertow.errors import BadInput, Foreign, UndertowError
from undertow.store import BENIGN, Answers, Cell, Run, open_run
from undertow.studies.answered.conclude import conclude
from undertow.studies.answered.results import Results
from undertow.studies.asked.plan import Unit, cells_of
from undertow.studies.asked.spec import AttackSpec, StudySpec
from undertow.studies.done import strength
from undertow.studies.done.cell import Batch, Filled, _controls, _partners
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


def test_controls_have_the_attacks_norm_and_rival(small_run: Run) -> None:
    for attack, kinds in (("fgsm", CONTROLS), ("jsma", ("transplant",))):
        aimed = small_run.attacks(Cell("digits_cnn", attack))
        for kind in kinds:
            control = small_run.attacks(Cell("digits_cnn", f"{kind}:{attack}"))
            reached = control["l2"] / aimed["l2"]
            assert (reached < 1.001).all()
            # A few strokes of one digit do not always fit into the box around another.
            short = (reached < 0.999).values
            assert not short.any() or (attack, kind) == ("jsma", "transplant")
            np.testing.assert_array_equal(control["rival"], aimed["rival"])


def test_a_transplant_is_the_perturbation_of_the_other_of_the_pair() -> None:
    """By place in the study, wherever a part begins; alone, an input's own, upside down."""
    assert _partners(4, 4).tolist() == [1, 0, 3, 2]
    assert _partners(3, 4).tolist() == [0, 2, 1, 3]
    moved = torch.randn(3, 1, 4, 4)
    moved[0] = 0
    x = torch.full((3, 1, 4, 4), 0.5)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
    batch = Batch(index=np.arange(3), x=x, y=model(x).argmax(1), seed=0)
    cells = tuple(Cell("m", f"{kind}fgsm") for kind in ("", "transplant:"))
    unit = Unit("m", "fgsm", 0, 0, 3, cells)
    moved /= 100 * moved.abs().amax()
    ends = _controls(unit, batch, model, moved, moved[_partners(0, 3)])
    assert set(ends) == {"transplant"}
    change = ends["transplant"] - x

    def along(a: torch.Tensor, b: torch.Tensor) -> float:
        return float((a * b).sum() / a.norm() / b.norm())

    assert (change[0] == 0).all(), "nothing has no length"
    assert along(change[1], moved[1].flip(-2, -1)) == pytest.approx(1), "its partner has nothing"
    assert along(change[2], moved[2].flip(-2, -1)) == pytest.approx(1), "alone"
    np.testing.assert_allclose(change[1:].flatten(1).norm(dim=1), moved[1:].flatten(1).norm(dim=1),
                               rtol=1e-4)  # fmt: skip
    pair = _controls(unit, batch, model, moved[[1, 2, 0]], moved[[2, 1, 0]])["transplant"] - x
    assert along(pair[0], moved[2]) == pytest.approx(1)
    assert along(pair[1], moved[1]) == pytest.approx(1)


def test_exemplars_have_their_controls_step_by_step(small_run: Run) -> None:
    index = small_run.exemplars(JSMA)[0]
    own = small_run.exemplar(JSMA, index)
    norm = np.square(own["images"].values - own["images"].values[:1]).sum((1, 2, 3))
    control = small_run.exemplar(Cell("digits_cnn", "transplant:jsma"), index)
    np.testing.assert_array_equal(control["step"], own["step"])
    far = np.square(control["images"].values - own["images"].values[:1]).sum((1, 2, 3))
    assert (far <= norm * 1.01 + 1e-6).all()
    assert control["difference"].values[0] == 0
    assert control.attrs["rival"] == own.attrs["rival"]


def test_strengths_are_written_as_they_come(
    small_spec: StudySpec, fresh_out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill while the second is matched leaves the first in the manifest."""
    once = strength._one

    def stop_at_second(spec: StudySpec, attack: AttackSpec, *rest: Any) -> dict[str, Any]:
        if attack.name == "jsma":
            raise KeyboardInterrupt
        return once(spec, attack, *rest)

    monkeypatch.setattr(strength, "_one", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        study(small_spec, out=fresh_out)
    found = open_run(fresh_out).manifest["strengths"]
    assert list(found["digits_cnn"]) == ["fgsm"]


def test_answers_of_older_rules_are_marked(small_run: Run, tmp_path: Path) -> None:
    assert small_run.answers is not None
    assert small_run.answers.outdated == ""
    old = json.loads(small_run.answers.dump())
    del old["rules"]
    assert "older rules" in Answers.load(json.dumps(old)).outdated
    assert conclude(small_run) == small_run.answers, "the same answers from what is stored"


def test_a_run_without_the_later_controls_opens_and_keeps_its_older_answers(
    small_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As runs were made before there were transplants: control: true stood for noise alone."""
    old = tmp_path / "old"
    shutil.copytree(small_run.path, old)
    for kind in ("spectrum", "transplant"):
        for folder in (old / "results.zarr").glob(f"*/*{kind}%3A*"):
            shutil.rmtree(folder)
    lines = (old / "ledger.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if "spectrum:" not in line and "transplant:" not in line]
    (old / "ledger.jsonl").write_text("".join(kept))
    told = json.loads((old / "answers.json").read_text())
    del told["rules"]
    (old / "answers.json").write_text(json.dumps(told))
    run = open_run(old)
    assert {cell.control for cell in run.cells} == {None, "noise"}
    assert all("without these cells" in (q.missing or "") for q in conclude(run).questions)
    with pytest.raises(SystemExit) as left:
        main(["runs", "answer", str(old)])
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert "cannot be answered anew, and the older answers stay" in said
    assert said.count("\n") == 1
    assert json.loads((old / "answers.json").read_text()) == told
    assert "older rules" in (open_run(old).answers or Answers()).outdated


def test_the_drift_of_every_attack_stands_beside_its_controls(small_run: Run) -> None:
    assert small_run.answers is not None
    table = small_run.answers.tables[0]
    assert table.title == "Drift of every attack on digits_cnn beside its controls"
    assert {row[0] for row in table.rows} == {"fgsm", "jsma"}
    cell = Cell("digits_cnn", "jsma")
    results = Results(small_run)
    rows, rival = results.success(cell) & results.fair(cell), results.rival(cell)
    assert 2 < rows.sum() < results.success(cell).sum(), "some transplants fall short"
    flow = small_run.profiles(Cell("digits_cnn", BENIGN))["flow"].values
    label = small_run.attacks(cell)["label"].values
    pick = np.arange(len(label))
    benign = (flow[pick, :, rival] - flow[pick, :, label])[rows]
    drift = small_run.profiles(cell)["drift"].values[rows]
    line = next(row for row in table.rows if row[0] == "jsma")
    gap = drift[:, 0] - benign[:, 0]
    assert line[2] == pytest.approx(benign[:, 0].mean(), abs=1e-6)
    assert line[4] == pytest.approx(gap.mean() / gap.std(ddof=1), rel=1e-3)


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
    for wanted, why in ((359, "only .* are classified correctly"), (360, r"\(test\) has 359")):
        with pytest.raises(BadInput, match=why):
            study(small_spec, out=fresh_out, inputs=wanted)
    assert not fresh_out.exists(), "the corrected command would be refused"


def test_a_run_that_was_there_stays_when_going_on_fails(
    small_run: Run, small_spec: StudySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(small_run.path, tmp_path / "run")
    before = {p.relative_to(tmp_path) for p in (tmp_path / "run").rglob("*")}

    def refuse(*args: object, **more: object) -> None:
        raise BadInput("no")

    monkeypatch.setattr("undertow.studies.run._prepare", refuse)
    with pytest.raises(BadInput, match="no"):
        study(small_spec, out=tmp_path / "run")
    assert before <= {p.relative_to(tmp_path) for p in (tmp_path / "run").rglob("*")}


def test_a_study_is_a_mapping_and_models_and_data_are_objects(tmp_path: Path) -> None:
    """As in a notebook; names of objects are looked up nowhere."""
    told: dict[str, Any] = {
        "name": "objects",
        "models": ["mine"],
        "data": {"name": "my digits", "inputs": 4, "references": "beside"},
        "attacks": [{"name": "fgsm", "settings": {"epsilon": 0.2}, "control": False}],
        "readers": 0, "exemplars": 0, "cross_check": None, "questions": [],
    }  # fmt: skip
    digits = ut.load_data("digits")
    x, y = digits[:40]
    data = ImageSet.from_arrays(x, y, name="my digits", split="test")
    objects: dict[str, Any] = {"models": {"mine": ut.load_model("digits_cnn")}, "data": data}
    run = study(told, out=tmp_path / "run", **objects)
    assert {cell.model for cell in run.cells} == {"mine"}
    assert run.missing == ()
    objects["models"]["other"] = ut.load_model("digits_cnn")
    with pytest.raises(BadInput, match="'other' is given, but not among the study's models"):
        study(told, out=tmp_path / "other", **objects)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": "x", "attacks": [], "modles": ["digits_cnn"]}, "did you mean 'models'"),
        (
            {"name": "x", "attacks": [], "shard": 0},
            "the study: shard: .*greater than or equal",
        ),
        ({"attacks": []}, "the study: name: Field required"),
    ],
)
def test_a_mapping_that_is_no_study_is_told_in_one_line(given: Any, words: str) -> None:
    with pytest.raises(UndertowError, match=words) as caught:
        study(given)
    assert "\n" not in str(caught.value)


def test_draws_do_not_depend_on_where_a_file_lies() -> None:
    x, y = torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64)
    batch = Batch(index=np.array([3, 5]), x=x, y=y, seed=0)
    here, there = (batch.draws(f"{folder}/net.py:make", "pgd") for folder in ("a", "/b/c"))
    assert torch.equal(here.seeds, there.seeds)
    assert not torch.equal(here.seeds, batch.draws("a/net.py:other", "pgd").seeds)
