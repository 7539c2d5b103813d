from __future__ import annotations

import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from undertow.cli.view import view
from undertow.errors import BadInput, Foreign, Unavailable
from undertow.store import Run
from undertow.viewer import open_viewer

app = typer.Typer()
app.command()(view)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no run"):
        open_viewer(tmp_path / "nothing", port=0)
    with pytest.raises(Foreign, match="not an undertow run"):
        open_viewer(tmp_path, port=0)
    found = CliRunner().invoke(app, [str(tmp_path / "nothing")])
    assert isinstance(found.exception, BadInput)


def test_a_taken_port_is_named(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Unavailable, match=f"port {port} is taken"):
            open_viewer(run.path, port=port)


def test_an_address_elsewhere_is_refused(run: Run) -> None:
    with pytest.raises(BadInput, match="no address of this machine"):
        open_viewer(run.path, host="no such host", port=0)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_address_holds_the_token(run: Run, host: str) -> None:
    with open_viewer(run.path, host=host, port=0) as viewer:
        assert viewer.at("layer?tap=1").endswith(f"/layer?tap=1&token={viewer.token}")
        assert viewer.token is not None
        assert viewer.url.endswith(f"?token={viewer.token}")


def test_a_token_may_come_from_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERTOW_TOKEN", "short")
    found = CliRunner().invoke(app, [str(run.path), "--port", "0"])
    assert isinstance(found.exception, BadInput)
    assert "5 characters" in str(found.exception)


def test_the_first_line_is_the_address(run: Run) -> None:
    code = "import sys, typer; from undertow.cli.view import view; typer.run(view)"
    command = [sys.executable, "-c", code, str(run.path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:")
            assert "?token=" in url
            visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            with visitor.open(url, timeout=20) as answer:
                assert b"undertow-palette" in answer.read()
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(url.partition("?")[0], timeout=20)
        finally:
            server.terminate()
