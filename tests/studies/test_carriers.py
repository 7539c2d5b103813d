"""Carriers in studies: the stored numbers are those of the library, q6 sees what is planted."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

import undertow as ut
from undertow.errors import BadInput
from undertow.measuring.carriers import CONTROLS, DEFAULT_RANKINGS
from undertow.statistics.simulated import RULES
from undertow.statistics.verdicts import RESTORES, everywhere
from undertow.store import BENIGN, Cell, Claim, Run, open_run
from undertow.store.export import table
from undertow.studies.answered.questions import QUESTIONS
from undertow.studies.answered.restorations import restorations
from undertow.studies.answered.results import Results
from undertow.studies.asked.plan import cells_of
from undertow.studies.asked.spec import StudySpec
from undertow.studies.carriers import run_carriers
from undertow.studies.run import study
from undertow.testing.runs import same_results

SPEC = StudySpec(
    name="carried",
    models=("digits_cnn",),
    data={"name": "digits", "inputs": 14},
    attacks=(
        {"name": "igsm", "control": ("transplant",), "settings": {"epsilon": 0.3, "stop": False}},
        {"name": "fgsm", "control": False, "settings": {"epsilon": 0.02}},
    ),
    cross_check=None, readers=0, exemplars=2, reference_pool=16, shard=5, carriers=True,
    questions=("q6",), seed=3,
)  # type: ignore[arg-type]  # fmt: skip
IGSM, WEAK = Cell("digits_cnn", "igsm"), Cell("digits_cnn", "fgsm")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return study(SPEC, out=tmp_path_factory.mktemp("carried") / "run")


def test_stored_curves_are_those_of_the_library(run: Run) -> None:
    """Deterministic rankings of every input, from the attack on; whatever shard it was in."""
    model = ut.load_model("digits_cnn")
    stored = run.carriers(IGSM).load()
    index = run.attacks(IGSM)["index"].values
    x, y = ut.load_data("digits", split="test")[index]
    found = ut.craft(ut.attacks.IGSM(epsilon=0.3, stop=False), model, x, y)
    told = ut.carriers(model, found)
    rows = np.flatnonzero(stored["rival"].values >= 0)
    np.testing.assert_array_equal(rows, told["sample"].values)
    np.testing.assert_array_equal(stored["rival"].values[rows], told["rival"].values)
    names = list(DEFAULT_RANKINGS)
    for kind in ("restored", "implanted"):
        a, b = (d[kind].sel(ranking=names).values for d in (stored.isel(sample=rows), told))
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(stored["smallest"].values[rows], told["smallest"].values)
    assert bool(stored["cut"].values[rows].all())


def test_inputs_without_anything_to_restore_are_empty_not_wrong(run: Run) -> None:
    weak = run.carriers(WEAK).load()
    empty = weak["rival"].values < 0
    assert empty.any()
    assert np.isnan(weak["restored"].values[empty]).all()
    assert not weak["smallest"].values[empty].any()
    assert not run.has("carriers", Cell("digits_cnn", "transplant:igsm"))
    assert not run.has("carriers", Cell("digits_cnn", BENIGN))


def test_recorded_inputs_hold_scores_and_the_sets_of_their_row(run: Run) -> None:
    stored, index = run.carriers(IGSM).load(), run.attacks(IGSM)["index"].values
    for i in run.exemplars(IGSM):
        data = run.exemplar(IGSM, i)
        row = int(np.flatnonzero(index == i)[0])
        if "smallest" in data:
            np.testing.assert_array_equal(data["smallest"].values, stored["smallest"].values[row])
            assert np.isfinite(data["score"].values[0, 0]).any()
            assert np.isnan(data["score"].values[:, len(DEFAULT_RANKINGS) :]).all()


@pytest.mark.slow
def test_workers_give_the_same_numbers(run: Run, tmp_path: Path) -> None:
    same_results(run, study(SPEC, out=tmp_path / "run", workers=2))


def test_the_table_for_other_programs(run: Run) -> None:
    found = table(run, "carriers")
    mine = found[(found.attack == "igsm") & (found.ranking == "integrated")]
    stored = Results(run).carried(IGSM)
    count = int((stored["count"].values > 0).sum())
    assert len(mine) == stored.sizes["sample"] * count
    share = mine[mine.tap == str(stored["tap"].values[0])].groupby("put_back").restored.mean()
    wanted = stored["restored"].values[:, 0, 0].mean(axis=0)[: len(share)]
    np.testing.assert_allclose(share.values, wanted, rtol=1e-6)
    assert set(found.ranking) == {*DEFAULT_RANKINGS, *CONTROLS}


def test_answers_hold_the_curves_and_the_maps_that_are_needed(run: Run) -> None:
    found = restorations(Results(run))["digits_cnn"]["igsm"]
    assert run.answers is not None
    assert run.answers.restorations["digits_cnn"]["igsm"] == found
    stored = Results(run).carried(IGSM)
    assert found.n == stored.sizes["sample"]
    assert found.restored["integrated"][0].mean[-1] == 1
    (most, often), *_ = found.carriers[0]
    assert often == pytest.approx(stored["smallest"].values[:, 0, most].mean(), abs=1e-6)


# Q6 -----------------------------------------------------------------------------------------------

N, TAPS = 400, 4
COUNT = np.tile([1, 2, 4, 8, 16], (TAPS, 1))
NAMES = (*DEFAULT_RANKINGS, *CONTROLS)


class Planted(Results):
    """Curves of invented inputs: with a quarter of the maps this share returns, by ranking."""

    def __init__(self, share: dict[str, float], worst: dict[str, float] | None = None) -> None:
        self.spec = SPEC.model_copy(update={"attacks": SPEC.attacks[:1]})
        self.run = SimpleNamespace(cells=cells_of(self.spec))  # type: ignore[assignment]
        hard = np.random.default_rng(5).random((N, TAPS, 1))
        curves = np.zeros((N, TAPS, len(NAMES), 5), np.float32)
        for r, name in enumerate(NAMES):
            level = np.full(TAPS, share[name])
            level[-1] = (worst or share).get(name, share[name])
            for place, power in enumerate((4.0, 2.0, 1.0, 0.5, 0.0)):
                noise = np.random.default_rng([r, place]).random((N, TAPS, 1))
                mixed = (0.5 * hard + 0.5 * noise)[..., 0]
                cut = np.quantile(mixed, level**power, axis=0)
                curves[:, :, r, place] = mixed <= np.diag(cut)
        self.data = xr.Dataset(
            {
                "restored": (("sample", "tap", "ranking", "place"), curves),
                "count": (("tap", "place"), COUNT),
            },
            coords={"tap": [f"t{k}" for k in range(TAPS)], "ranking": list(NAMES)},
        )

    def carried(self, cell: Cell) -> xr.Dataset:
        return self.data


SHARES = {
    "integrated": 0.8, "attribution": 0.6, "change": 0.4, "drift": 0.1, "random": 0.1,
    "matched": 0.3,
}  # fmt: skip


def ask(results: Results) -> dict[str, Claim]:
    claims = QUESTIONS["q6"].claims(results, np.random.default_rng(0))
    words = ("as many", "as much", "by size", "more than size", "at the end", "rival")
    assert len(claims) == len(words)
    assert all(claim.rule in RULES for claim in claims)
    return dict(zip(words, claims, strict=True))


def test_q6_supports_what_is_planted() -> None:
    verdicts = {words: claim.verdict for words, claim in ask(Planted(SHARES)).items()}
    assert set(verdicts.values()) == {"supported"}, verdicts


def test_q6_says_no_where_nothing_is_planted() -> None:
    """All rankings alike: neither beyond random maps, nor better than one another."""
    told = ask(Planted(dict.fromkeys(SHARES, 0.3)))
    assert [claim.verdict for claim in told.values()][:2] == ["contradicted", "contradicted"]
    assert "supported" not in {told[w].verdict for w in ("by size", "more than size", "at the end")}


def test_one_tap_where_few_maps_do_no_more_than_random_ones_decides() -> None:
    told = ask(Planted(SHARES, worst={**SHARES, "integrated": 0.3, "matched": 0.3}))
    assert told["as many"].verdict in ("supported", "inconclusive")
    assert told["as much"].verdict == "contradicted"
    assert "at t3" in told["as much"].sentence


def test_information_that_ranks_better_than_random_is_not_overlooked() -> None:
    told = ask(Planted({**SHARES, "drift": 0.5}))["rival"]
    assert told.verdict == "contradicted"
    assert (told.numbers[0].value or 0) > 0.1


def test_what_q6_needs() -> None:
    plain = SPEC.model_copy(update={"carriers": False})
    with pytest.raises(BadInput, match="carriers: true"):
        QUESTIONS["q6"].cells(plain)
    with pytest.raises(ValueError, match="rankings, each once"):
        StudySpec(**{**SPEC.plain(), "carriers": ["drift", "drift"]})


def test_shares_without_any_spread_have_an_interval() -> None:
    """Everything returns, whatever is put back: nothing is beyond random, and that is certain."""
    told = everywhere(np.zeros((60, 3)), RESTORES)
    assert told.verdict == "contradicted"
    assert told.low < 0 < told.high
    assert everywhere(np.zeros((14, 3)), RESTORES).verdict == "inconclusive"
    assert everywhere(np.zeros((11, 3)), RESTORES).reason.startswith("11 inputs")
    assert everywhere(np.ones((60, 3)), RESTORES).verdict == "supported"


# The command --------------------------------------------------------------------------------------


def test_the_command_prints_layers_and_ends_with_the_report(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from undertow.cli import run as command

    asked = ["carriers", "--model", "digits_cnn", "--data", "digits", "--inputs", "6", "-q"]
    asked += ["--set", "epsilon=0.3", "--set", "stop=false", "--ranking", "change"]
    assert command([*asked, "--out", str(tmp_path / "run"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["layer"] == open_run(tmp_path / "run").carriers(IGSM)["tap"].values[0]
    assert command([*asked, "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == str(tmp_path / "run" / "report.html")
    assert "integrated" not in "".join(said)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--set", "epsilon=0.0001"], "nothing to restore: IGSM changed the answer to 0 of 4"),
        (["--ranking", "size"], "unknown ranking 'size'"),
        (["--attack", "noise"], "is a control without steps"),
    ],
)
def test_bad_commands(
    more: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from undertow.cli import run as command

    asked = ["carriers", "--model", "digits_cnn", "--data", "digits", "--inputs", "4", "-q"]
    assert command([*asked, "--out", str(tmp_path / "run"), *more]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists(), "the corrected command would be refused"


def test_runs_of_other_settings_do_not_stand_in_each_others_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {"model": "digits_cnn", "attack": "igsm", "data": "digits", "inputs": 4}
    with pytest.raises(BadInput, match="nothing to restore"):
        run_carriers(**given, settings={"epsilon": 1e-4})
    found = run_carriers(**given, settings={"epsilon": 0.3, "stop": False})
    assert found.path.name.startswith("carriers-digits_cnn-igsm-")
