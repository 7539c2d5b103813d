"""What is logged is what the run holds, through the real services where they are installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from undertow.errors import Foreign, Unavailable, UnknownName
from undertow.report.tracking import metrics_of, track
from undertow.store import Cell, Run
from undertow.testing.runs import synthetic_run


def test_metrics_are_the_stored_numbers(run: Run) -> None:
    assert run.answers is not None
    found = metrics_of(run)
    ends = run.attacks(Cell("good_init", "jsma"))
    assert found["good_init/jsma/fooled"] == pytest.approx(float(ends["success"].mean()))
    won = ends["success"].values
    assert found["good_init/jsma/l2"] == pytest.approx(float(ends["l2"].values[won].mean()))
    drift = run.answers.contrasts["good_init"]["jsma"]["drift"]
    assert found[f"good_init/jsma/drift/{drift.tap[-1]}"] == drift.level["attack"].mean[-1]
    assert found[f"good_init/noise-jsma/change/{drift.tap[0]}"] == drift.change["noise"].mean[0]
    verdicts = [c.verdict for q in run.answers.questions for c in q.claims]
    assert found["claims/supported"] == verdicts.count("supported")


def test_what_cannot_be_logged_is_said(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnknownName, match="mlflow, wandb"):
        track(run, "clearml")
    monkeypatch.setattr("undertow.loading.find_spec", lambda name: None)
    with pytest.raises(Unavailable, match=r"undertow\[wandb\]"):
        track(run, "wandb")
    monkeypatch.setattr("undertow.loading.find_spec", lambda name: True)
    empty = synthetic_run(tmp_path / "empty", samples=2, shard=2, models=("m",), finished=False,
                          attacks=("benign",))  # fmt: skip
    with pytest.raises(Foreign, match="no finished inputs"):
        track(empty, "mlflow")


def test_mlflow_holds_the_numbers(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    logged = mlflow.get_run(track(run, "mlflow", project="tests"))
    wanted = metrics_of(run)
    assert logged.data.metrics == pytest.approx(wanted)
    assert logged.data.params["seed"] == "1"


def test_wandb_holds_the_numbers(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    name = track(run, "wandb", project="tests")
    files = list((run.path.parent / "wandb").glob(f"offline-run-*{name}/run-{name}.wandb"))
    assert len(files) == 1
    assert b"good_init/jsma/fooled" in files[0].read_bytes()
