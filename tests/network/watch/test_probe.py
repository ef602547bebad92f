"""What a doctor finds on the way to a coordinator: with a real server, real certificates, and everything that fails."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tacit.errors import StorageError, UsageError
from tacit.network.http.server import Server
from tacit.network.identity import Enrolment, make_certificates, server_context
from tacit.network.identity.certs import Made
from tacit.network.watch import probe
from tacit.network.watch.asking import Target, authority
from tacit.network.watch.probe import Level, examined
from tests.network.watch.serving import served


class Quiet:
    """An office of which only its readiness is asked."""

    def __init__(self, why: list[str]) -> None:
        self.why = why

    def unready(self) -> list[str]:
        return self.why


@contextmanager
def coordinator(why: list[str] | None = None, **settings: Any) -> Iterator[str]:
    """A coordinator's own server, in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = Server(Quiet(why or []), **settings)  # type: ignore[arg-type]
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    try:
        yield server.url
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(0.1), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_certificates(tmp_path_factory.mktemp("certs") / "here", ["127.0.0.1", "localhost"])


def look(
    url: str, folder: Path, ca: Path | None = None, clock: Callable[[], float] | None = None
) -> dict[str, tuple[Level, str, str]]:
    """Findings by what was looked at."""
    target = Target.of(url)
    given = {} if clock is None else {"clock": clock}
    found = asyncio.run(examined(target, authority(target, ca, folder), folder, **given))
    assert all(bool(one.todo) is (one.level is not Level.OK) for one in found)
    return {one.what: (one.level, one.said, one.todo) for one in found}


def test_a_coordinator_that_asks_for_a_certificate_is_looked_at_with_one(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "certs", ["127.0.0.1"], clients=["mercy"])
    with coordinator(tls=server_context(made.certificate, made.key, made.ca)) as url:
        target = Target.of(url)
        pinned = authority(target, made.ca, tmp_path)
        good = asyncio.run(examined(target, pinned, tmp_path, own=made.clients["mercy"]))
        bad = {one.what: one for one in asyncio.run(examined(target, pinned, tmp_path))}
    assert {one.level for one in good} == {Level.OK}
    assert bad["service"].level is Level.FAIL
    assert bad["service"].todo.startswith("it may ask for a client certificate: give --cert and --key")


def levels(found: dict[str, tuple[Level, str, str]]) -> dict[str, str]:
    return {what: one[0].value for what, one in found.items()}


def test_a_good_coordinator_is_good_in_every_respect(made: Made, tmp_path: Path) -> None:
    with coordinator(tls=server_context(made.certificate, made.key)) as url:
        found = look(url, tmp_path, made.ca)
    names = ["name", "route", "tls", "certificate", "clock", "versions", "ready", "latency", "disk"]
    assert levels(found) == dict.fromkeys(names, "OK")
    assert found["tls"][1] == "TLS 1.3"
    assert "the authority that is pinned" in found["certificate"][1]


def test_an_enrolment_says_which_authority_to_trust(made: Made, tmp_path: Path) -> None:
    import ssl

    with coordinator(tls=server_context(made.certificate, made.key)) as url:
        ca = ssl.PEM_cert_to_DER_cert(made.ca.read_text())
        Enrolment("clinic-a", url, bytes(32), bytes(64), ca).write(tmp_path)
        assert levels(look(url, tmp_path))["certificate"] == "OK"


def test_an_authority_that_is_not_trusted_ends_the_look_and_says_what_to_do(made: Made, tmp_path: Path) -> None:
    with coordinator(tls=server_context(made.certificate, made.key)) as url:
        found = look(url, tmp_path)
    assert levels(found) == {"name": "OK", "route": "OK", "certificate": "FAIL", "disk": "OK"}
    assert "authority is not trusted here" in found["certificate"][1]
    assert "--ca" in found["certificate"][2]


def test_a_certificate_for_another_name_says_for_which_it_is(tmp_path: Path) -> None:
    other = make_certificates(tmp_path / "certs", ["clinic.example"])
    with coordinator(tls=server_context(other.certificate, other.key)) as url:
        level, said, _ = look(url, tmp_path, other.ca)["certificate"]
    assert level is Level.FAIL
    assert "another address (it is for clinic.example, until" in said


