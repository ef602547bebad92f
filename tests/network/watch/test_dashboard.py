"""What the dashboard's routes give, and to whom."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tacit.errors import UsageError
from tacit.network.watch import dashboard
from tacit.network.watch.dashboard import routes
from tacit.network.watch.status import read
from tests.network.watch import samples
from tests.network.watch.serving import served

TOKEN = "a-token-of-the-operator"
STATIC = Path(dashboard.__file__).parent / "static"


class Asked:
    """Counts how often a status was asked for."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> dict[str, Any]:
        self.times += 1
        return samples.training(9)


@pytest.fixture(scope="module")
def asked() -> Asked:
    return Asked()


@pytest.fixture(scope="module")
def open_one(asked: Asked) -> Iterator[str]:
    with served(routes(asked)) as url:
        yield url


@pytest.fixture(scope="module")
def closed_one() -> Iterator[str]:
    with served(routes(samples.training, TOKEN)) as url:
        yield url


def get(url: str, method: str = "GET", body: str | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One request; redirects are not followed."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = HTTPConnection(parts.hostname, parts.port, timeout=10)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    reply = connection.getresponse()
    found = reply.status, dict(reply.getheaders()), reply.read()
    connection.close()
    return found


def test_a_status_comes_whole_or_from_a_round_on(open_one: str) -> None:
    status, headers, body = get(f"{open_one}/v1/status")
    assert (status, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    assert read(body) == samples.training(9)
    assert [row["round"] for row in read(get(f"{open_one}/v1/status?after=8")[2])["history"]] == [9]
    for strange in ("-1", "x", "9" * 40, "²"):
        assert len(read(get(f"{open_one}/v1/status?after={urllib.request.quote(strange)}")[2])["history"]) == 9


def test_a_status_that_is_known_is_not_sent_again(open_one: str, asked: Asked) -> None:
    _, headers, _ = get(f"{open_one}/v1/status")
    before = asked.times
    answers = [get(f"{open_one}/v1/status", If_None_Match=headers["ETag"]) for _ in range(20)]
    assert {(status, body) for status, _, body in answers} == {(304, b"")}
    assert asked.times - before <= 2  # however many look, it is asked for once a second


@pytest.mark.parametrize("path", ["/", "/dashboard/page.js", "/dashboard/style.css", "/v1/status"])
def test_everything_forbids_what_is_not_its_own(open_one: str, path: str) -> None:
    status, headers, _ = get(open_one + path)
    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_no_file_names_another_server_or_holds_a_script_in_the_page() -> None:
    for file in STATIC.iterdir():
        text = file.read_text()
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), file.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), file.name
        if file.suffix == ".html":
            assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=", text), file.name


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
def test_without_a_token_what_a_proxy_passed_on_is_refused(open_one: str, header: str) -> None:
    for path, status in (("/", 403), ("/v1/status", 401)):
        found, _, body = get(open_one + path, **{header: "203.0.113.9"})
        assert found == status
        assert b"app-recommendation" not in body


def test_without_a_token_a_page_elsewhere_cannot_point_its_name_here(open_one: str) -> None:
    assert get(f"{open_one}/v1/status", Host="evil.example:80")[0] == 401
    for host in ("localhost", "localhost:9", "[::1]:9", "127.0.0.1"):
        assert get(f"{open_one}/v1/status", Host=host)[0] == 200


def test_with_a_token_nobody_sees_anything_without_it(closed_one: str) -> None:
    for shown in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Cookie": "tacit_dashboard=x"}):
        status, headers, body = get(f"{closed_one}/v1/status", **shown)
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        assert b"history" not in body
    assert get(f"{closed_one}/")[0] == 401
    assert read(get(f"{closed_one}/v1/status", Authorization=f"Bearer {TOKEN}")[2])["state"] == "training"


@pytest.mark.parametrize("way", ["link", "form"])
def test_a_browser_shows_the_token_once_and_keeps_a_pass_that_does_not_tell_it(closed_one: str, way: str) -> None:
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    link = get(f"{closed_one}/login?token={TOKEN}")
    status, headers, _ = link if way == "link" else get(f"{closed_one}/login", "POST", f"token={TOKEN}", **form)
    assert (status, headers["Location"]) == (303, "/")
    cookie = headers["Set-Cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict"))
    assert TOKEN not in cookie
    kept = cookie.split(";")[0]
    assert get(f"{closed_one}/v1/status", Cookie=kept)[0] == 200
    assert get(f"{closed_one}/", Cookie=kept)[0] == 200


def test_a_wrong_token_or_a_huge_form_gives_no_pass(closed_one: str) -> None:
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    status, headers, _ = get(f"{closed_one}/login?token=wrong")
    assert status == 401
    assert "Set-Cookie" not in headers
    assert get(f"{closed_one}/login", "POST", "token=" + "x" * 5000, **form)[0] == 413
    assert get(f"{closed_one}/login", "POST", "token=%ED%A0%80&token=%00", **form)[0] == 401


def test_a_token_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 16"):
        routes(samples.training, "short")


def test_a_form_that_never_ends_is_not_waited_for(closed_one: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(dashboard, "FORM", 0.1)
    parts = urlsplit(closed_one)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as slow:  # type: ignore[arg-type]
        head = "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        slow.sendall(f"{head}Content-Length: 100\r\n\r\ntoken=".encode())
        assert slow.recv(4096).startswith(b"HTTP/1.1 400")
