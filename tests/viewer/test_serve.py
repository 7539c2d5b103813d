"""The viewer as a server: slow, large, malformed and lost visitors do not stop an honest one."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from undertow.testing.runs import synthetic_run
from undertow.viewer import open_viewer
from undertow.viewer.guard import LARGEST
from undertow.viewer.serve import THREADS, Viewer


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    run = synthetic_run(tmp_path_factory.mktemp("served") / "run", samples=8, shard=8)
    spec = run.path / "spec.yaml"
    spec.write_text(spec.read_text().replace("name: synthetic", "name: <b>bold</b>"))
    with open_viewer(run.path, port=0) as served:
        yield served


def _place(viewer: Viewer) -> tuple[str, int]:
    host, _, port = viewer.url.partition("//")[2].partition("/")[0].partition(":")
    return host, int(port)


def _honest(viewer: Viewer, path: str = "") -> tuple[int, str]:
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    try:
        with browser.open(viewer.at(path), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _raw(viewer: Viewer, data: bytes) -> bytes:
    with socket.create_connection(_place(viewer), timeout=10) as visitor:
        visitor.sendall(data)
        return visitor.recv(200).partition(b"\r\n")[0]


def test_half_requests_cost_no_threads_and_stop_nobody(viewer: Viewer) -> None:
    before = threading.active_count()
    with ExitStack() as held:
        for _ in range(300):
            visitor = held.enter_context(socket.create_connection(_place(viewer)))
            visitor.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
        assert _honest(viewer)[0] == 200
        assert threading.active_count() <= before + THREADS


def test_what_is_no_request_is_refused_without_a_word_on_the_terminal(
    viewer: Viewer, capfd: pytest.CaptureFixture[str]
) -> None:
    host = b"Host: 127.0.0.1\r\n"
    bad = {
        b"\x00\xff garbage\r\n\r\n": b"400",
        b"POST / HTTP/1.1\r\n" + host + b"Content-Length: -5\r\n\r\n": b"400",
        b"GET / HTTP/1.1\r\n" + host + b"a: b\r\n" * 9000 + b"\r\n": b"431",
        b"POST / HTTP/1.1\r\n" + host + b"Content-Length: %d\r\n\r\n" % (LARGEST + 1): b"413",
    }
    for data, code in bad.items():
        assert code in _raw(viewer, data), data[:40]
    assert _honest(viewer)[0] == 200
    assert capfd.readouterr() == ("", "")


def test_paths_that_show_no_view_are_not_there(viewer: Viewer) -> None:
    assert _honest(viewer, "layer")[0] == 200
    for path in ("nowhere", "etc/passwd", "%2e%2e/%2e%2e/etc/passwd"):
        assert _honest(viewer, path)[0] == 404


def test_the_name_of_a_run_is_text_in_the_title(viewer: Viewer) -> None:
    page = _honest(viewer)[1]
    title = page.partition("<title>")[2].partition("</title>")[0]
    assert title == "&lt;b&gt;bold&lt;/b&gt; · Undertow"
