"""The first sentence of a study: told from planted contrasts."""

from __future__ import annotations

import pytest

from undertow.store import Answer, Claim, Contrast, Points
from undertow.studies.answered.headline import headline


def _points(mean: float) -> Points:
    return Points(mean=(0.0, mean), low=(-0.02, mean - 0.02), high=(0.02, mean + 0.02))


def _contrast(attack: float, transplant: float | None, benign: float = -0.1) -> Contrast:
    moved = {"attack": attack} | ({} if transplant is None else {"transplant": transplant})
    return Contrast(
        tap=("first", "last"), depth=(0.0, 1.0), n=9,
        level={"benign": _points(benign), **{k: _points(benign + v) for k, v in moved.items()}},
        change={k: _points(v) for k, v in moved.items()},
    )  # fmt: skip


def _told(**attacks: Contrast) -> str:
    return headline({"net": {name: {"drift": c} for name, c in attacks.items()}}, ())


def test_what_is_pulled_and_where_it_ends() -> None:
    told = _told(fgsm=_contrast(0.2, 0.01), jsma=_contrast(0.1, 0.0), igsm=_contrast(0.05, 0.06))
    assert told == (
        "On net, FGSM and JSMA pull the flow towards the wrong class at last, by +0.10 to +0.20 "
        "bit, further than the same changes made for other inputs (+0.00 to +0.01 bit); IGSM does "
        "not. On average it ends with the wrong class under FGSM."
    )


@pytest.mark.parametrize(
    ("contrast", "words"),
    [
        (_contrast(0.2, 0.19), "the attack does not pull the flow"),
        (_contrast(-0.2, -0.3), "the attack does not pull the flow"),
        (_contrast(0.05, 0.0), "stays with the true class under FGSM"),
        (_contrast(0.1, 0.0), "ends with neither class"),
        (_contrast(0.2, None), "no control was made"),
    ],
)
def test_what_is_not_shown_is_not_said(contrast: Contrast, words: str) -> None:
    assert words in _told(fgsm=contrast)


def test_claims_are_counted() -> None:
    claims = [
        Claim.model_validate({"claim": "c", "verdict": v, "sentence": "s"})
        for v in ("supported", "supported", "inconclusive")
    ]
    told = headline({}, [Answer(id="q1", question="q", claims=tuple(claims))])
    assert told == "Of 3 claims: 2 supported, 1 inconclusive."
    assert headline({}, ()) == ""
