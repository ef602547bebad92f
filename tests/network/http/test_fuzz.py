"""Whatever arrives, the server answers no 500, keeps its memory, and serves the next."""

from __future__ import annotations

import asyncio
import string
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tacit.network.http.limits import Limits
from tacit.network.http.server import Server
from tacit.network.http.signing import HEADERS, Signed
from tacit.network.office import Refused
from tests.network.http.office import Memory
from tests.network.http.serving import Someone, head, known, received, written

METHODS = st.sampled_from(["GET", "PUT", "POST", "PATCH", "HEAD", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"])
ID = "a" * 32
SEGMENTS = st.sampled_from(
    ["v1", "enrol", "check-in", "answers", "uploads", "blobs", "commit", "failure", "withdraw", "time", "..", "%00", ""]
)
PATHS = st.one_of(
    st.lists(SEGMENTS, max_size=5).map(lambda parts: "/" + "/".join(parts)),
    st.sampled_from(
        [
            "/v1/enrol",
            "/v1/check-in",
            f"/v1/answers/{ID}",
            f"/v1/answers/{ID}/failure",
            "/v1/uploads",
            f"/v1/uploads/{ID}",
        ]
    ),
    st.text(string.printable.strip(), max_size=40).map(lambda text: "/" + text),
)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=80)
OTHERS = (
    "Content-Length Content-Encoding Transfer-Encoding Upload-Offset Range If-None-Match Expect Connection Upgrade X"
)
NAMES = st.sampled_from([*HEADERS, *OTHERS.split()])
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Held:
    """A server that lasts for many examples, on a loop of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.office, self.who = known()
        self.faults: list[dict[str, Any]] = []
        limits = Limits(grace=0.2, idle=0.5, requests=1e6, burst=10**6, enrolments=1e6)
        self.server = Server(self.office, limits=limits, observe=self.observe)
        self.loop.run_until_complete(self.server.start())

    def observe(self, event: str, **facts: Any) -> None:
        if facts.get("status", 0) == 500:
            self.faults.append(facts)

    def check(self, data: bytes) -> None:
        """Sends bytes, then asks whether it still serves."""
        self.loop.run_until_complete(self._check(data))
        assert not self.faults
        assert self.server.memory.free == self.server.memory.size

    async def _check(self, data: bytes) -> None:
        reader, writer = await asyncio.open_connection(*self.server.address)
        writer.write(data)
        writer.write_eof()
        with suppress(ConnectionError):
            answer = await asyncio.wait_for(reader.read(2**20), 10)
            assert not answer.startswith(b"HTTP/1.1 500")
            assert not answer.startswith(b"HTTP/1.0 500")
        writer.close()
        reader, writer = await asyncio.open_connection(*self.server.address)
        writer.write(written("GET", "/livez", {}))
        assert (await received(reader)).status == 200
        writer.close()

    def close(self) -> None:
        self.loop.run_until_complete(self.server.stop(1.0))
        self.loop.close()


@pytest.fixture(scope="module")
def held() -> Iterator[Held]:
    found = Held()
    yield found
    found.close()


@QUICK
@given(data=st.binary(max_size=400))
@example(data=b"\r\n\r\n")
@example(data=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
@example(data=b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello")
@example(data=b"POST /v1/enrol HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
@example(data=b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n")
@example(data=b"GET / HTTP/1.1\r\n" + b"".join(b"a%d: b\r\n" % n for n in range(1000)) + b"\r\n")
def test_any_bytes_at_all(held: Held, data: bytes) -> None:
    held.check(data)


@QUICK
@given(
    method=METHODS,
    path=PATHS,
    headers=st.dictionaries(NAMES, VALUES, max_size=6),
    body=st.binary(max_size=200),
)
def test_any_request_that_is_not_signed(
    held: Held, method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    held.check(written(method, path.replace(" ", "%20"), {"Connection": "close", **headers}, body))


@QUICK
@given(
    method=st.sampled_from(["GET", "PUT", "POST", "PATCH", "HEAD"]),
    path=PATHS,
    headers=st.dictionaries(st.sampled_from(["Upload-Offset", "Range", "If-None-Match"]), VALUES, max_size=3),
    body=st.binary(max_size=200),
)
def test_any_body_under_a_true_signature(
    held: Held, method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    held.office.revoked.clear()
    target = path.replace(" ", "%20").replace("#", "%23")
    signed = head(held.who, method, target, body)
    held.check(written(method, target, {**headers, **signed, "Connection": "close"}, body))


@given(headers=st.fixed_dictionaries(dict.fromkeys(HEADERS, VALUES)))
def test_any_headers_are_read_or_refused(headers: dict[str, str]) -> None:
    with suppress(Refused):
        Signed.read(headers)


@given(name=st.text(min_size=1, max_size=16), path=st.text(max_size=20))
def test_what_is_signed_is_verified_and_nothing_else(name: str, path: str) -> None:
    try:
        who = Someone(name)
        headers = head(who, "PUT", path)
    except UnicodeEncodeError:
        return
    found = Signed.read(headers)
    found.verify(who.key, "PUT", path)
    with pytest.raises(Refused):
        found.verify(who.key, "PUT", path + "x")


def test_the_office_of_these_tests_is_one() -> None:
    from tacit.network.office import Office

    office: Office = Memory()
    assert office.unready() == []