def test_a_certificate_that_ends_soon_is_worth_a_word(tmp_path: Path) -> None:
    soon = make_certificates(tmp_path / "certs", ["127.0.0.1"], days=5)
    with coordinator(tls=server_context(soon.certificate, soon.key)) as url:
        level, said, todo = look(url, tmp_path, soon.ca)["certificate"]
    assert level is Level.WARN
    assert (datetime.now(UTC) + timedelta(days=5)).strftime("%Y-%m-%d") in said
    assert "renewed" in todo


@pytest.mark.parametrize(("off", "level"), [(-3600, Level.FAIL), (86400, Level.FAIL), (-60, Level.WARN), (5, Level.OK)])
def test_a_clock_that_is_off_is_measured(made: Made, tmp_path: Path, off: float, level: Level) -> None:
    import time

    with coordinator(tls=server_context(made.certificate, made.key)) as url:
        found = look(url, tmp_path, made.ca, clock=lambda: time.time() + off)["clock"]
    assert found[0] is level
    assert ("ahead of" if off > 0 else "behind") in found[1]


def test_a_server_of_another_protocol_is_said(tmp_path: Path) -> None:
    with coordinator(versions=("9",)) as url:
        level, said, todo = look(url, tmp_path)["versions"]
    assert level is Level.FAIL
    assert said.endswith("protocol 9")
    assert "up to date" in todo


def test_a_coordinator_that_cannot_serve_says_why(tmp_path: Path) -> None:
    with coordinator(["the journal cannot be written: no space"]) as url:
        level, said, _ = look(url, tmp_path)["ready"]
    assert level is Level.WARN
    assert "no space" in said


def test_something_else_at_the_port_is_no_coordinator(tmp_path: Path) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<html>log in to the hotel's network</html>")

    with served([web.get("/{rest:.*}", page)]) as url:
        level, _, todo = look(url, tmp_path)["service"]
    assert level is Level.FAIL
    assert "a proxy" in todo


def test_a_port_where_nothing_listens_refuses(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found = look(f"https://127.0.0.1:{free.getsockname()[1]}", tmp_path)
    assert levels(found) == {"name": "OK", "route": "FAIL", "disk": "OK"}
    assert "nothing listens" in found["route"][2]


def test_a_server_that_says_nothing_is_waited_for_only_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "CONNECT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = look(f"https://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
        assert levels(found)["tls"] == "FAIL"
        found = look(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
        assert levels(found) == {"name": "OK", "route": "OK", "tls": "WARN", "service": "FAIL", "disk": "OK"}


def test_a_name_without_an_address_is_said(tmp_path: Path) -> None:
    found = look("https://no-such-clinic.invalid:8443", tmp_path)
    assert levels(found) == {"name": "FAIL", "disk": "OK"}


def test_little_space_is_worth_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for least, level in ((10**18, "WARN"), (0, "OK")):
        monkeypatch.setattr(probe, "LITTLE", least)
        assert levels(look("https://no-such-clinic.invalid", tmp_path / "to" / "be"))["disk"] == level


@pytest.mark.parametrize(
    "text",
    ["", "hospital", "ftp://a", "https://", "https://a:x", "https://u:p@a", "https://a/b", "https://a:0", "http://["],
)
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no address of a coordinator"):
        Target.of(text)


def test_addresses_are_read() -> None:
    assert Target.of("https://hospital.example") == Target("https", "hospital.example", 443)
    assert Target.of("https://[::1]:8443/").url == "https://[::1]:8443"
    assert [Target("http", host, 80).loopback for host in ("::1", "127.9.9.9", "localhost", "a.example")] == [
        True,
        True,
        True,
        False,
    ]


def test_a_file_without_a_certificate_is_said(tmp_path: Path) -> None:
    target = Target.of("https://a")
    (tmp_path / "ca.pem").write_text("-----BEGIN NOTHING-----\nx\n")
    with pytest.raises(UsageError, match="holds no certificate"):
        authority(target, tmp_path / "ca.pem", tmp_path)
    with pytest.raises(StorageError, match="cannot be read"):
        authority(target, tmp_path / "none.pem", tmp_path)
