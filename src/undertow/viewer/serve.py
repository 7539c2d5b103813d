"""Serving the viewer on an address of this machine."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Final

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from undertow.errors import BadInput, Unavailable
from undertow.viewer.app import make_app
from undertow.viewer.guard import door_for
from undertow.viewer.source import open_source

__all__ = ["PORT", "Viewer", "open_viewer"]

PORT: Final = 8050


class _Quiet(WSGIRequestHandler):
    """Requests are not logged: addresses may hold a token."""

    protocol_version = "HTTP/1.1"  # connections are kept, so that a page is one handshake

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - as the parent names it
        """Say nothing."""


class Viewer:
    """A viewer that listens; a context manager that serves in the background.

    Args:
        server: listens already.
        url: where it is reached, the token included where one is needed.
        token: that token.
    """

    def __init__(self, server: BaseWSGIServer, url: str, token: str | None) -> None:
        self._server = server
        self._thread: Thread | None = None
        self.url = url
        self.token = token

    def serve_forever(self) -> None:
        """Serve until interrupted."""
        try:
            self._server.serve_forever()
        finally:
            self._server.server_close()

    def __enter__(self) -> Viewer:
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        if self._thread is not None:
            self._thread.join(timeout=5)
        self._server.server_close()


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        BadInput: the address is not one of this machine.
        Unavailable: the port is taken.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise BadInput(
            f"'{host}' is no address of this machine; 127.0.0.1 is this machine alone"
        ) from error
    listening = socket.socket(found[0], found[1])
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(found[4])
    except OSError as error:
        listening.close()
        if port and getattr(error, "errno", None) == 98:
            raise Unavailable(
                f"port {port} is taken; choose another with --port (0: any free one)"
            ) from error
        raise Unavailable(f"cannot listen on {host}:{port} ({error.strerror})") from error
    listening.listen(128)
    return listening


def open_viewer(
    run: str | Path,
    *,
    others: Sequence[str | Path] = (),
    host: str = "127.0.0.1",
    port: int = PORT,
    token: str | None = None,
    models: Sequence[str] = (),
) -> Viewer:
    """A viewer of a run; it listens at once and serves when told to.

    Args:
        run: the run's directory.
        others: further runs to compare it with.
        host: the address to listen on. On any but a loopback address visitors need a token.
        port: the port; 0 for any that is free.
        token: the token; made where one is needed and none is given.
        models: further models for live attacks, as ``load_model`` takes them.

    Raises:
        BadInput: for a directory or an address that there is not, or a token that is too short.
        Foreign: for a directory that is no run.
        Unavailable: for a port that is taken.
    """
    door = door_for(host, token)
    source, further = open_source(run), [open_source(r) for r in others]
    source.warm()
    app = make_app(source, door, others=further, models=models)
    listening = _listen(host, port)
    bound = listening.getsockname()[1]
    server = make_server(
        host, bound, app.server, threaded=True, request_handler=_Quiet, fd=listening.fileno()
    )
    listening.detach()
    name = f"[{host}]" if ":" in host else host
    url = f"http://{name}:{bound}/" + (f"?token={door.token}" if door.token else "")
    return Viewer(server, url, door.token)
