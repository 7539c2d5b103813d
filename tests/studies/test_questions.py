"""Questions answered from planted results whose truth is known."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from undertow.axes import PROFILES
from undertow.errors import BadInput
from undertow.store import BENIGN, Cell, Claim
from undertow.studies.answered.questions import QUESTIONS
from undertow.studies.answered.questions.q5 import NEGLIGIBLE
from undertow.studies.answered.results import Results
from undertow.studies.asked.plan import NOISE, cells_of
from undertow.studies.asked.spec import StudySpec
from undertow.studies.names import settled

N, TAPS = 200, 6
TRIO = ("good_init", "deep_conv", "vgg_like")
SPEC = StudySpec(
    name="planted",
    models=(*TRIO, "good_init/trimmed", "good_init/distilled"),
    compressed={"good_init": "good_init/trimmed"},
    data={"inputs": N},
    attacks=(
        {"name": "jsma", "models": (*TRIO, "good_init/trimmed"),
         "read_by": (*TRIO, "good_init/trimmed")},
        {"name": "jsma", "label": "regular", "models": ("good_init/distilled",),
         "settings": {"outputs": "softmax"}},
        {"name": "jsma", "label": "adaptive", "models": ("good_init/distilled",),
         "settings": {"adaptive": True}},
        {"name": "ensemble", "models": TRIO},
        {"name": "ensemble", "label": "two", "models": TRIO[:2], "read_by": TRIO[2:]},
    ),
    questions=("q3", "q4", "q5"),
)  # type: ignore[arg-type]  # fmt: skip

Shift = Callable[[Cell, str], float | np.ndarray]
Hits = Callable[[Cell], np.ndarray]


class Planted(Results):
    """Results whose profiles are benign ones plus a shift, in benign standard deviations."""

    def __init__(self, shift: Shift, hits: Hits) -> None:
        self.spec, self.suffix = SPEC, ""
        self.run = SimpleNamespace(cells=cells_of(SPEC))  # type: ignore[assignment]
        self.shift, self.hits = shift, hits
        self.estimator = "gaussian_copula"
        self._read = {}

    def under(self, estimator: str) -> Planted:
        other = Planted(self.shift, self.hits)
        other.estimator = estimator
        other.suffix = "" if estimator == self.spec.estimator else f"@{estimator}"
        return other

    def _load(self, group: str, cell: Cell, index: int | None = None) -> xr.Dataset:
        if group == "attacks":
            return xr.Dataset({
                "success": ("sample", self.hits(cell)), "l2": ("sample", np.ones(N)),
                "stalled": ("sample", ~self.hits(cell)),
            })  # fmt: skip
        # What differs between inputs is common to all cells: comparisons are paired.
        own = np.random.default_rng(0).normal(size=(N, TAPS))
        noise = np.random.default_rng(zlib.crc32(cell.slug.encode())).normal(0, 0.05, (N, TAPS))
        still = 0.0 if cell.benign else 1.0
        values = own + still * (noise + np.reshape(self.shift(cell, self.estimator), (-1, 1)))
        names = [f"{p}{s}" for p in PROFILES for s in ("", "@binned")]
        return xr.Dataset(
            dict.fromkeys(names, (("sample", "tap"), values)),
            coords={"tap": [f"t{i}" for i in range(TAPS)]},
        )


def _only(rate: float, of: int = N) -> np.ndarray:
    """The first inputs hit, so that rates are exact."""
    return np.arange(N) < round(rate * of)


def _ask(question: str, shift: Shift, hits: Hits) -> tuple[Claim, ...]:
    planted = Planted(shift, hits)
    return QUESTIONS[question].claims(planted, np.random.default_rng(1))


def _all(cell: Cell) -> np.ndarray:
    return _only(0.0 if cell.control_of else 1.0)


@pytest.mark.parametrize(
    ("far", "near", "verdict"), [(2.0, 0.5, "supported"), (0.5, 2.0, "contradicted")]
)
def test_q3_finds_the_attack_that_deviates_further(far: float, near: float, verdict: str) -> None:
    def shift(cell: Cell, _: str) -> float:
        return {"adaptive": far, "regular": near}.get(cell.attack, 0.0)

    further, _, beyond = _ask("q3", shift, _all)
    assert further.verdict == verdict
    assert beyond.verdict == "supported"
    assert further.control is not None
    assert abs(further.control.numbers[0].value or 0) < 0.5
    assert further.numbers[0].n == N


def test_q3_counts_success_and_stalling() -> None:
    def hits(cell: Cell) -> np.ndarray:
        return _only({"adaptive": 0.9, "regular": 0.1}.get(cell.attack, 0.0))

    claim = _ask("q3", lambda *_: 1.0, hits)[1]
    assert claim.verdict == "supported"
    rates = {x.name: x.value for x in claim.numbers}
    assert rates["success, adaptive"] == pytest.approx(0.9)
    assert rates["success, regular"] == pytest.approx(0.1)
    assert rates["stalled, regular"] == pytest.approx(0.9)
    assert rates["adaptive − regular, success"] == pytest.approx(0.8)


def test_a_verdict_must_hold_under_both_estimators() -> None:
    def shift(cell: Cell, estimator: str) -> float:
        one, other = ("adaptive", "regular") if estimator == "binned" else ("regular", "adaptive")
        return {one: 0.5, other: 2.0}.get(cell.attack, 0.0)

    assert _ask("q3", shift, _all)[0].verdict == "inconclusive"


@pytest.mark.parametrize(
    ("original", "compressed", "verdict"),
    [(2.0, 1.0, "supported"), (1.0, 2.0, "contradicted")],
)
def test_q4_finds_the_model_that_shifts_more(
    original: float, compressed: float, verdict: str
) -> None:
    def shift(cell: Cell, _: str) -> float:
        if cell.control_of:
            return 0.0
        return original if cell.model == "good_init" else compressed

    direct, crosswise, _ = _ask("q4", shift, _all)
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

    claim = _ask("q4", lambda *_: 1.0, hits)[2]
    assert claim.verdict == verdict
    gap, one, other = claim.numbers
    assert gap.value == pytest.approx(there - back, abs=1e-9)
    assert (one.value, other.value) == (pytest.approx(there), pytest.approx(back, abs=0.005))


def test_q4_counts_transfer_among_inputs_that_fooled_their_own_model() -> None:
    def hits(cell: Cell) -> np.ndarray:
        return _only({None: 0.5}.get(cell.source, 0.25)) & (cell.control_of is None)

    assert _ask("q4", lambda *_: 1.0, hits)[2].numbers[1].value == pytest.approx(0.5)


def test_q5_compares_models_aimed_at_with_others() -> None:
    def shift(cell: Cell, _: str) -> float:
        return 0.0 if cell.control_of else 2.0 if cell.source is None else 1.0

    assert _ask("q5", shift, _all)[0].verdict == "supported"
    claim = _ask("q5", lambda c, e: -shift(c, e), _all)[0]
    assert claim.verdict == "supported"  # how far, whichever way


def test_q5_compares_inputs_that_transfer_with_those_that_do_not() -> None:
    moved = np.arange(N) % 2 == 0

    def hits(cell: Cell) -> np.ndarray:
        return moved if cell.source else _all(cell)

    def shift(cell: Cell, _: str) -> np.ndarray:
        return np.zeros(N) if cell.control_of else np.where(moved, 2.0, 1.0)

    claim = _ask("q5", shift, hits)[1]
    assert claim.verdict == "supported"
    assert claim.control is not None
    assert claim.control.numbers[0].low < 0 < claim.control.numbers[0].high  # type: ignore[operator]
    none = _ask("q5", lambda *_: np.ones(N), hits)[1]
    assert none.verdict == "inconclusive"


@pytest.mark.parametrize(
    ("share", "verdict"),
    [(0.0, "supported"), (0.3, "contradicted"), (NEGLIGIBLE, "inconclusive")],
)
def test_q5_looks_for_transfer_from_deep_conv(share: float, verdict: str) -> None:
    def hits(cell: Cell) -> np.ndarray:
        aimed = cell.source == "deep_conv" and cell.control_of is None
        return _only(share) if aimed else _all(cell)

    claim = next(c for c in _ask("q5", lambda *_: 1.0, hits) if "deep_conv" in c.claim)
    assert claim.verdict == verdict


def test_q5_asks_whether_an_ensemble_transfers_to_members_and_to_others() -> None:
    def hits(cell: Cell) -> np.ndarray:
        attack = cell.control_of or cell.attack
        if cell.control_of:
            return _only(0.0)
        if attack in ("ensemble", "two"):
            return _only(0.8)
        return _only(1.0 if cell.source is None else 0.1)

    *_, together, unseen = _ask("q5", lambda *_: 1.0, hits)
    assert "together" in together.claim
    assert together.verdict == "supported"
    assert together.numbers[0].value == pytest.approx(0.7)
    assert "not among" in unseen.claim
    assert unseen.verdict == "supported"
    assert unseen.numbers[0].value == pytest.approx(0.7)


@pytest.mark.parametrize("question", ["q3", "q4", "q5"])
def test_a_claim_is_rarely_supported_where_nothing_is_to_be_found(question: str) -> None:
    """Same shift everywhere: nothing about shifts may be called supported."""

    def hits(cell: Cell) -> np.ndarray:
        return (np.random.default_rng(3).random(N) < 0.5) if cell.source else _all(cell)

    words = {"q3": "deviate", "q4": "shift", "q5": "OIPs"}[question]
    claims = [c for c in _ask(question, lambda *_: 1.0, hits) if words in c.claim]
    assert claims
    for claim in claims:
        if "(ours)" not in claim.claim:
            assert claim.verdict == "inconclusive", claim.sentence


@pytest.mark.parametrize(
    ("question", "change", "words"),
    [
        ("q3", {"attacks": ({"name": "jsma"},)}, "adaptive"),
        ("q4", {"compressed": {}}, "compressed"),
        ("q4", {"attacks": ({"name": "jsma"},)}, "read_by"),
        ("q5", {"attacks": ({"name": "jsma"},)}, "read_by"),
        ("q1", {"attacks": ({"name": "jsma", "control": False},)}, "control"),
    ],
)
def test_a_study_that_cannot_answer_a_question_is_refused(
    question: str, change: dict[str, Any], words: str
) -> None:
    spec = StudySpec(**{**SPEC.plain(), **change, "questions": (question,)})
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
    assert Cell("vgg_like", NOISE + "two", "good_init+deep_conv") in cells
    assert Cell("vgg_like", "two") not in cells


def test_much_further_needs_more_than_significance() -> None:
    """A gap that is certain but small against its own spread does not support Q3's "much"."""
    small = np.random.default_rng(5).normal(0.3, 1.0, N)

    def shift(cell: Cell, _: str) -> np.ndarray:
        return 3.0 + (small / TAPS**0.5 / 3**0.5 if cell.attack == "adaptive" else np.zeros(N))

    claim = _ask("q3", shift, _all)[0]
    assert (claim.numbers[0].low or 0) > 0
    assert (claim.numbers[0].value or 0) < 0.5
    assert claim.verdict == "inconclusive"
