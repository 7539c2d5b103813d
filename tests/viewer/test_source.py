from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from undertow.errors import Foreign
from undertow.store import BENIGN, Cell, Run
from undertow.viewer.selection import LIMIT, Which, curve_of
from undertow.viewer.source import Source

from .conftest import MODEL

IGSM = Cell(MODEL, "igsm")


def test_unfiltered_curves_are_those_of_the_answers(source: Source, run: Run) -> None:
    assert run.answers is not None
    found = source.curves(MODEL, ["igsm"], Which())
    assert set(found) == {BENIGN, "igsm"}
    assert found["igsm"]["oip"] == run.answers.aggregates[MODEL]["igsm"]["oip"]


@pytest.mark.parametrize("outcome", ["successful", "failed"])
def test_filtered_curves_are_means_of_what_is_left(source: Source, run: Run, outcome: str) -> None:
    which = Which(outcome=outcome, part="raw")  # type: ignore[arg-type]
    found = source.curves(MODEL, ["igsm"], which)
    ends, rows = run.attacks(IGSM), run.profiles(IGSM)["iip_raw"].values
    mask = ends["success"].values == (outcome == "successful")
    if not mask.any():
        assert f"igsm[{outcome}]" not in found
        return
    curve = found[f"igsm[{outcome}]"]["iip"]
    assert curve.n == mask.sum()
    np.testing.assert_allclose(curve.tap_mean, rows[mask].mean(0), rtol=1e-5)


def test_classes_filter_every_cell(source: Source, run: Run) -> None:
    found = source.curves(MODEL, ["igsm"], Which(classes=(0, 3)))
    for cell, key in ((Cell(MODEL, BENIGN), BENIGN), (IGSM, "igsm")):
        mask = np.isin(run.attacks(cell)["label"].values, [0, 3])
        assert found[key]["oip"].n == mask.sum()
        np.testing.assert_allclose(
            found[key]["oip"].tap_mean, run.profiles(cell)["oip"].values[mask].mean(0), rtol=1e-5
        )


def test_a_control_has_the_success_of_its_attack(source: Source, run: Run) -> None:
    ends = source.ends(Cell(MODEL, "noise:igsm"))
    assert ends is not None
    np.testing.assert_array_equal(ends.success, run.attacks(IGSM)["success"].values)


def test_a_single_input_has_no_band() -> None:
    curve = curve_of(np.array([[1.0, np.nan, 3.0]]), np.array([0.1, 0.5, 1.0]))
    assert curve is not None
    assert curve.mean == ()
    assert curve.tap_mean == (1.0, 3.0)
    assert curve_of(np.full((4, 2), np.nan), np.array([0.0, 1.0])) is None


def test_of_a_half_finished_run_the_finished_inputs_count(half: Run) -> None:
    source = Source(half.path)
    ends = source.ends(IGSM)
    assert ends is not None
    assert len(ends) == 8
    assert source.answers is None
    assert any("no answers" in line for line in source.missing)
    assert source.curves(MODEL, ["igsm"], Which())["igsm"]["iip"].n == 8


def test_a_torn_chunk_becomes_a_sentence(copy: Path) -> None:
    chunk = copy / "results.zarr/attacks" / IGSM.slug / "l2/c.0"
    chunk.write_bytes(chunk.read_bytes()[:10])
    source = Source(copy)
    assert source.ends(IGSM) is None
    assert any("attacks/l2" in p for p in source.problems)
    assert source.ends(Cell(MODEL, BENIGN)) is not None


def test_damaged_answers_become_a_sentence(copy: Path) -> None:
    (copy / "answers.json").write_text('{"schema": 1, "questions": [')
    source = Source(copy)
    assert source.answers is None
    assert any("answers" in p for p in source.problems)
    assert source.curves(MODEL, ["igsm"], Which())["igsm"]["iip"].n == 16


def test_arrays_that_claim_to_be_huge_are_not_read(copy: Path) -> None:
    meta = copy / "results.zarr/profiles" / IGSM.slug / "iip/zarr.json"
    told = json.loads(meta.read_text())
    told["shape"] = [10**9, told["shape"][1]]
    meta.write_text(json.dumps(told))
    source = Source(copy)
    assert 10**9 * told["shape"][1] * 4 > LIMIT
    assert source.profile(IGSM, "iip", Which()) is None
    assert source.problems


def test_a_link_out_of_the_run_is_not_followed(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text('{"schema": 1, "questions": []}')
    (copy / "answers.json").unlink()
    (copy / "answers.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(Foreign, match="symbolic link"):
        Source(copy)


def test_names_are_looked_up_and_never_made_into_paths(source: Source) -> None:
    for slug in ("../../etc", "..%2F..%2Fetc+passwd", "", None, "/etc/passwd", "a+b+c"):
        assert source.cell(slug) is None
    assert source.cell(IGSM.slug) == IGSM


def test_a_run_that_has_grown_is_read_again(half: Run, tmp_path: Path) -> None:
    import shutil

    place = Path(shutil.copytree(half.path, tmp_path / "growing"))
    source = Source(place)
    before = source.missing
    with (place / "ledger.jsonl").open("a") as ledger:
        ledger.write("\n")
    source.refresh()
    assert source.missing == before
    assert source.cells
