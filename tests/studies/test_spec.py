"""Specs: what is accepted, and how what is not is explained."""

from __future__ import annotations

from pathlib import Path

import pytest

from undertow.attacks import make
from undertow.errors import BadInput, UndertowError, UnknownName
from undertow.store import BENIGN, Cell
from undertow.studies.asked.inputs import with_targets
from undertow.studies.asked.plan import cells_of, exemplar_units, units
from undertow.studies.asked.spec import StudySpec, example, load_spec, presets
from undertow.studies.names import settled


def _load(tmp_path: Path, text: str) -> StudySpec:
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return load_spec(path)


def test_presets_and_the_example_are_valid_and_name_what_exists(tmp_path: Path) -> None:
    for name in presets():
        settled(load_spec(name))
    settled(_load(tmp_path, example()))


def test_the_example_shows_every_key(tmp_path: Path) -> None:
    text = example()
    missing = [key for key in StudySpec.model_fields if f"\n{key}:" not in text]
    assert not missing


def test_numbers_and_classes_in_words(tmp_path: Path) -> None:
    text = """name: x
mean: [127/255, 0.5, 1e-1]
std: [1/2, 1, 1]
attacks:
  - {name: igsm, settings: {epsilon: 16/255, alpha: 1e-1, steps: "7"}, match_l2: 1/2, target: cat}
"""
    spec = settled(_load(tmp_path, text))
    (attack,) = spec.attacks
    made = make(attack.name, **attack.settings)
    assert (made.epsilon, made.alpha, made.steps) == (16 / 255, 0.1, 7)
    assert (attack.match_l2, spec.mean, spec.std) == (0.5, (127 / 255, 0.5, 0.1), (0.5, 1, 1))
    aimed = with_targets(spec, ("dog", "Cat", "7"))
    assert aimed.attacks[0].target == 1
    with pytest.raises(UnknownName, match=r"target 'cat'; did you mean 'cats'.*untargeted"):
        with_targets(spec, ("dog", "car", "cats"))


def test_a_spec_survives_yaml(tmp_path: Path) -> None:
    spec = load_spec("quick")
    assert StudySpec(**spec.plain()) == spec


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: x\nattacks:\n  - {name: fgsm, eps: 3}\n", r"line 3: 'attacks.0.eps'.*settings"),
        ("name: x\nattaks: []\n", r"line 2: 'attaks'; did you mean 'attacks'"),
        ("name: x\nattacks: [{name: fgsm}]\ndata: {inputs: 0}\n", r"line 3: data.inputs.*got 0"),
        ("a: [", "line 1"),
        ("name: x\nattacks: [{name: fgsm}, {name: fgsm}]\n", "stand twice"),
        ("name: x\nattacks: [{name: fgsm}]\nexemplar_attack: jsma\n", r"'jsma'.*allowed: fgsm"),
        ("name: x\nattacks: [{name: fgsm}]\ncross_check: gaussian_copula\n", "itself"),
        ("name: x\nattacks: []\nprecision: bf16\n", "there is no attack"),
        ("- 1\n", "mapping"),
        ("name: x\nattacks: [{name: fgsm, control: [nois]}]\n",
         r"line 2: attacks.0.control: \['nois'\].*allowed: true, false.*transplant"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UndertowError, match=words):
        _load(tmp_path, text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": ("god_init",)}, "unknown model 'god_init'; did you mean 'good_init'"),
        ({"attacks": ({"name": "jmsa"},)}, "did you mean 'jsma'"),
        ({"data": {"name": "cifar"}}, "did you mean 'cifar10'"),
        ({"estimator": "ksgg"}, "did you mean 'ksg'"),
        ({"null": "missmatch"}, "unknown null 'missmatch'; did you mean 'mismatch'"),
        ({"questions": ("q9",)}, "unknown question 'q9'"),
        ({"attacks": ({"name": "fgsm", "settings": {"eps": 1}},)}, "eps"),
    ],
)
def test_names_are_looked_up_before_anything_runs(change: dict[str, object], words: str) -> None:
    base = {"name": "x", "attacks": ({"name": "fgsm"},), **change}
    with pytest.raises(UndertowError, match=words):
        settled(StudySpec(**base))  # type: ignore[arg-type]


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read"):
        load_spec(tmp_path / "none.yaml")
    with pytest.raises(UnknownName, match="did you mean 'quick'"):
        load_spec("quik")


def test_units_cover_every_input_of_every_cell_once() -> None:
    spec = StudySpec(
        name="x", models=("a", "b"), data={"inputs": 10}, shard=4, exemplars=3,
        exemplar_models=("a", "b"),
        attacks=(
            {"name": "fgsm", "read_by": ("a", "b")}, {"name": "jsma", "control": False},
            {"name": "ensemble", "control": ("transplant",)},
        ),
    )  # type: ignore[arg-type]  # fmt: skip
    filled = [(cell, i) for u in units(spec) for cell in u.cells for i in range(u.start, u.stop)]
    assert len(filled) == len(set(filled))
    assert set(filled) == {(cell, i) for cell in cells_of(spec) for i in range(10)}
    attacks = {cell.attack for cell in cells_of(spec)}
    assert attacks == {
        BENIGN, "fgsm", "noise:fgsm", "spectrum:fgsm", "transplant:fgsm", "jsma", "ensemble",
        "transplant:ensemble",
    }  # fmt: skip
    assert Cell("a", "fgsm", "b") in cells_of(spec)
    assert Cell("a", "jsma", "b") not in cells_of(spec)
    assert [u.attack for u in units(spec)][:6] == [BENIGN] * 6
    assert len(exemplar_units(spec)) == 2 * 3
