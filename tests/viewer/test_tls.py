"""The viewer with a certificate: encrypted or not at all, and as hard to stop."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from undertow.cli import run as command
from undertow.errors import BadInput
from undertow.testing.runs import synthetic_run
from undertow.viewer import open_viewer
from undertow.viewer.serve import THREADS, Viewer
from undertow.viewer.tls import context_of


def _pair(folder: Path, name: str, *options: str) -> tuple[Path, Path]:
    """A certificate for loopback that vouches for itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    line = [
        openssl, "req", "-x509", "-newkey", "rsa:2048", "-days", "2", "-subj", "/CN=127.0.0.1",
        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate),
    ]  # fmt: skip
    subprocess.run([*line, *(options or ("-noenc",))], check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return _pair(tmp_path_factory.mktemp("pair"), "own")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("encrypted") / "run"
    return synthetic_run(out, samples=8, shard=8).path


@pytest.fixture(scope="module")
def viewer(run: Path, pair: tuple[Path, Path]) -> Iterator[Viewer]:
    with open_viewer(run, port=0, certificate=pair[0], key=pair[1]) as served:
        yield served


def _place(viewer: Viewer) -> tuple[str, int]:
    host, _, port = viewer.url.partition("//")[2].partition("/")[0].partition(":")
    return host, int(port)


def _honest(viewer: Viewer, pair: tuple[Path, Path], path: str = "") -> Any:
    trusting = ssl.create_default_context(cafile=str(pair[0]))
    cookies = urllib.request.HTTPCookieProcessor()
    browser = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trusting), cookies)
    with browser.open(viewer.at(path), timeout=20) as answer:
        return answer.status, answer.read(), list(cookies.cookiejar)


def test_a_visitor_who_checks_the_certificate_is_served(
    viewer: Viewer, pair: tuple[Path, Path]
) -> None:
    assert viewer.url.startswith("https://127.0.0.1:")
    for path in ("layer", ""):
        status, page, cookies = _honest(viewer, pair, path)
        assert status == 200
        assert b"Undertow" in page
        assert [cookie.secure for cookie in cookies] == [True]
    scripts = re.findall(r'src="/([^"]+\.js[^"]*)"', page.decode())
    sizes = [len(_honest(viewer, pair, script)[1]) for script in scripts]
    assert max(sizes) > 2**18, "large answers come whole"


def test_nothing_is_said_without_encryption(
    viewer: Viewer, pair: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(viewer.url.replace("https", "http"), timeout=10)
    with pytest.raises(urllib.error.URLError, match="self-signed"):
        urllib.request.urlopen(viewer.url, timeout=10)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(_place(viewer)) as visitor, pytest.raises(ssl.SSLError):
        old.wrap_socket(visitor)
    assert _honest(viewer, pair)[0] == 200
    assert capfd.readouterr() == ("", "")


def test_half_agreements_and_half_requests_cost_no_threads(
    viewer: Viewer, pair: tuple[Path, Path]
) -> None:
    before = threading.active_count()
    trusting = ssl.create_default_context(cafile=str(pair[0]))
    with ExitStack() as held:
        for _ in range(100):
            held.enter_context(socket.create_connection(_place(viewer))).sendall(b"\x16\x03\x01")
        for _ in range(50):
            visitor = held.enter_context(socket.create_connection(_place(viewer)))
            half = held.enter_context(trusting.wrap_socket(visitor, server_hostname="127.0.0.1"))
            half.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
        assert _honest(viewer, pair)[0] == 200
        assert threading.active_count() <= before + THREADS


def test_a_viewer_that_is_closed_leaves_nothing(run: Path, pair: tuple[Path, Path]) -> None:
    with open_viewer(run, port=0, certificate=pair[0], key=pair[1]) as served:
        place = _place(served)
        assert _honest(served, pair)[0] == 200
        assert served._front is not None
        inside = served._front._inside
        assert inside.exists()
        assert inside.parent.stat().st_mode & 0o077 == 0, "no other user may come in"
    assert not inside.parent.exists()
    with pytest.raises(ConnectionError):
        socket.create_connection(place, timeout=5)


def test_certificates_that_cannot_be_used_are_told(
    run: Path, pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = _pair(tmp_path, "other")
    locked = _pair(tmp_path, "locked", "-passout", "pass:secret")
    (tmp_path / "words.pem").write_text("no certificate")
    for certificate, key, words in (
        (tmp_path / "nowhere.pem", None, "is no file"),
        (tmp_path, None, "is no file"),
        (pair[0], tmp_path / "nowhere", "the key"),
        (pair[0], None, "cannot be used: "),
        (tmp_path / "words.pem", None, "cannot be used: no "),
        (pair[0], other[1], "key values mismatch"),
        (*locked, "the private key is encrypted"),
    ):
        with pytest.raises(BadInput, match=words):
            context_of(certificate, key)
    with pytest.raises(BadInput, match="without a certificate"):
        open_viewer(run, port=0, key=pair[1])
    assert command(["view", str(run), "--certificate", str(tmp_path / "words.pem")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
