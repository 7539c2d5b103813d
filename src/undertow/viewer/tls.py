"""TLS for the viewer: what visitors send is decrypted here, and passed to the server inside."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import socket
import ssl
import tempfile
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Final

from undertow.errors import BadInput
from undertow.loading import home, is_file

__all__ = ["Front", "context_of", "private_socket"]

PIECE: Final = 2**16
"""Bytes passed on at a time."""
SHAKING: Final = 10
"""Seconds in which a visitor must have agreed on a cipher."""
LEAVING: Final = 2
"""Seconds in which one that is sent away must have gone."""


def context_of(certificate: str | Path, key: str | Path | None) -> ssl.SSLContext:
    """What a server with this certificate may speak: TLS 1.2 and later.

    Args:
        certificate: a PEM file: the certificate, then those that vouch for it.
        key: a PEM file with its private key; where there is none, the certificate's own file.

    Raises:
        BadInput: for files that are not there, or hold something else, or a key that is encrypted
            or belongs to another certificate.
    """
    key = key or certificate
    for what, place in (("certificate", certificate), ("key", key)):
        if not is_file(place):
            raise BadInput(f"the {what} '{place}' is no file (allowed: a PEM file)")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(home(certificate), home(key), password=_encrypted)
    except ssl.SSLError as problem:
        why = (problem.reason or "no PEM").replace("_", " ").lower()
        raise BadInput(
            f"certificate '{certificate}' and key '{key}' cannot be used: {why} "
            "(allowed: a certificate and its private key, as PEM)"
        ) from None
    except OSError as problem:
        raise BadInput(f"cannot read '{certificate}' ({problem.strerror})") from None
    return context


def _encrypted() -> str:
    raise BadInput("the private key is encrypted (allowed: one without a password)")


def private_socket() -> tuple[socket.socket, Path]:
    """A listening socket that this user alone can reach, and its place.

    Its folder goes when its :class:`Front` is closed, or at exit.
    """
    folder = Path(tempfile.mkdtemp(prefix="undertow-"))  # of this user alone
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(folder / "viewer"))
    listening.listen(128)
    return listening, folder / "viewer"


class Front:
    """Listens in the place of a server, speaks TLS, and passes on what was said.

    A visitor costs no thread, and no more than ``most`` are listened to at once, counting those
    that have not agreed on a cipher.

    Args:
        listening: where visitors come.
        context: the certificate.
        inside: the socket of the server, which has its own limits of time and size.
        most: visitors at once.
    """

    def __init__(
        self, listening: socket.socket, context: ssl.SSLContext, inside: Path, most: int
    ) -> None:
        self._listening, self._context = listening, context
        self._inside, self._most = inside, most
        self._loop = asyncio.new_event_loop()
        # What strangers do to a connection is not the terminal's business.
        self._loop.set_exception_handler(lambda *_: None)
        self._thread = Thread(target=self._run, daemon=True)
        listening.setblocking(False)

    def start(self) -> None:
        """Listen, in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Send everybody away."""
        with suppress(RuntimeError):  # closed already
            self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread.is_alive():
            self._thread.join(timeout=LEAVING)
        self._listening.close()
        shutil.rmtree(self._inside.parent, ignore_errors=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.create_task(self._accept())
        try:
            self._loop.run_forever()
        finally:
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.close()

    async def _accept(self) -> None:
        room, visits = asyncio.Semaphore(self._most), set[asyncio.Task[None]]()

        def over(visit: asyncio.Task[None]) -> None:
            visits.discard(visit)
            room.release()

        while True:
            await room.acquire()
            try:
                visitor, _ = await self._loop.sock_accept(self._listening)
            except OSError:  # gone before it was let in
                room.release()
                await asyncio.sleep(0.05)
                continue
            visit = self._loop.create_task(self._visit(visitor))
            visits.add(visit)
            visit.add_done_callback(over)

    async def _visit(self, visitor: socket.socket) -> None:
        said = asyncio.StreamReader(PIECE)
        protocol = asyncio.StreamReaderProtocol(said)
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: protocol, visitor, ssl=self._context,
                ssl_handshake_timeout=SHAKING, ssl_shutdown_timeout=LEAVING,
            )  # fmt: skip
        except OSError:  # no TLS, or too slow
            visitor.close()
            return
        outside = asyncio.StreamWriter(transport, protocol, said, self._loop)
        try:
            answered, inside = await asyncio.open_unix_connection(self._inside)
        except OSError:
            transport.abort()
            return
        ways = [
            asyncio.ensure_future(_pass(said, inside)),
            asyncio.ensure_future(_pass(answered, outside)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            inside.close()
            outside.close()  # sends what is left first


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Pass bytes on until one side has gone."""
    with suppress(OSError):
        while piece := await source.read(PIECE):
            target.write(piece)
            await target.drain()
