from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from undertow.data import ImageSet, load_data
from undertow.data.images import ImageSet as Set
from undertow.data.images import divide, held_out_rows
from undertow.errors import BadInput, UnknownName


def _pictures(folder, *, size=(6, 5), mode="RGB", classes=("cat", "dog"), count=3, seed=0):
    rng = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            shape = (*size, 3) if mode == "RGB" else size
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(
                folder / name / f"{i}.png"
            )


def test_floats_and_bytes_give_the_same_set():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 4), dtype=np.uint8)
    a = ImageSet.from_arrays(pixels, [0, 1, 2, 0, 1])
    b = ImageSet.from_arrays(pixels.astype(np.float32) / 255, [0, 1, 2, 0, 1])
    assert torch.equal(a.images, b.images)
    assert a.fingerprint == b.fingerprint
    assert a.classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("images", "labels", "word"),
    [
        (np.zeros((2, 4, 4)), [0, 1], "shape"),
        (np.full((2, 1, 4, 4), 1.5), [0, 1], "between"),
        (np.full((2, 1, 4, 4), np.nan), [0, 1], "between"),
        (np.zeros((2, 1, 4, 4), np.int64), [0, 1], "int64"),
        (np.zeros((2, 1, 4, 4)), [0.0, 1.0], "whole numbers"),
        (np.zeros((2, 1, 4, 4)), [0], "one label"),
        (np.zeros((2, 1, 4, 4)), [0, -2], "-2"),
    ],
)
def test_arrays_that_do_not_fit(images, labels, word):
    with pytest.raises(BadInput, match=word):
        ImageSet.from_arrays(images, labels)


def test_too_few_class_names():
    with pytest.raises(BadInput, match="0 to 1"):
        ImageSet.from_arrays(np.zeros((3, 1, 2, 2)), [0, 1, 2], classes=["a", "b"])


def test_a_change_of_anything_changes_the_fingerprint():
    pixels = np.zeros((4, 1, 2, 2), np.uint8)
    base = ImageSet.from_arrays(pixels, [0, 1, 0, 1]).fingerprint
    other = pixels.copy()
    other[3, 0, 1, 1] = 1
    assert ImageSet.from_arrays(other, [0, 1, 0, 1]).fingerprint != base
    assert ImageSet.from_arrays(pixels, [0, 1, 1, 1]).fingerprint != base
    named = ImageSet.from_arrays(pixels, [0, 1, 0, 1], classes=["a", "b"])
    assert named.fingerprint != base
    assert ImageSet.from_arrays(pixels, [0, 1, 0, 1], name="another").fingerprint == base


@given(
    counts=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    share=st.floats(0.05, 0.5),
    order=st.randoms(use_true_random=False),
)
def test_held_out_rows_are_stratified(counts, share, order):
    labels = [c for c, n in enumerate(counts) for _ in range(n)]
    order.shuffle(labels)
    rows = held_out_rows(np.array(labels), share, "any")
    held = np.array(labels)[rows]
    assert len(set(rows.tolist())) == len(rows)
    assert (np.sort(rows) == rows).all()
    for c, n in enumerate(counts):
        assert (held == c).sum() == round(share * n)


def test_divide_refuses_an_unknown_split():
    data = ImageSet.from_arrays(np.zeros((20, 1, 2, 2)), [0, 1] * 10)
    with pytest.raises(UnknownName, match="held_out"):
        divide(data, "valid")
    assert len(divide(data, "fit")) == 18


def test_a_folder_of_pictures(tmp_path):
    _pictures(tmp_path)
    data = load_data(str(tmp_path))
    assert data.classes == ("cat", "dog")
    assert data.images.shape == (6, 3, 6, 5)
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1]
    first = np.asarray(Image.open(tmp_path / "cat" / "0.png"))
    assert np.array_equal(data.images[0].permute(1, 2, 0).numpy(), first)


def test_a_folder_with_parts_and_grey_pictures(tmp_path):
    _pictures(tmp_path / "train", mode="L", count=10)
    _pictures(tmp_path / "test", mode="L", count=2, seed=1)
    assert load_data(str(tmp_path), "test").images.shape == (4, 1, 6, 5)
    assert len(load_data(str(tmp_path), "fit")) == 18
    assert len(load_data(str(tmp_path), "held_out")) == 2


def test_folders_that_cannot_be_read(tmp_path):
    with pytest.raises(UnknownName, match="path/to/folder"):
        load_data(str(tmp_path / "nowhere"))
    with pytest.raises(BadInput, match="one subfolder a class"):
        load_data(str(tmp_path))
    _pictures(tmp_path / "a", size=(4, 4))
    _pictures(tmp_path / "a" / "x", size=(5, 4), classes=("z",), count=1)
    (tmp_path / "a" / "dog" / "odd.png").write_bytes(
        (tmp_path / "a" / "x" / "z" / "0.png").read_bytes()
    )
    with (
        pytest.warns(UserWarning, match="1 no pictures, and passed over.*x/z/"),
        pytest.raises(BadInput, match="one size"),
    ):
        load_data(str(tmp_path / "a"))
    (tmp_path / "a" / "dog" / "odd.png").write_bytes(b"\x89PNG no picture")
    with (
        pytest.warns(UserWarning, match="1 no pictures"),
        pytest.warns(UserWarning, match=r"1 of 7 pictures left out: .*odd\.png"),
    ):
        assert len(load_data(str(tmp_path / "a"))) == 6


def test_a_picture_too_large(tmp_path, monkeypatch):
    from undertow.data import pictures

    _pictures(tmp_path)
    monkeypatch.setattr(pictures, "PIXELS", 20)
    with pytest.raises(BadInput, match="6"):
        load_data(str(tmp_path))


def test_npz(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (8, 1, 3, 3), dtype=np.uint8)
    labels = np.arange(8) % 2
    path = tmp_path / "own.npz"
    np.savez(path, images=images, labels=labels, classes=np.array(["even", "odd"]))
    data = load_data(str(path))
    assert data.classes == ("even", "odd")
    assert np.array_equal(data.images.numpy(), images)
    np.savez(path, images_test=images[:2], labels_test=labels[:2], images=images, labels=labels)
    assert len(load_data(str(path), "test")) == 2
    assert len(load_data(str(path), "train")) == 8


def test_npz_that_cannot_be_read(tmp_path):
    path = tmp_path / "own.npz"
    with pytest.raises(BadInput, match="no file"):
        load_data(str(path))
    np.savez(path, pictures=np.zeros(3))
    with pytest.raises(BadInput, match="pictures"):
        load_data(str(path))
    np.savez(path, images=np.array([object()]), labels=np.zeros(1, int))
    with pytest.raises(BadInput, match="plain arrays"):
        load_data(str(path))
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BadInput, match="plain arrays"):
        load_data(str(path))


def test_subset_keeps_what_it_is():
    data = Set.from_arrays(np.zeros((4, 1, 2, 2)), [0, 1, 0, 1], classes=["a", "b"], name="n")
    part = data.subset([3, 0], "some")
    assert (part.name, part.split, part.classes, len(part)) == ("n", "some", ("a", "b"), 2)
    assert part.labels.tolist() == [1, 0]
    assert data[[]][0].shape == (0, 1, 2, 2)
