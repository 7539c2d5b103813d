"""Matched magnitudes are reached on inputs that the matching never saw."""

from __future__ import annotations

from pathlib import Path

import pytest

from undertow.store import Cell
from undertow.studies.asked.spec import StudySpec
from undertow.studies.run import study


def test_matched_attacks_reach_the_distance_on_the_study_inputs(tmp_path: Path) -> None:
    spec = StudySpec(
        name="matched",
        models=("digits_cnn",),
        data={"name": "digits", "inputs": 60},
        attacks=(
            {"name": "fgsm", "match_l2": 3.0},
            {"name": "igsm", "match_l2": 3.0, "settings": {"stop": False, "steps": 5}},
        ),
        readers=0, exemplars=0, cross_check=None, questions=(), shard=60,
    )  # type: ignore[arg-type]  # fmt: skip
    run = study(spec, out=tmp_path / "run")
    for attack in ("fgsm", "igsm"):
        strength = run.manifest["strengths"]["digits_cnn"][attack]
        assert strength["matched"]
        assert strength["reached"]["l2"] == pytest.approx(3.0, rel=0.05)
        found = run.attacks(Cell("digits_cnn", attack)).load()
        won = found["success"].values
        assert found["l2"].values[won].mean() == pytest.approx(3.0, rel=0.15)


def test_a_strength_that_fools_nothing_is_kept_as_none(tmp_path: Path) -> None:
    """C&W asked for a lead that no input can be given: matching says so, and the run goes on."""
    attack = {"name": "cw", "match_l2": 40.0,
              "settings": {"rounds": 1, "steps": 5, "constant": 1.0}}  # fmt: skip
    spec = StudySpec(
        name="hopeless", models=("digits_cnn",), data={"name": "digits", "inputs": 4},
        attacks=(attack,), readers=0, exemplars=0, cross_check=None, questions=(), shard=4,
    )  # type: ignore[arg-type]  # fmt: skip
    strength = study(spec, out=tmp_path / "run").manifest["strengths"]["digits_cnn"]["cw"]
    assert not strength["matched"]
    assert any(probe["l2"] is None for probe in strength["tried"])
