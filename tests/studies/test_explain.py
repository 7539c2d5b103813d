"""Explanations: what is planted is told, on real digits and on made-up flows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import undertow as ut
from undertow.errors import BadInput, UnknownName
from undertow.studies.answered.explained import _explained, place_in_depth
from undertow.studies.answered.seen import Fewest, Seen
from undertow.studies.explain import Why

CLASSES = ["frog", "cat", "dog"]


def _seen(
    drift: list[list[float]],
    answers: list[int],
    *,
    controls: dict[str, tuple[int, list[float]]] | None = None,
    population: Any = None,
    **changes: Any,
) -> Seen:
    """A frog whose flow towards the cat is as given, (step, tap)."""
    steps = len(drift)
    images = np.zeros((steps, 1, 4, 4))
    for step in range(steps):
        images[step, 0, 0, :1] = step / 255
    logits = np.full((steps, 3), -4.0)
    logits[np.arange(steps), answers] = 2.0
    others = np.full((20, len(drift[0])), -0.1) if population is None else np.asarray(population)
    found = Seen(
        name="frog.png", index=0, model="m", attack="jsma" if steps > 1 else None, classes=CLASSES,
        labelled=True, logits=logits, drift={"": np.array(drift)},
        taps=[f"layer{k}" for k in range(len(drift[0]))],
        depth=np.linspace(0, 1, len(drift[0])), images=images, steps=np.arange(steps), label=0,
        rival=1, outcome=0, population=others, wrong=np.zeros(len(others), dtype=bool),
        controls={k: (a, np.array(d)) for k, (a, d) in (controls or {}).items()},
    )  # fmt: skip
    return replace(found, **changes)


TURNED = [[-0.2, -0.2, -0.2, -0.2], [-0.2, -0.2, 0.1, -0.1], [-0.2, -0.2, 0.2, 0.3]]
QUIET = {k: (0, [-0.2, -0.2, -0.2, -0.2]) for k in ("noise", "spectrum", "transplant")}


def test_an_attack_that_turns_the_flow() -> None:
    told = _explained(_seen(TURNED, [0, 0, 1], controls=QUIET))
    assert told.kind == "fooled"
    what, where, beyond, rare = told.sentences
    assert what.startswith(("frog 100 % → cat", "frog over 99 % → cat"))
    assert "after 2 steps of JSMA, 1 of 16 values changed" in what
    assert where == (
        "Up to layer1 the network still reads frog; from layer2, two thirds of the way through, "
        "it reads cat, since step 1 of 2."
    )
    assert beyond.startswith("The same change made for another picture does not do this, nor does")
    assert rare == "None of 20 other unattacked pictures leans so far to a wrong class there."


def test_a_transplant_that_does_the_same_is_told() -> None:
    same = {**QUIET, "transplant": (0, TURNED[-1])}
    beyond = _explained(_seen(TURNED, [0, 0, 1], controls=same)).sentences[2]
    assert "turns the flow to cat, too, though not the answer" in beyond
    fooled = {**QUIET, "transplant": (1, QUIET["transplant"][1])}
    beyond = _explained(_seen(TURNED, [0, 0, 1], controls=fooled)).sentences[2]
    assert "changes the answer, too, but does not turn the flow" in beyond
    loud = {**QUIET, "noise": (1, TURNED[-1])}
    beyond = _explained(_seen(TURNED, [0, 0, 1], controls=loud)).sentences[2]
    assert beyond.endswith("of that size and spectrum; but noise of that size does.")
    beyond = _explained(_seen(TURNED, [0, 0, 1], controls=loud | {"spectrum": loud["noise"]}))
    assert beyond.sentences[2].endswith(
        "does not do this; but noise of that size and a change of that size and spectrum do."
    )


def test_a_flow_that_stays_is_not_said_to_turn() -> None:
    stays = [[-0.3, -0.3], [-0.3, -0.1]]
    nearer = np.full((20, 2), -0.05)
    nearer[:3] = -0.2
    same = {k: (0, [-0.3, -0.3]) for k in QUIET}
    told = _explained(_seen(stays, [0, 1], controls=same, population=nearer))
    assert "moved towards cat (-0.30 → -0.10 bit) but still leans to frog" in told.sentence
    assert "does not fool it" in told.sentence
    assert "17 of 20 other unattacked pictures lean further to their runner-up" in told.sentence


def test_a_small_move_is_told_with_its_digits() -> None:
    moved = _explained(_seen([[-0.3, -0.018], [-0.3, -0.024]], [0, 1], controls={}))
    assert "even moved away from cat (-0.018 → -0.024 bit)" in moved.sentence


def test_a_lead_that_is_usual_tells_nothing() -> None:
    rng = np.random.default_rng(0)
    usual = rng.normal(0.05, 0.1, (200, 4))
    told = _explained(_seen([[0.05, 0.06, 0.05, 0.07]], [1], population=usual))
    assert told.kind == "error"
    assert "no layer further than in one of ten" in told.sentence
    far = _explained(_seen([[0.05, 0.06, 0.5, 0.6]], [1], population=usual))
    assert "From layer2, two thirds of the way through, the network reads cat" in far.sentence


def test_a_right_answer_is_not_said_to_be_misread() -> None:
    """Whatever the drift: two classes may lie near each other, or the lead be the runner-up's."""
    none = np.empty((0, 4))
    for population in (none, None):
        told = _explained(_seen([[-0.2, -0.2, 0.1, 0.02]], [0], population=population))
        assert told.kind == "right"
        assert told.sentences[1] == (
            "From layer2, two thirds of the way through, its flow leans to cat (+0.02 bit at "
            "layer3), though it answers frog."
        )
        assert "reads cat" not in told.sentence
    failed = _explained(_seen(TURNED, [0, 0, 0], controls=QUIET))
    assert "though it answers frog, since step 1 of 2." in failed.sentence


