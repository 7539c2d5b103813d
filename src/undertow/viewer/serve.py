"""Serving the viewer on an address of this machine."""

from __future__ import annotations

import logging
import resource
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Final

from waitress.server import BaseWSGIServer, create_server

from undertow.errors import BadInput, Unavailable
from undertow.viewer.app import make_app
from undertow.viewer.guard import LARGEST, door_for
from undertow.viewer.source import open_source
from undertow.viewer.tls import Front, context_of, private_socket

__all__ = ["PORT", "Viewer", "open_viewer"]

PORT: Final = 8050
THREADS: Final = 8
"""Requests that are worked on at once."""
CONNECTIONS: Final = 2000
"""Visitors at once, as far as the process may open files."""
SPARE: Final = 64
"""Files that are left for its own."""
PATIENCE: Final = 20
"""Seconds that a visitor may say nothing."""


class Viewer:
    """A viewer that listens; a context manager that serves in the background.

    Args:
        server: listens already.
        url: where it is reached, the token included.
        token: that token.
        front: what speaks TLS in front of the server.
    """

    def __init__(
        self, server: BaseWSGIServer, url: str, token: str | None, front: Front | None = None
    ) -> None:
        self._server = server
        self._front = front
        self._thread: Thread | None = None
        self.url = url
        self.token = token

    def at(self, path: str) -> str:
        """The address of one of its pages, the token included: ``layer?tap=1``."""
        home, _, token = self.url.partition("?")
        joint = "&" if "?" in path else "?"
        return home + path + (f"{joint}{token}" if token else "")

    def serve_forever(self) -> None:
        """Serve until interrupted."""
        if self._front is not None:
            self._front.start()
        try:
            self._server.run()
        finally:
            self._close()

    def _close(self) -> None:
        if self._front is not None:
            self._front.close()
        for channel in list(self._server.active_channels.values()):
            with suppress(OSError):  # gone by itself
                channel.close()
        with suppress(OSError):
            self._server.close()

    def __enter__(self) -> Viewer:
        if self._front is not None:
            self._front.start()
        self._thread = Thread(target=self._server.run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
        if self._thread is not None:
            self._thread.join(timeout=5)


def _room(files: int) -> int:
    """Visitors at once, where each takes so many open files."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(16, min(CONNECTIONS, (allowed - SPARE) // files))


def _server(app: Any, listening: socket.socket, scheme: str) -> BaseWSGIServer:
    """The application on a server that many slow visitors do not stop.

    A connection costs no thread until its request is whole; what is too large, too long or no HTTP
    is refused before the application sees it, without a word on the terminal.
    """
    logging.getLogger("waitress").setLevel(logging.CRITICAL)
    return create_server(
        app, sockets=[listening], threads=THREADS, channel_timeout=PATIENCE, cleanup_interval=5,
        connection_limit=_room(1), max_request_body_size=LARGEST, url_scheme=scheme,
        max_request_header_size=2**15, inbuf_overflow=2**20, ident="undertow",
        asyncore_loop_timeout=1, asyncore_use_poll=True, expose_tracebacks=False,
    )  # fmt: skip


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
    certificate: str | Path | None = None,
    key: str | Path | None = None,
    models: Sequence[str] = (),
) -> Viewer:
    """A viewer of a run; it listens at once and serves when told to.

    Args:
        run: the run's directory.
        others: further runs to compare it with.
        host: the address to listen on.
        port: the port; 0 for any that is free.
        token: what visitors must show, on this machine, too, where others may be at work; made
            where none is given.
        certificate: a PEM file; visitors are then spoken to by TLS alone.
        key: its private key, if the certificate's file does not hold it.
        models: further models for live attacks, as ``load_model`` takes them.

    Raises:
        BadInput: for a directory or an address that there is not, a token that is too short, or a
            certificate that cannot be used.
        Foreign: for a directory that is no run.
        Unavailable: for a port that is taken.
    """
    door = door_for(host, token or secrets.token_urlsafe(24))
    if key is not None and certificate is None:
        raise BadInput(f"a key, '{key}', without a certificate (allowed: both, or neither)")
    encrypted = None if certificate is None else context_of(certificate, key)
    source, further = open_source(run), [open_source(r) for r in others]
    source.warm()
    app = make_app(source, door, others=further, models=models)
    listening = _listen(host, port)
    bound = listening.getsockname()[1]
    scheme = "http" if encrypted is None else "https"
    name = f"[{host}]" if ":" in host else host
    url = f"{scheme}://{name}:{bound}/" + (f"?token={door.token}" if door.token else "")
    if encrypted is None:
        return Viewer(_server(app.server, listening, scheme), url, door.token)
    inside, place = private_socket()
    front = Front(listening, encrypted, place, _room(3))
    return Viewer(_server(app.server, inside, scheme), url, door.token, front)
