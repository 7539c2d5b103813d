"""What TensorBoard reads is what the run holds."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from undertow.axes import PROFILES
from undertow.errors import Foreign, Unavailable
from undertow.report.tensorboard import TAGS, export_tensorboard
from undertow.store import Cell, Run, create_run, open_run
from undertow.testing.runs import synthetic_run

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
JSMA = Cell("good_init", "jsma")


def _read(folder: Path) -> Any:
    found = accumulator.EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    found.Reload()
    return found


def _picture(read: Any, tag: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(read.Images(tag)[0].encoded_image_string)))


@pytest.fixture(scope="module")
def written(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tb")
    assert {p.name for p in export_tensorboard(run, out)} == {c.slug for c in run.cells}
    return out


def test_profiles_are_the_means_at_each_tap(run: Run, written: Path) -> None:
    read = _read(written / JSMA.slug)
    data = run.profiles(JSMA).load()
    for profile in PROFILES:
        points = read.Scalars(f"depth/{profile}")
        assert [p.step for p in points] == list(range(data.sizes["tap"]))
        wanted = data[profile].values.mean(axis=0)
        np.testing.assert_allclose([p.value for p in points], wanted, rtol=1e-5)
    bits, ends = run.class_information(JSMA).load()["bits"].values, run.attacks(JSMA).load()
    wanted = bits[np.arange(len(bits)), :, ends["predicted"].values].mean(axis=0)
    points = read.Scalars("depth/bits_adversarial")
    np.testing.assert_allclose([p.value for p in points], wanted, rtol=1e-5)
    words = read.Tensors("taps")[0].tensor_proto.string_val[0].decode()
    assert all(str(tap) in words for tap in data["tap"].values)


def test_recorded_inputs_are_curves_over_steps_and_pictures(run: Run, written: Path) -> None:
    read = _read(written / JSMA.slug)
    data = run.exemplar(JSMA, 101).load()
    points = read.Scalars("input 101/difference")
    assert [p.step for p in points] == data["step"].values.tolist()
    np.testing.assert_allclose([p.value for p in points], data["difference"].values, rtol=1e-5)
    tap = str(data["tap"].values[3])
    points = read.Scalars(f"input 101/oip {tap}")
    np.testing.assert_allclose([p.value for p in points], data["oip"].values[:, 3], rtol=1e-5)
    pictures = {
        n: _picture(read, f"input 101/{n}") for n in ("benign", "adversarial", "perturbation")
    }
    stored = data["images"].values
    side = pictures["benign"].shape[0] // stored.shape[2]
    for name, image in (("benign", stored[0]), ("adversarial", stored[-1])):
        small = pictures[name][::side, ::side].astype(float) / 255
        np.testing.assert_allclose(small, np.moveaxis(image, 0, 2), atol=0.51 / 255)
    changed = np.abs(stored[-1] - stored[0]).max(axis=0) > 1e-6
    grey = np.all(pictures["perturbation"][::side, ::side] == 128, axis=2)
    np.testing.assert_array_equal(grey, ~changed)


def test_every_kind_of_tag_is_told(run: Run, written: Path) -> None:
    tags = _read(written / JSMA.slug).Tags()
    taps = [str(t) for t in run.profiles(JSMA)["tap"].values]

    def kind(tag: str) -> str:
        words = [w for w in tag.replace("101", "INDEX").split(" ") if w not in taps]
        plain = " ".join([*words, "TAP"] if len(words) < len(tag.split(" ")) else words)
        head, _, last = plain.rpartition("/")
        name = last.split(" ")
        name[0] = "PROFILE" if name[0] in PROFILES else name[0]
        return f"{head}/{' '.join(name)}"

    assert {kind(t) for t in (*tags["scalars"], *tags["images"])} == set(TAGS)


def test_written_again_it_replaces_itself(run: Run, written: Path) -> None:
    export_tensorboard(run, written)
    assert len(list((written / JSMA.slug).iterdir())) == 1


def test_a_half_finished_run_gives_what_is_finished(tmp_path: Path) -> None:
    half = synthetic_run(tmp_path / "run", samples=6, shard=2, models=("m",), finished=False)
    export_tensorboard(half, tmp_path / "tb")
    cell = Cell("m", "igsm")
    wanted = half.profiles(cell)["iip"].values[:2].mean(axis=0)
    points = _read(tmp_path / "tb" / cell.slug).Scalars("depth/iip")
    np.testing.assert_allclose([p.value for p in points], wanted, rtol=1e-5)


def test_without_tensorboard_the_extra_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("undertow.loading.find_spec", lambda name: None)
    with pytest.raises(Unavailable, match=r"undertow\[tensorboard\]"):
        export_tensorboard(run, tmp_path)


def test_a_run_without_anything_is_said_to_have_nothing(tmp_path: Path) -> None:
    with create_run(tmp_path / "run", {"name": "empty"}, {}):
        pass
    with pytest.raises(Foreign, match="no finished inputs"):
        export_tensorboard(open_run(tmp_path / "run"), tmp_path / "tb")