def test_the_fewest_maps_stand_beside_a_random_order() -> None:
    few = (Fewest("layer0", 8, 20, 32), Fewest("layer2", 3, 9, 64), Fewest("layer3", 10, 30, 64))
    told = _explained(_seen(TURNED, [0, 0, 1], controls=QUIET, fewest=few))
    assert (
        "Putting 3 of the 64 maps of layer2 back returns frog (in a random order the same search "
        "needs 9); at layer3 it takes 10 of 64." in told.sentence
    )
    numbers = {n.name: n.value for n in told.numbers}
    assert numbers["fewest maps of layer0 that return the label"] == 8
    alike = _explained(_seen(TURNED, [0, 0, 1], fewest=(Fewest("layer3", 1, 1, 64),)))
    assert "returns frog, and in a random order no more are needed." in alike.sentence
    held = _explained(_seen(TURNED, [0, 0, 0], fewest=few))
    assert "Putting" not in held.sentence
    lacking = _explained(_seen(TURNED, [0, 0, 1], no_carriers="the model is not steady"))
    assert "Which maps carried it: the model is not steady." in lacking.sentence


def test_estimators_that_disagree_are_told() -> None:
    drift = {"": np.array(TURNED), "binned": -np.array(TURNED)}
    told = _explained(replace(_seen(TURNED, [0, 0, 1], controls=QUIET), drift=drift))
    assert "The two estimators do not agree" in told.sentence


def test_without_others_nothing_is_said_of_how_rare_it_is() -> None:
    told = _explained(_seen(TURNED, [0, 0, 1], controls=QUIET, population=np.empty((0, 4))))
    assert told.sentences[-1].startswith("How rare that is cannot be told")


def test_an_unlabelled_picture_and_a_right_answer() -> None:
    plain = [[-0.2, -0.2, -0.2, -0.2]]
    assert "nobody told what it is" in _explained(_seen(plain, [0], labelled=False)).sentence
    right = _explained(_seen(plain, [0]))
    assert right.kind == "right"
    assert "rightly" in right.sentence
    error = _explained(_seen(TURNED[-1:], [1]))
    assert (error.interest or 0) > (right.interest or 0)


@pytest.mark.parametrize(
    ("depth", "words"),
    [(0.0, "at the start"), (0.35, "a third of the way through"), (0.97, "at the end")],
)
def test_depth_in_words(depth: float, words: str) -> None:
    assert place_in_depth(depth) == words


# On real digits -----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def small_population(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("undertow.studies.explain.POPULATION", 12)


@pytest.fixture(scope="module")
def digit() -> tuple[torch.Tensor, int]:
    x, y = ut.load_data("digits")[7]
    return x, int(y)


def test_a_picture_by_name_path_and_array_is_the_same(
    digit: tuple[torch.Tensor, int], tmp_path: Path
) -> None:
    x, y = digit
    file = tmp_path / "seven.png"
    Image.fromarray((x[0].numpy() * 255).round().astype(np.uint8)).save(file)
    by_path = ut.explain("digits_cnn", file, label=y)
    by_array = ut.explain("digits_cnn", x, label=str(y))
    assert isinstance(by_path, Why)
    assert by_path[0].kind == "right"
    assert by_path[0].sentence == by_array[0].sentence
    named = ut.explain("digits_cnn", "digits:7")
    assert named[0].sentences[0] == by_path[0].sentences[0]
    assert by_path.run.answers is not None
    assert by_path.run.exemplars(by_path.run.cells[0]) == (0,)


