"""Pictures of one's own: read as they are, left out with the reason, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from undertow.data import load_data
from undertow.errors import BadInput, UnknownName


def _save(path: Path, value: int = 9, size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


def test_a_flat_folder_and_a_picture_have_no_labels(tmp_path: Path) -> None:
    for i in range(3):
        _save(tmp_path / f"{i}.png", i)
    data = load_data(str(tmp_path))
    assert data.labels.tolist() == [-1, -1, -1]
    assert data.classes == ()
    assert [data.called(i) for i in range(3)] == ["0.png", "1.png", "2.png"]
    one = load_data(str(tmp_path / "2.png"))
    assert one.images.unique().tolist() == [2]
    assert one.labels.tolist() == [-1]


def test_sixteen_bits_of_grey_keep_their_greys(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "x.png")
    x, _ = load_data(str(tmp_path))[0]
    np.testing.assert_allclose(x[0].numpy(), ramp / 65535, atol=0.5 / 255 + 1e-6)


def test_long_comments_are_read_past(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * 3_000_000, zip=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "x.png", pnginfo=info)
    assert len(load_data(str(tmp_path))) == 1


def test_what_cannot_be_read_is_named_and_counted(tmp_path: Path) -> None:
    for name in ("cat/a.png", "dog/b.png"):
        _save(tmp_path / name)
    (tmp_path / "cat" / "empty.png").write_bytes(b"")
    (tmp_path / "dog" / "text.jpg").write_text("words")
    with pytest.warns(UserWarning, match=r"2 of 4 pictures left out.*empty\.png is empty"):
        data = load_data(str(tmp_path))
    assert data.labels.tolist() == [0, 1]
    for name in ("cat/a.png", "dog/b.png"):
        (tmp_path / name).unlink()
    with pytest.raises(BadInput, match=r"empty\.png is empty; and 1 more"):
        load_data(str(tmp_path))


def test_class_folders_that_are_numbers_are_those_numbers(tmp_path: Path) -> None:
    for i in range(12):
        _save(tmp_path / "all" / str(i) / "x.png", i)
    data = load_data(str(tmp_path / "all"))
    assert [int(data.classes[k]) for k in data.labels.tolist()] == data.labels.tolist()
    assert data.images[:, 0, 0, 0].tolist() == list(range(12))
    for i in (7, 281):
        _save(tmp_path / "some" / str(i) / "x.png", 3)
    with pytest.warns(UserWarning, match=r"labels are their places \('7' is 0, '281' 1\)"):
        load_data(str(tmp_path / "some"))


def test_pictures_of_other_sizes_are_refused_or_brought_to_one(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", 10, (8, 8))
    _save(tmp_path / "b.png", 20, (12, 18))
    with pytest.raises(BadInput, match="pictures of one size"):
        load_data(str(tmp_path))
    data = load_data(str(tmp_path), size=(8, 8))
    assert data.shape[1:] == (8, 8)
    assert data.images.flatten(1).float().mean(1).tolist() == [10, 20]


def test_sets_side_by_side_go_by_the_names_of_classes(tmp_path: Path) -> None:
    for name in ("dog/1.png", "cat/2.png"):
        _save(tmp_path / "own" / name)
    for name in ("bird/1.png", "cat/2.png", "dog/3.png"):
        _save(tmp_path / "others" / name, 5)
    own, others = (load_data(str(tmp_path / n)) for n in ("own", "others"))
    both = own.before(others)
    assert [both.classes[k] for k in both.labels.tolist()] == ["cat", "dog", "bird", "cat", "dog"]
    with pytest.raises(UnknownName, match=r"class of '.*' 'bird'"):
        others.before(own)


def test_photographs_are_turned_as_their_camera_says(tmp_path: Path) -> None:
    """Orientation 6: what is stored on the left is the top of the scene."""
    scene = np.zeros((8, 8, 3), np.uint8)
    scene[:, 6:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(scene).save(tmp_path / "x.png", exif=exif)
    x, _ = load_data(str(tmp_path))[0]
    assert x[:, 6:].eq(1).all()
    assert x[:, :6].eq(0).all()


def test_transparent_pictures_are_laid_on_white_and_counted(tmp_path: Path) -> None:
    half = np.zeros((8, 8, 4), np.uint8)
    half[:4, :, 3] = 255
    Image.fromarray(half).save(tmp_path / "half.png")
    full = half.copy()
    full[..., 3] = 255
    Image.fromarray(full).save(tmp_path / "opaque.png")
    with pytest.warns(UserWarning, match=r"^1 of 2 pictures are transparent.*: half\.png$"):
        data = load_data(str(tmp_path))
    assert data[0][0][0, :4].eq(0).all()
    assert data[0][0][0, 4:].eq(1).all()
    assert data[1][0].eq(0).all()


def test_what_is_passed_over_is_counted(tmp_path: Path) -> None:
    _save(tmp_path / "cat" / "1.png")
    _save(tmp_path / "dog" / "2.png")
    _save(tmp_path / "dog" / "deeper" / "3.png")
    _save(tmp_path / "dog" / ".4.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "cat" / "5.gif")
    (tmp_path / "notes.txt").write_text("a word")
    told = r"^4 no pictures.*: cat/5\.gif; dog/\.4\.png; dog/deeper/"
    with pytest.warns(UserWarning, match=told):
        data = load_data(str(tmp_path))
    assert len(data) == 2


def test_a_folder_of_nothing_but_pictures_warns_of_nothing(tmp_path: Path) -> None:
    _save(tmp_path / "1.png")
    _save(tmp_path / "2.jpg")
    assert len(load_data(str(tmp_path))) == 2
