from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertow.attacks import ATTACKS
from undertow.prose import attack_name, prose

MINUS, NBSP = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("jsma by -1.4 d_z", f"JSMA by {MINUS}1.4 d_z"),
        (f"fgsm {MINUS} igsm: IIP [-0.5, 2]", f"FGSM {MINUS} IGSM: IIP [{MINUS}0.5, 2]"),
        ("jsma(adaptive) on 98 % (n = 6).", f"JSMA (adaptive) on 98{NBSP}% (n{NBSP}={NBSP}6)."),
        ("more than noise:deepfool, or cw.", "more than noise (DeepFool norm), or C&W."),
        ("noise:jsma(softmax)", "noise (JSMA softmax norm)"),
        ("good_init/jsma jsma.py my-jsma jsma@deep 2-3 q-1", None),
        ("2024-01-02 blocks.0-1", None),
        ("an ensemble of models", None),
    ],
)
def test_sentences_read_well(written: str, read: str | None) -> None:
    assert prose(written) == (written if read is None else read)


@given(st.text(alphabet="jsmacwfg()[]:- .,=n%0123456789@/", max_size=40))
def test_a_second_time_changes_nothing_and_numbers_stay(text: str) -> None:
    once = prose(text)
    assert prose(once) == once
    assert [c for c in once if c.isdigit()] == [c for c in text if c.isdigit()]


def test_every_attack_is_called_by_its_label() -> None:
    for entry in ATTACKS.entries():
        assert attack_name(entry.name) == entry.label
        assert prose(entry.name) == entry.label
    assert attack_name("cw_linf") == "C&W L\N{INFINITY}"
    assert attack_name("noise:igsm") == "noise, IGSM norm"
    assert attack_name("mine") == "mine"