def test_what_is_told_is_what_is_stored(tmp_path: Path) -> None:
    settings = {"epsilon": "60/255", "alpha": "4/255"}
    why = ut.explain(
        "digits_cnn", "digits:7", attack="igsm", settings=settings, out=tmp_path / "run"
    )
    told, run = why[0], ut.open_run(tmp_path / "run")
    (cell,) = [c for c in run.cells if c.attack == "igsm"]
    data = run.exemplar(cell, 7)
    answer = int(data["logits"].values[-1].argmax())
    assert told.kind == ("fooled" if answer != data.attrs["label"] else "held")
    assert told.classes[1] == str(answer)
    last = np.flatnonzero(np.isfinite(data["drift"].values).all(axis=0))[-1]
    found = {n.name: n.value for n in told.numbers}
    drift = next(v for n, v in found.items() if n.startswith("drift") and "before" not in n)
    assert drift == pytest.approx(float(data["drift"].values[-1, last]), abs=1e-6)
    change = np.abs(data["images"].values[-1] - data["images"].values[0]).max()
    assert change <= 60 / 255 + 1e-6
    assert data["evidence"].dims == ("chosen", "class", "evidence_row", "evidence_col")


class _Net(nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.conv(x).relu().mean((2, 3)))
        return out


def test_a_network_of_ones_own_without_labels_or_data() -> None:
    with pytest.warns(UserWarning, match="no normalisation"):
        why = ut.explain(_Net(), torch.rand(1, 12, 12, generator=torch.manual_seed(1)))
    assert why[0].kind == "unlabelled"
    assert "cannot be told" in why.sentence
    assert np.isfinite([n.value for n in why[0].numbers if n.name.startswith("drift")]).all()


class _OfBatch(_Net):
    """Its answer depends on what else is in the batch."""

    def __init__(self) -> None:
        super().__init__(seed=3)  # one that the attack below fools
        nn.init.zeros_(self.head.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.conv(x).relu()
        out: torch.Tensor = 60 * self.head((maps - maps.mean(0, keepdim=True) / 2).mean((2, 3)))
        return out


@pytest.mark.filterwarnings("ignore:.*no normalisation")
def test_where_maps_cannot_be_put_back_the_rest_is_told_all_the_same() -> None:
    image = torch.rand(1, 12, 12, generator=torch.manual_seed(1))
    with pytest.warns(UserWarning, match="depends on the others in its batch"):
        why = ut.explain(_OfBatch(), image, attack="igsm", settings={"epsilon": 0.9, "stop": False})
    assert why[0].kind == "fooled"
    assert "depends on the others in its batch" in why.sentence


def test_a_folder_is_sorted_by_what_deserves_a_look(tmp_path: Path) -> None:
    data = ut.load_data("digits")
    for i in range(6):
        pixels = (data[i][0][0].numpy() * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.warns(UserWarning, match=r"2 of 8 pictures left out.*empty\.png is empty"):
        why = ut.explain("digits_cnn", tmp_path)
    assert [e.input for e in why.explanations] == [f"{i}.png" for i in range(6)]
    assert all(e.kind == "unlabelled" for e in why.explanations)


def test_what_does_not_fit_is_refused(digit: tuple[torch.Tensor, int], tmp_path: Path) -> None:
    x, _ = digit
    with pytest.raises(UnknownName, match="class 'seven'"):
        ut.explain("digits_cnn", x, label="seven")
    with pytest.raises(BadInput, match="name one"):
        ut.explain("digits_cnn", x, target=3)
    with pytest.raises(BadInput, match="name one"):
        ut.explain("digits_cnn", x, precision="bf16")
    with pytest.raises(BadInput, match="there is no picture"):
        ut.explain("digits_cnn", tmp_path / "none.png")
    with pytest.raises(BadInput, match="there is no input 99999"):
        ut.explain("digits_cnn", "digits:99999")
    with pytest.raises(BadInput, match=r"did you mean 'epsilon'"):
        ut.explain("digits_cnn", x, attack="igsm", settings={"eps": "8/255"})
    with pytest.raises(UnknownName, match="target 'horse'"):
        ut.explain("digits_cnn", x, attack="igsm", target="horse")


def test_a_loaded_network_of_ours_is_known_by_its_weights() -> None:
    model, (x, y) = ut.load_model("digits_cnn"), ut.load_data("digits")[7]
    why = ut.explain(model, x, label=int(y))
    assert why[0].model == "digits_cnn"
    assert why[0].sentence == ut.explain("digits_cnn", x, label=int(y)).sentence
