"""What users bring: arrays, seeds, places and model files that do not fit; one line, exit 2."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from undertow.data import load_data
from undertow.errors import BadInput

PIXELS = np.zeros((4, 1, 16, 16), dtype=np.uint8)


def _header(shape: tuple[int, ...]) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        out, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    return out.getvalue()


def _tera(path: Path) -> None:
    labels = io.BytesIO()
    np.save(labels, np.arange(4))
    with zipfile.ZipFile(path, "w") as members:
        members.writestr("images.npy", _header((10**6, 3, 1000, 1000)) + b"1234")
        members.writestr("labels.npy", labels.getvalue())


def _flipped(path: Path) -> None:
    np.savez(path, images=PIXELS, labels=np.arange(4))
    data = bytearray(path.read_bytes())
    data[300] ^= 255
    path.write_bytes(bytes(data))


ARRAYS = {
    "labels near a billion": (
        lambda p: np.savez(p, images=PIXELS, labels=np.full(4, 10**9)), "labels of .* reach"),
    "classes as one string": (
        lambda p: np.savez(p, images=PIXELS, labels=np.arange(4), classes=np.array("abcd")),
        r"classes have shape \(\)"),
    "no rows": (
        lambda p: np.savez(p, images=PIXELS[:0], labels=np.zeros(0, int)), "has no images"),
    "a header of terabytes": (_tera, "says 12,000,000,000,000 bytes .* holds 4"),
    "a flipped bit": (_flipped, "is not an .npz file of plain arrays"),
    "objects": (
        lambda p: np.savez(p, images=np.array([{}], dtype=object), labels=np.arange(1)),
        "is not an .npz file of plain arrays"),
    "not a zip": (lambda p: p.write_bytes(b"PK nothing"), "is not an .npz file of plain arrays"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_that_are_not_what_they_say(kind: str, tmp_path: Path) -> None:
    make, words = ARRAYS[kind]
    make(tmp_path / "own.npz")
    with pytest.raises(BadInput, match=words):
        load_data(str(tmp_path / "own.npz"))


def test_arrays_that_are_what_they_say_are_read(tmp_path: Path) -> None:
    file = tmp_path / "own.npz"
    np.savez_compressed(file, images=PIXELS, labels=np.arange(4), classes=list("abcd"))
    assert load_data(str(file)).classes == tuple("abcd")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("measure", "--model", "digits_cnn", "--data", "digits", "--seed", 10**30), "seed: "),
        (("trace", "--model", "digits_cnn", "--data", "digits", "--seed", 2**64), "seed: "),
        (("measure", "--model", "good_init", "--data", "digits"), "does not fit digits"),
        (("report", "/"), "is not an undertow run"),
        (("view", "/usr"), "is not an undertow run"),
        (("study", "quick", "--out", "/usr", "--inputs", 2), "not an undertow run"),
    ],
)
def test_one_line_and_nothing_left(undertow, words, told, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = undertow(*words)
    assert said.code == 2
    assert told in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


MODEL = """
import sys
import torch
from undertow.models import load_model
print("hello from the file")

def leaves():
    sys.exit(0)

def talks():
    print("hello from the factory")
    return load_model("digits_cnn")
"""


def test_a_model_file_neither_ends_a_command_nor_talks_into_what_scripts_read(
    undertow, tmp_path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MODEL)
    usual = ("--data", "digits", "--inputs", 4, "--readers", 0, "--json", "--quiet")
    said = undertow("measure", "--model", f"{file}:leaves", *usual, "--out", tmp_path / "a")
    assert said.code == 2
    assert "leaves() failed: SystemExit" in said.err
    assert not (tmp_path / "a").exists()
    said = undertow("measure", "--model", f"{file}:talks", *usual, "--out", tmp_path / "b")
    assert said.code == 0
    assert json.loads(said.out)
    assert "hello from the factory" in said.err


def test_a_study_from_elsewhere_runs_code_only_where_it_is_trusted(
    undertow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is run before; a study in one's own folder needs no word."""
    away, own = tmp_path / "away", tmp_path / "own"
    away.mkdir()
    own.mkdir()
    (away / "net.py").write_text(
        "from pathlib import Path\nPath(__file__).with_name('ran').write_text('')\n"
        "raise RuntimeError('as far as this')\n"
    )
    told = {"name": "x", "models": [f"{away}/net.py:net"], "attacks": [{"name": "fgsm"}]}
    (away / "study.yaml").write_text(json.dumps({**told, "data": {"name": "digits"}}))
    monkeypatch.chdir(own)
    said = undertow("study", away / "study.yaml")
    assert said.code == 2
    assert "net.py:net. Read it, then give --trust" in said.err
    assert not (away / "ran").exists()
    trusted = undertow("study", away / "study.yaml", "--trust")
    assert "as far as this" in trusted.err
    assert (away / "ran").exists()
    monkeypatch.chdir(away)
    assert "as far as this" in undertow("study", "study.yaml").err
    for key, value in {
        "plugins": ["mine.py"], "null": "mine.py:null", "estimator": "os:path",
        "attacks": [{"name": "ensemble", "settings": {"attack": {"name": "m.py:A"}}}],
    }.items():  # fmt: skip
        plain = {
            "name": "x",
            "models": ["digits_cnn", "good_init"],
            "attacks": [{"name": "fgsm"}],
            key: value,
        }
        (away / "other.yaml").write_text(json.dumps(plain))
        monkeypatch.chdir(own)
        assert "--trust" in undertow("study", away / "other.yaml").err, key
