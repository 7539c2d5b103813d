"""Who may talk to the viewer, and what a page of it may do."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
import time
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from flask import Flask, Response, make_response, redirect, request

from undertow.errors import BadInput

__all__ = ["LARGEST", "LOOPBACK", "Door", "door_for", "protect"]

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
SHORTEST: Final = 16
LARGEST: Final = 12 * 2**20
"""Bytes of the largest request: an upload of 8 MiB as base64, and some room."""


@dataclass(frozen=True, slots=True)
class Door:
    """The rules of one server.

    Args:
        host: the address it listens on.
        token: what a visitor must show; ``None`` where everybody on this machine may enter.
        session: what the cookie of an admitted visitor holds.
    """

    host: str
    token: str | None = None
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK

    def knows(self, host: str) -> bool:
        """Whether a Host header names this server.

        Refusing all others stops DNS rebinding: a page whose name was made to point here would
        otherwise be of the same origin.
        """
        name = _bare(host)
        if name in LOOPBACK or (name == self.host.lower() and name not in ("0.0.0.0", "::")):
            return True
        if self.loopback:
            return False
        return name in (socket.gethostname().lower(), socket.getfqdn().lower()) or _address(name)

    def admits(self, shown: str | None, expected: str | None) -> bool:
        """Whether a secret is the right one, in constant time."""
        if not shown or not expected:
            return False
        return hmac.compare_digest(shown.encode("utf-8", "replace"), expected.encode())


def _bare(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if host.count(":") == 1 else host.lower()


def _address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def door_for(host: str, token: str | None) -> Door:
    """The rules for an address: off loopback there is always a token.

    Raises:
        BadInput: for a token that can be guessed.
    """
    if token is not None and len(token) < SHORTEST:
        raise BadInput(f"the token has {len(token)} characters (allowed: {SHORTEST} or more)")
    if token is None and host not in LOOPBACK:
        token = secrets.token_urlsafe(24)
    return Door(host=host, token=token)


def _refuse(status: int, title: str, words: str, form: bool = False) -> Response:
    ask = (
        '<form method="get"><label>Token <input name="token" type="password" autocomplete="off" '
        "autofocus></label> <button>Enter</button></form>"
        if form
        else ""
    )
    page = (
        "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title>"
        "<body style='font:16px/1.5 system-ui;max-width:34em;margin:18vh auto;padding:0 1em'>"
        f"<h1 style='font-size:1.2em'>{escape(title)}</h1><p>{escape(words)}</p>{ask}"
    )
    return make_response(page, status)


def _same_origin(door: Door) -> bool:
    """A page of another origin may neither ask nor order anything."""
    if (
        request.headers.get("Sec-Fetch-Site", "same-origin") == "cross-site"
        and request.method != "GET"
    ):
        return False
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    return urlsplit(origin).netloc.lower() == request.host.lower()


def _cookie() -> str:
    port = request.host.rpartition(":")[2]
    return f"undertow_{port if port.isdigit() else 'session'}"


def _enter(door: Door) -> Any:
    """What to answer a visitor without a session: the way in, or the question for the token."""
    given = request.args.get("token")
    if request.method == "GET" and given is not None:
        if door.admits(given, door.token):
            left = [(k, v) for k, v in request.args.items(multi=True) if k != "token"]
            answer = redirect(request.path + (f"?{urlencode(left)}" if left else ""))
            answer.set_cookie(
                _cookie(),
                door.session,
                httponly=True,
                samesite="Lax",
                path="/",
                secure=request.is_secure,
            )
            return answer
        time.sleep(0.3)
    return _refuse(
        401,
        "A token is needed",
        "Open the address that `undertow view` printed, or enter its token.",
        form=True,
    )


_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def policy(hashes: tuple[str, ...]) -> str:
    """The content security policy: nothing comes from elsewhere, no script but our own.

    Args:
        hashes: of the inline scripts that the page starts with.
    """
    scripts = " ".join(("'self'", *hashes))
    return (
        f"default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


def protect(server: Flask, door: Door, hashes: tuple[str, ...] = ()) -> None:
    """Put the rules before every request and the headers on every answer."""
    server.config["MAX_CONTENT_LENGTH"] = LARGEST
    rules = policy(hashes)

    @server.before_request
    def check() -> Any:
        if not door.knows(request.host):
            return _refuse(403, "Wrong address", "This server is reached under another name.")
        if not _same_origin(door):
            return _refuse(403, "Wrong origin", "Pages of other sites cannot use this viewer.")
        if door.token is not None and not door.admits(request.cookies.get(_cookie()), door.session):
            return _enter(door)
        return None

    @server.after_request
    def harden(answer: Response) -> Response:
        for name, value in _HEADERS.items():
            answer.headers.setdefault(name, value)
        answer.headers["Content-Security-Policy"] = rules
        return answer
