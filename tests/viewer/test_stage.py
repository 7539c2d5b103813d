from __future__ import annotations

import base64

import numpy as np
import pytest

from undertow.figures.perturbation import thumbnail
from undertow.store import Cell
from undertow.viewer.path import Path, recorded_path
from undertow.viewer.source import Source
from undertow.viewer.stage import MOST, frames, stage

from .conftest import MODEL


def path(steps: int = 5, side: int = 4, channels: int = 3, classes: int = 6) -> Path:
    draw = np.random.default_rng(0)
    images = draw.random((steps, channels, side, side))
    return Path(
        name="x",
        images=images,
        steps=np.arange(steps) * 2,
        logits=draw.normal(size=(steps, classes)),
        label=1,
        classes=[f"c{k}" for k in range(classes)],
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_survive_to_a_65535th(channels: int) -> None:
    given = path(channels=channels)
    raw = np.frombuffer(base64.b64decode(frames(given.images)), "<u2")
    back = raw.reshape(5, 4, 4, channels) / 65535
    np.testing.assert_allclose(np.moveaxis(back, 3, 1), given.images, atol=0.5 / 65535 + 1e-12)


def test_distances_are_those_of_the_pictures() -> None:
    given = path()
    found = stage(given, "k")
    change = (given.images - given.images[0]).reshape(5, -1)
    np.testing.assert_allclose(found["l2"], np.linalg.norm(change, axis=1), rtol=1e-4)
    np.testing.assert_allclose(found["linf"], np.abs(change).max(axis=1), rtol=1e-4)
    assert found["l0"] == [0, 48, 48, 48, 48]
    assert found["steps"] == [0, 2, 4, 6, 8]


def test_probabilities_add_up_to_one() -> None:
    found = stage(path(), "k")
    np.testing.assert_allclose(np.sum(found["probabilities"], axis=1), 1, atol=1e-3)
    assert found["told"][:2] == [1, found["adversarial"]]


def test_very_long_trajectories_are_thinned_and_keep_both_ends() -> None:
    given = path(steps=60, side=128)
    found = stage(given, "k")
    assert found["total"] == 60
    assert len(found["steps"]) * 128 * 128 * 3 <= MOST
    assert (found["steps"][0], found["steps"][-1]) == (0, 118)
    assert len(base64.b64decode(found["pixels"])) == 2 * len(found["steps"]) * 128 * 128 * 3


def test_of_a_thousand_classes_only_the_likeliest_are_sent() -> None:
    found = stage(path(classes=1000), "k")
    assert len(found["told"]) <= 12
    assert len(found["logits"][0]) == len(found["told"])


def test_a_recorded_input_is_staged_as_it_is_stored(source: Source) -> None:
    cell = Cell(MODEL, "igsm")
    index = source.recorded[cell][0]
    given = recorded_path(source, cell, index, "name")
    assert given is not None
    found, stored = stage(given, "k"), source.run.exemplar(cell, index)
    np.testing.assert_allclose(found["profiles"]["iip"], stored["iip"].values, rtol=1e-3)
    np.testing.assert_allclose(
        found["difference"], stored["difference"].values, rtol=1e-3, atol=1e-6
    )
    bits = stored["class_information"].values
    np.testing.assert_allclose(
        np.moveaxis(np.array(found["bits"]), 1, 2), bits, rtol=1e-2, atol=1e-3
    )


def test_the_takeover_is_the_first_tap_from_which_the_other_class_leads_for_good(
    source: Source,
) -> None:
    cell = Cell(MODEL, "igsm")
    index = source.recorded[cell][0]
    given = recorded_path(source, cell, index, "name")
    assert given is not None
    assert given.bits is not None
    found = stage(given, "k")
    for step, taken in enumerate(found["takeover"]):
        ahead = given.bits[step, :, given.adversarial] > given.bits[step, :, given.label]
        slow = next((k for k in range(len(ahead)) if ahead[k:].all()), -1)
        assert taken == slow


def test_moving_traces_start_at_step_0(source: Source) -> None:
    cell = Cell(MODEL, "igsm")
    given = recorded_path(source, cell, source.recorded[cell][0], "name")
    assert given is not None
    found = stage(given, "k")
    lines, streams = found["lines"], found["streams"]
    for profile, trace in zip(found["profiles"], lines["now"], strict=False):
        np.testing.assert_allclose(
            lines["traces"][trace]["y"], found["profiles"][profile][0], rtol=1e-3
        )
    for k, trace in zip(streams["classes"], streams["now"], strict=False):
        np.testing.assert_allclose(
            streams["traces"][trace]["y"], found["bits"][0][k], rtol=1e-2, atol=1e-3
        )


def test_a_thumbnail_is_a_small_png() -> None:
    found = thumbnail(np.zeros((3, 200, 100)))
    assert found.startswith("data:image/png;base64,")
    assert len(found) < 2000
