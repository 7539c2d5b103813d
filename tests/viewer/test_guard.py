from __future__ import annotations

import re
from typing import Any

import pytest

from undertow.errors import BadInput
from undertow.viewer.app import make_app
from undertow.viewer.guard import LARGEST, door_for
from undertow.viewer.source import Source

TOKEN = "a-token-that-is-long-enough"


@pytest.fixture
def client(source: Source) -> Any:
    return make_app(source, door_for("127.0.0.1", None)).server.test_client()


@pytest.fixture
def guarded(source: Source) -> Any:
    return make_app(source, door_for("0.0.0.0", TOKEN)).server.test_client()


@pytest.mark.parametrize("host", ["127.0.0.1:8050", "localhost:8050", "[::1]:8050", "LOCALHOST"])
def test_this_machine_may_enter(client: Any, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8050",
        "127.0.0.1.evil.example",
        "192.168.1.7:8050",
        "localhost.evil:8050",
    ],
)
def test_names_that_were_made_to_point_here_are_refused(client: Any, host: str) -> None:
    for path in ("/", "/_dash-layout", "/assets/undertow.svg", "/undertow/plotly.js"):
        assert client.get(path, headers={"Host": host}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
)
def test_other_sites_cannot_order_anything(client: Any, headers: dict[str, str]) -> None:
    answer = client.post(
        "/_dash-update-component", json={}, headers={"Host": "localhost:8050", **headers}
    )
    assert answer.status_code == 403


def test_our_own_pages_can(client: Any) -> None:
    headers = {
        "Host": "localhost:8050",
        "Origin": "http://localhost:8050",
        "Sec-Fetch-Site": "same-origin",
    }
    answer = client.get("/_dash-layout", headers=headers)
    assert answer.status_code == 200


def test_headers_forbid_everything_from_elsewhere(client: Any) -> None:
    answer = client.get("/")
    rules = dict(
        r.strip().split(" ", 1) for r in answer.headers["Content-Security-Policy"].split(";")
    )
    assert rules["default-src"] == "'self'"
    assert "unsafe" not in rules["script-src"]
    assert rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_the_page_names_no_other_host(client: Any) -> None:
    page = client.get("/").get_data(as_text=True)
    sources = re.findall(r"(?:src|href)=\"([^\"]+)\"", page)
    assert sources
    assert all(s.startswith("/") and not s.startswith("//") for s in sources)


def test_off_loopback_a_token_is_made() -> None:
    assert door_for("127.0.0.1", None).token is None
    made = {door_for("0.0.0.0", None).token for _ in range(3)}
    assert len(made) == 3
    assert all(t is not None and len(t) >= 32 for t in made)


def test_a_short_token_is_refused() -> None:
    with pytest.raises(BadInput, match="5 characters"):
        door_for("0.0.0.0", "12345")


def test_nothing_is_served_without_the_token(guarded: Any) -> None:
    for path in (
        "/",
        "/_dash-layout",
        "/_dash-dependencies",
        "/assets/base.css",
        "/undertow/plotly.js",
    ):
        assert guarded.get(path).status_code == 401
        assert guarded.get(f"{path}?token=wrong-but-just-as-long-as-it").status_code == 401
    assert guarded.post("/_dash-update-component", json={}).status_code == 401


def test_the_token_is_used_once_and_leaves_the_address(guarded: Any) -> None:
    answer = guarded.get(
        f"/trajectory?token={TOKEN}&cell=a%2Bb", headers={"Host": "localhost:9000"}
    )
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/trajectory?cell=a%2Bb"
    cookie = answer.headers["Set-Cookie"]
    assert TOKEN not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert guarded.get("/_dash-layout", headers={"Host": "localhost:9000"}).status_code == 200


def test_the_redirect_stays_here(guarded: Any) -> None:
    answer = guarded.get(f"//evil.example/?token={TOKEN}")
    target = answer.headers.get("Location", "/")
    assert not target.startswith(("//", "http:", "https:")) or "evil" not in target


def test_off_loopback_addresses_are_known_and_names_are_not() -> None:
    door = door_for("0.0.0.0", TOKEN)
    assert door.knows("192.168.1.7:8050")
    assert door.knows("[fe80::1]:8050")
    assert not door.knows("evil.example:8050")
    assert not door_for("192.168.1.7", TOKEN).knows("0.0.0.0.evil")


def test_large_requests_are_refused(client: Any) -> None:
    answer = client.post(
        "/_dash-update-component", data=b"x" * (LARGEST + 1), content_type="application/json"
    )
    assert answer.status_code == 413
