"""Questions answered from planted results whose truth is known."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from undertow.axes import PROFILES
from undertow.errors import BadInput
from undertow.statistics.simulated import RULES
from undertow.store import BENIGN, Cell, Claim
from undertow.studies.answered.questions import QUESTIONS
from undertow.studies.answered.questions.q1 import growth, turning
from undertow.studies.answered.results import Followed, Results
from undertow.studies.asked.plan import cells_of
from undertow.studies.asked.spec import StudySpec
from undertow.studies.names import settled

N, TAPS, CLASSES = 200, 6, 4
TRIO = ("good_init", "deep_conv", "vgg_like")
SPEC = StudySpec(
    name="planted",
    models=(*TRIO, "good_init/trimmed", "good_init/distilled"),
    compressed={"good_init": "good_init/trimmed"},
    data={"inputs": N},
    attacks=(
        {"name": "jsma", "models": (*TRIO, "good_init/trimmed"),
         "read_by": (*TRIO, "good_init/trimmed")},
        {"name": "jsma", "label": "soft", "models": ("good_init/distilled",),
         "settings": {"outputs": "softmax"}},
        {"name": "jsma", "label": "regular", "models": ("good_init/distilled",)},
        {"name": "jsma", "label": "adaptive", "models": ("good_init/distilled",),
         "settings": {"adaptive": True}},
        {"name": "igsm", "models": ("good_init",), "read_by": TRIO, "match_l2": 2.0},
        {"name": "fgsm", "models": ("good_init",)},
        {"name": "ensemble", "models": TRIO, "match_l2": 2.0,
         "settings": {"attack": {"name": "igsm"}}},
        {"name": "ensemble", "label": "two", "models": TRIO[:2], "read_by": TRIO[2:],
         "match_l2": 2.0, "settings": {"attack": {"name": "igsm"}}},
    ),
    readers=0,
    exemplar_attack="igsm",
    questions=("q1", "q2", "q3", "q4", "q5"),
)  # type: ignore[arg-type]  # fmt: skip

STRENGTHS: dict[str, Any] = {"adaptive": {"sanity": []}}
Shift = Callable[[Cell, str], float | np.ndarray]
Hits = Callable[[Cell], np.ndarray]


class Planted(Results):
    """Results whose profiles are benign ones plus a shift, in benign standard deviations.

    ``drift`` is added to the flow towards the rival, class 1, and taken from the true class 0.
    """

    def __init__(self, shift: Shift, hits: Hits, drift: Shift = lambda *_: 0.0) -> None:
        self.spec, self.suffix, self.null = SPEC, "", None
        self.run = SimpleNamespace(  # type: ignore[assignment]
            cells=cells_of(SPEC), manifest={"strengths": {"good_init/distilled": STRENGTHS}}
        )
        self.shift, self.hits, self.lean = shift, hits, drift
        self.estimator = "gaussian_copula"
        self._read = {}
        self.made: dict[tuple[str, Cell, str], xr.Dataset] = {}

    def under(self, estimator: str, null: str | None = None) -> Planted:
        other = Planted(self.shift, self.hits, self.lean)
        other.estimator, other.null, other.made = estimator, null, self.made
        other.suffix = "" if estimator == self.spec.estimator else f"@{estimator}"
        return other

    def _load(self, group: str, cell: Cell, index: int | None = None) -> xr.Dataset:
        key = (group, cell, self.estimator)
        if key not in self.made:
            self.made[key] = self._make(group, cell)
        return self.made[key]

    def _make(self, group: str, cell: Cell) -> xr.Dataset:
        if group == "attacks":
            margin = np.random.default_rng(9).normal(size=N)
            logits = np.column_stack([margin, np.zeros(N), np.full((N, CLASSES - 2), -50)])
            return xr.Dataset({
                "success": ("sample", self.hits(cell)), "l2": ("sample", np.ones(N)),
                "stalled": ("sample", ~self.hits(cell)),
                "label": ("sample", np.zeros(N, int)), "rival": ("sample", np.ones(N, int)),
                "logits": (("sample", "class"), logits),
            })  # fmt: skip
        # What differs between inputs is common to all cells: comparisons are paired.
        own = np.random.default_rng(0).normal(size=(N, TAPS))
        noise = np.random.default_rng(zlib.crc32(cell.slug.encode())).normal(0, 0.05, (N, TAPS))
        still = 0.0 if cell.benign else 1.0
        values = own + still * (noise + np.reshape(self.shift(cell, self.estimator), (-1, 1)))
        tilt = still * (noise + np.reshape(self.lean(cell, self.estimator), (-1, 1)))
        flow = np.repeat(own[:, :, None], CLASSES, axis=2)
        flow[:, :, 0] -= tilt
        flow[:, :, 1] += tilt
        estimators = ("", "@binned")
        found = {f"{p}{s}": (("sample", "tap"), values)
                 for p in (*PROFILES, "oip_shift") for s in estimators}  # fmt: skip
        found |= {f"flow{s}": (("sample", "tap", "class"), flow) for s in estimators}
        return xr.Dataset(
            found,
            coords={
                "tap": [f"t{i}" for i in range(TAPS)],
                "depth": ("tap", (np.arange(TAPS) + 1) / (TAPS + 1)),
            },
        )


def _only(rate: float, of: int = N) -> np.ndarray:
    """The first inputs hit, so that rates are exact."""
    return np.arange(N) < round(rate * of)


def _ask(
    question: str, shift: Shift, hits: Hits, drift: Shift = lambda *_: 0.0
) -> tuple[Claim, ...]:
    claims = QUESTIONS[question].claims(Planted(shift, hits, drift), np.random.default_rng(1))
    assert {claim.rule for claim in claims} <= set(RULES), "every rule has simulated error rates"
    assert all(claim.reason for claim in claims)
    return claims


def _spread(cell: Cell, mean: float) -> np.ndarray:
    """Shifts that vary between inputs, as they do: differences then have a width."""
    return np.random.default_rng(zlib.crc32(b"x" + cell.slug.encode())).normal(mean, 0.3, N)


def _all(cell: Cell) -> np.ndarray:
    return _only(0.0 if cell.control_of else 1.0)


@pytest.mark.parametrize(
    ("far", "near", "verdict"), [(2.0, 0.5, "supported"), (0.5, 2.0, "contradicted")]
)
def test_q3_finds_the_attack_that_deviates_further(far: float, near: float, verdict: str) -> None:
    def shift(cell: Cell, _: str) -> np.ndarray:
        return _spread(cell, {"adaptive": far, "regular": near}.get(cell.attack, 0.1))

    further, softly, _, _, beyond = _ask("q3", shift, _all)
    assert "the regular attack" in further.claim
    assert "softmax" in softly.claim
    assert further.verdict == verdict
    assert softly.verdict == ("supported" if far == 2 else "inconclusive")
    assert beyond.verdict == "supported"
    assert beyond.control is not None
    assert [x.name for x in beyond.control.numbers] == [
        "beyond noise", "beyond spectrum", "beyond transplant"
    ]  # fmt: skip
    assert further.numbers[0].n == N


def test_q3_is_told_beyond_each_attacks_transplant() -> None:
    """An adaptive attack whose transplant moves as far as it does deviates no further."""

    def shift(cell: Cell, _: str) -> np.ndarray:
        return _spread(cell, 2.0 if "adaptive" in cell.attack else 0.5)

    further, *_, beyond = _ask("q3", shift, _all)
    assert further.verdict != "supported"
    assert beyond.verdict != "supported"


def test_q3_counts_success_and_stalling() -> None:
    def hits(cell: Cell) -> np.ndarray:
        return _only({"adaptive": 0.9, "regular": 0.1}.get(cell.attack, 0.0))

    claim = _ask("q3", lambda *_: 1.0, hits)[2]
    assert claim.verdict == "supported"
    assert "the adaptive attack alone fools more" in claim.reason
    rates = {x.name: x.value for x in claim.numbers}
    assert rates["success, adaptive"] == pytest.approx(0.9)
    assert rates["success, regular"] == pytest.approx(0.1)
    assert rates["stalled, regular"] == pytest.approx(0.9)
    assert rates["adaptive − regular, success"] == pytest.approx(0.8)


def test_q3_does_not_call_a_defence_sound_on_an_attack_that_fails_a_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hits(cell: Cell) -> np.ndarray:
        return _only({"adaptive": 0.2, "regular": 0.1}.get(cell.attack, 0.0))

    assert _ask("q3", lambda *_: 1.0, hits)[2].verdict == "contradicted"
    row = {"check": "success without a bound", "value": 0.1, "against": 1.0, "holds": False}
    monkeypatch.setitem(STRENGTHS["adaptive"], "sanity", [row])
    claim = _ask("q3", lambda *_: 1.0, hits)[2]
    assert claim.verdict == "inconclusive"
    assert "not to be trusted: success without a bound 10 %" in claim.reason
    assert "passes 0 of 1 checks" in claim.sentence


def test_a_verdict_must_hold_under_both_estimators() -> None:
    def shift(cell: Cell, estimator: str) -> np.ndarray:
        one, other = ("adaptive", "regular") if estimator == "binned" else ("regular", "adaptive")
        return _spread(cell, {one: 0.5, other: 2.0}.get(cell.attack, 0.1))

    claim = _ask("q3", shift, _all)[0]
    assert claim.verdict == "inconclusive"
    assert claim.reason.startswith("not the same under all: supported (gaussian_copula)")


@pytest.mark.parametrize(
    ("original", "compressed", "verdict"),
    [(2.0, 1.0, "supported"), (1.0, 2.0, "contradicted")],
)
def test_q4_finds_the_model_that_shifts_more(
    original: float, compressed: float, verdict: str
) -> None:
    def shift(cell: Cell, _: str) -> np.ndarray:
        size = original if cell.model == "good_init" else compressed
        return _spread(cell, 0.1 if cell.control_of else size)

    direct, crosswise, *_ = _ask("q4", shift, _all)
    assert direct.verdict == crosswise.verdict == verdict


@pytest.mark.parametrize(
    ("there", "back", "verdict"),
    [(0.6, 0.2, "supported"), (0.2, 0.6, "contradicted"), (0.4, 0.41, "inconclusive")],
)
def test_q4_compares_transfer_both_ways(there: float, back: float, verdict: str) -> None:
    def hits(cell: Cell) -> np.ndarray:
        if cell.control_of or cell.source is None:
            return _only(0.0 if cell.control_of else 1.0)
        return _only(there if cell.model == "good_init/trimmed" else back)

    *_, claim, onto = _ask("q4", lambda *_: 1.0, hits)
    assert claim.verdict == verdict
    opposite = {"supported": "contradicted", "contradicted": "supported"}
    assert onto.verdict == opposite.get(verdict, verdict), "the other reading"
    gap, one, other = claim.numbers
    assert gap.value == pytest.approx(there - back, abs=1e-9)
    assert (one.value, other.value) == (pytest.approx(there), pytest.approx(back, abs=0.005))


def test_q4_counts_transfer_among_inputs_that_fooled_their_own_model() -> None:
    def hits(cell: Cell) -> np.ndarray:
        return _only({None: 0.5}.get(cell.source, 0.25)) & (cell.control_of is None)

    assert _ask("q4", lambda *_: 1.0, hits)[2].numbers[1].value == pytest.approx(0.5)


def test_q5_compares_models_aimed_at_with_others() -> None:
    def shift(cell: Cell, _: str) -> np.ndarray:
        return _spread(cell, 0.1 if cell.control_of else 2.0 if cell.source is None else 1.0)

    assert _ask("q5", shift, _all)[0].verdict == "supported"
    claim = _ask("q5", lambda c, e: -shift(c, e), _all)[0]
    assert claim.verdict == "supported"  # how far, whichever way


def test_q5_compares_inputs_that_transfer_with_those_that_do_not() -> None:
    moved = np.random.default_rng(4).random(N) < 0.5

    def hits(cell: Cell) -> np.ndarray:
        return moved if cell.source else _all(cell)

    def shift(cell: Cell, _: str) -> np.ndarray:
        return _spread(cell, 0.1) if cell.control_of else _spread(cell, 1.0) + moved

    claim = _ask("q5", shift, hits)[1]
    assert claim.verdict == "supported"
    assert (claim.numbers[0].value or 0) > 0.5
    none = _ask("q5", lambda c, _: _spread(c, 1.0), hits)[1]
    assert none.verdict != "supported"


def test_q5_takes_off_what_the_benign_margin_tells() -> None:
    """Shift and transfer that only both go with the margin support nothing."""
    margin = np.random.default_rng(9).normal(size=N)
    luck = np.random.default_rng(10).normal(size=N)

    def hits(cell: Cell) -> np.ndarray:
        return margin + luck < 0 if cell.source else _all(cell)

    def shift(cell: Cell, _: str) -> np.ndarray:
        return _spread(cell, 0.1) if cell.control_of else _spread(cell, 2.0) - 0.7 * margin

    _, transferable, gained, *_ = _ask("q5", shift, hits)
    assert transferable.verdict != "supported"
    assert gained.verdict != "supported"


def test_q5_says_what_the_flow_adds_to_the_margin() -> None:
    moved = np.random.default_rng(4).random(N) < 0.5

    def hits(cell: Cell) -> np.ndarray:
        return moved if cell.source else _all(cell)

    def drift(cell: Cell, _: str) -> np.ndarray:
        return _spread(cell, 0.0) + (1.5 * moved if not cell.control_of else 0)

    claim = _ask("q5", lambda c, _: _spread(c, 1.0), hits, drift)[2]
    assert claim.verdict == "supported"
    alone, both = (x.value or 0.0 for x in claim.numbers[-2:])
    assert alone < 0.65
    assert both > 0.9


@pytest.mark.parametrize(
    ("share", "verdict"),
    [(0.0, "inconclusive"), (0.01, "supported"), (0.3, "contradicted"), (0.06, "inconclusive")],
)
def test_q5_looks_for_transfer_from_deep_conv(share: float, verdict: str) -> None:
    """Nothing at all has no interval, so nothing is said of it."""

    def hits(cell: Cell) -> np.ndarray:
        aimed = cell.source == "deep_conv" and cell.control_of is None
        return _only(share) if aimed else _all(cell)

    claim = next(c for c in _ask("q5", lambda *_: 1.0, hits) if "from deep_conv" in c.claim)
    assert claim.verdict == verdict


@pytest.mark.parametrize(("others", "verdict"), [(0.5, "supported"), (0.02, "contradicted")])
def test_q5_contrasts_deep_conv_with_the_other_sources(others: float, verdict: str) -> None:
    def hits(cell: Cell) -> np.ndarray:
        if cell.control_of or cell.source is None:
            return _all(cell)
        return _only(0.2 if cell.source == "deep_conv" else others)

    claim = next(c for c in _ask("q5", lambda *_: 1.0, hits) if "Fewer" in c.claim)
    assert claim.verdict == verdict


@pytest.mark.parametrize(("alone", "verdict"), [(0.1, "supported"), (0.95, "contradicted")])
def test_q5_holds_an_ensemble_against_the_same_attack_on_one_member(
    alone: float, verdict: str
) -> None:
    def hits(cell: Cell) -> np.ndarray:
        attack = cell.control_of or cell.attack
        if cell.control_of:
            return _only(0.0)
        if attack in ("ensemble", "two"):
            return _only(0.8)
        return _only(alone if cell.source and attack == "igsm" else 1.0)

    *_, together, unseen = _ask("q5", lambda *_: 1.0, hits)
    assert "together" in together.claim
    assert together.verdict == verdict
    assert together.numbers[0].name == "ensemble − igsm on good_init"
    assert together.numbers[0].value == pytest.approx(0.8 - alone)
    assert "not among" in unseen.claim
    assert unseen.verdict == verdict


def test_q5_says_so_where_there_is_no_such_attack_on_one_member() -> None:
    from undertow.studies.answered.questions import q5

    ensemble = SPEC.attack("ensemble").model_copy(update={"match_l2": 1.0})
    claim = q5._together(Planted(lambda *_: 1.0, _all), ensemble, TRIO, seen=True)
    assert (claim.verdict, claim.numbers[0].name) == ("inconclusive", "ensemble")
    assert "no such attack on one member" in claim.reason


def _followed(n: int, grows: float, seed: int = 0) -> tuple[Followed, ...]:
    rng = np.random.default_rng(seed)
    step = np.arange(11)
    return tuple(
        Followed(
            i,
            step,
            np.append(0.0, rng.normal(5 + grows * step[1:], 1.0)),
            step - 5.5,
            step * 1.0,
            True,
        )
        for i in range(n)
    )


def test_growth_leaves_step_0_out() -> None:
    """A difference that jumps at the first step and never grows again: no rank correlation."""
    flat = growth(_followed(400, 0.0))
    assert abs(flat.mean()) < 3 / 20  # three standard errors of 400 coefficients of 10 steps
    assert growth(_followed(50, 2.0)).min() > 0.9


def test_growth_is_told_beyond_the_control_of_each_steps_norm() -> None:
    attack, control = _followed(100, 2.0), _followed(100, 2.0, seed=1)
    assert growth(attack).mean() > 0.9
    assert abs(growth(attack, control).mean()) < 0.1
    assert growth(attack, _followed(100, 0.5, seed=1)).mean() > 0.7


def test_a_short_trajectory_says_nothing_of_growth() -> None:
    step = np.arange(3)
    assert len(growth((Followed(0, step, step * 1.0, step * 1.0, step * 1.0, True),))) == 0


def test_a_trajectory_whose_control_falls_short_of_its_norm_is_left_out() -> None:
    attack, control = _followed(2, 2.0), _followed(2, 0.0, seed=1)
    short = replace(control[1], l2=control[1].l2 * 0.9)
    assert len(growth(attack, control)) == 2
    assert len(growth(attack, (control[0], short))) == 1


def test_where_along_the_path_the_flow_turns() -> None:
    assert turning(_followed(2, 0.0)).tolist() == [0.6, 0.6]
    step = np.arange(5)
    back = Followed(0, step, step * 1.0, np.array([1, 1, 1, 1, -1.0]), step * 1.0, True)
    assert np.isnan(turning((back,))).all()


def test_q2_holds_attacks_beyond_their_own_transplants() -> None:
    def apart(cell: Cell, _: str) -> np.ndarray:
        return _spread(cell, {"fgsm": 2.0, "igsm": 0.5}.get(cell.attack, 0.1))

    def together(cell: Cell, _: str) -> np.ndarray:
        return _spread(cell, 2.0 if "fgsm" in cell.attack else 0.1)

    differ, ours, beyond, *_ = _ask("q2", apart, _all)
    assert differ.verdict == "supported"
    assert "(ours" in ours.claim
    assert beyond.rule == "exists"
    differ, _, beyond, *_ = _ask("q2", together, _all)
    assert differ.verdict == "contradicted", "FGSM's transplant does the same as FGSM"
    assert beyond.verdict != "supported"


@pytest.mark.parametrize(("lean", "verdict"), [(0.6, "supported"), (-0.6, "contradicted")])
def test_drift_of_every_attack(lean: float, verdict: str) -> None:
    def drift(cell: Cell, _: str) -> np.ndarray:
        return _spread(cell, 0.1 if cell.control_of else lean)

    found = {c.claim: c for c in _ask("q2", lambda c, _: _spread(c, 0.1), _all, drift)}
    claim = found["Every attack turns the flow towards its adversarial class (ours)."]
    assert claim.verdict == verdict


@pytest.mark.parametrize("question", ["q3", "q4", "q5"])
def test_a_claim_is_rarely_supported_where_nothing_is_to_be_found(question: str) -> None:
    """Same shift everywhere: nothing about shifts may be called supported."""

    def hits(cell: Cell) -> np.ndarray:
        return (np.random.default_rng(3).random(N) < 0.5) if cell.source else _all(cell)

    words = {"q3": "deviate", "q4": "shift", "q5": "OIPs"}[question]
    claims = [c for c in _ask(question, lambda c, _: _spread(c, 1.0), hits) if words in c.claim]
    assert claims
    for claim in claims:
        assert claim.verdict != "supported", claim.sentence


@pytest.mark.parametrize(
    ("question", "change", "words"),
    [
        (
            "q3",
            {"attacks": ({"name": "jsma"},), "models": ("good_init",), "compressed": {}},
            "adaptive",
        ),
        ("q4", {"compressed": {}}, "compressed"),
        ("q4", {"attacks": ({"name": "jsma"},)}, "read_by"),
        ("q5", {"attacks": ({"name": "jsma"},)}, "read_by"),
        ("q1", {"attacks": ({"name": "jsma", "control": False},)}, "its transplant"),
        ("q2", {"attacks": ({"name": "jsma", "control": ("noise",)},)}, "its transplant"),
    ],
)
def test_a_study_that_cannot_answer_a_question_is_refused(
    question: str, change: dict[str, Any], words: str
) -> None:
    plain = {**SPEC.plain(), "exemplar_attack": None}
    spec = StudySpec(**{**plain, **change, "questions": (question,)})
    with pytest.raises(BadInput, match=words):
        settled(spec)


def test_every_question_names_only_cells_of_the_study() -> None:
    planned = set(cells_of(SPEC))
    for question in ("q3", "q4", "q5"):
        needed = QUESTIONS[question].cells(SPEC)
        assert set(needed) <= planned
        assert any(c.control_of for c in needed)
        assert any(c.attack == BENIGN for c in needed)


def test_an_ensemble_is_one_aim_and_its_members_read_it_as_aimed_at_them() -> None:
    cells = cells_of(SPEC)
    assert Cell("good_init", "ensemble") in cells
    assert Cell("vgg_like", "two", "good_init+deep_conv") in cells
    assert Cell("vgg_like", "noise:two", "good_init+deep_conv") in cells
    assert Cell("vgg_like", "two") not in cells


def test_much_further_needs_more_than_significance() -> None:
    """A gap that is certain but small against its own spread does not support Q3's "much"."""
    small = np.random.default_rng(5).normal(0.3, 1.0, N)

    def shift(cell: Cell, _: str) -> np.ndarray:
        return 3.0 + (small if cell.attack == "adaptive" else np.zeros(N))

    claim = _ask("q3", shift, _all)[0]
    assert (claim.numbers[0].low or 0) > 0
    assert (claim.numbers[0].value or 0) < 0.5
    assert claim.verdict == "inconclusive"
