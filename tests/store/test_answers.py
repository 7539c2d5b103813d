from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertow.errors import BadInput, Foreign
from undertow.store import Answer, Answers, Claim, Number, curve_key, split_key

CURVE = {"depth": [0, 1], "mean": [1, 2], "low": [0, 1], "high": [2, 3]}


def _answers(**more: object) -> Answers:
    claim = {
        "claim": "c",
        "verdict": "supported",
        "sentence": "s",
        "numbers": [{"name": "x", "value": 1.5, "n": 3}],
    }
    questions = [{"id": "q1", "question": "?", "claims": [claim]}]
    return Answers.of(questions=questions, aggregates={"m": {"jsma": {"iip": CURVE}}}, **more)


def test_answers_survive_the_disk() -> None:
    answers = _answers(
        tables=[{"title": "t", "columns": ["a", "b"], "rows": [["x", 1], [None, 2.5]]}]
    )
    assert Answers.load(answers.dump()) == answers
    assert json.loads(answers.dump())["schema"] == 1


@given(st.floats())
def test_a_number_that_is_none_is_kept_as_none_and_json_stays_valid(value: float) -> None:
    number = Number(name="x", value=value)
    found = Answers.load(
        Answers.of(
            questions=[
                Answer(
                    id="q",
                    question="?",
                    claims=(
                        Claim(claim="c", verdict="supported", sentence="s", numbers=(number,)),
                    ),
                )
            ]
        ).dump()
    )
    kept = found.questions[0].claims[0].numbers[0].value
    assert kept == value or (kept is None and not abs(value) < float("inf"))


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"questions": [{"id": "q"}]}, "questions.0.question"),
        ({"aggregates": {"m": {"a": {"iip": {**CURVE, "mean": [1]}}}}}, "different lengths"),
        (
            {
                "questions": [
                    {
                        "id": "q",
                        "question": "?",
                        "claims": [{"claim": "c", "verdict": "maybe", "sentence": ""}],
                    }
                ]
            },
            "supported",
        ),
        ({"tables": [{"title": "t", "columns": ["a"], "rows": [[1, 2]]}]}, "has not 1 cells"),
        (
            {"transfers": [{"attack": "a", "source": ["x"], "model": ["y"], "rate": [[1, 1]]}]},
            "not 1 × 1",
        ),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_answers_that_break_the_contract_are_refused(
    entries: dict[str, object], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        Answers.of(**entries)


def test_damaged_answers_are_refused_when_read() -> None:
    with pytest.raises(Foreign, match=r"answers\.json cannot be read"):
        Answers.load("{")


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        ((), None),
        (("supported",) * 2, "supported"),
        (("supported", "contradicted"), "inconclusive"),
    ],
)
def test_a_question_says_what_all_its_claims_agree_on(
    verdicts: tuple[str, ...], whole: str | None
) -> None:
    claims = tuple(Claim(claim="c", verdict=v, sentence="s") for v in verdicts)
    assert Answer(id="q", question="?", claims=claims).verdict == whole


@pytest.mark.parametrize(
    "parts",
    [
        ("jsma", None, None),
        ("noise:igsm", "deep_conv", None),
        ("jsma(adaptive)", None, "failed"),
        ("jsma", "a/b", "non-transferable"),
    ],
)
def test_keys_of_curves_are_read_back(parts: tuple[str, str | None, str | None]) -> None:
    assert split_key(curve_key(*parts)) == parts
