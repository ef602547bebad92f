"""What comes and is no request: refused by its status alone, told in an event, and never in a traceback."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest
from aiohttp import web

from tacit.network.http.limits import Limits
from tacit.network.watch import log
from tacit.network.watch.log import Log, opened
from tacit.network.watch.observer import Observer
from tests.network.http.serving import Server, known, served

SHORT = Limits(idle=0.3)
MARK = "s3cr3t-of-the-peer"
BAD = [
    f"{MARK}\r\n\r\n",
    f"GET /{MARK}\x01 HTTP/9.9\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\n{MARK}\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\n{MARK} : y\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nX: {MARK}\x00\r\n\r\n",
    f"GET http://[{MARK} HTTP/1.1\r\nHost: x\r\n\r\n",
    f"POST /v1/check-in HTTP/1.1\r\nHost: x\r\nContent-Length: {MARK}\r\n\r\n",
    f"POST /v1/check-in HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{MARK}",
    f"POST /v1/check-in HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{MARK}\r\n",
    f"POST /v1/check-in HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {MARK}\r\n\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\n" + f"X-{MARK}: {'y' * 100_000}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\n" + "".join(f"X{k}: {MARK}\r\n" for k in range(2000)) + "\r\n",
    f"{'M' * 9000} / HTTP/1.1\r\nHost: x\r\n\r\n{MARK}",
]


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    logger = logging.getLogger(log.NAME)
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


async def spoken(server: Server, text: str) -> bytes:
    """What is replied to bytes on a connection of their own, until the server ends it."""
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(text.encode("latin-1"))
    try:
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def test_it_is_refused_by_status_and_told_without_a_word_of_it(caplog: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    opened(stream)
    observer = Observer(log=Log())

    async def story() -> list[bytes]:
        async with served(known()[0], limits=SHORT, observe=observer.observe) as server:
            return [await spoken(server, text) for text in BAD]

    with caplog.at_level(logging.DEBUG):
        replies = asyncio.run(story())
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {line["event"] for line in told} <= {"request.malformed", "request.refused"}
    assert not any("traceback" in line for line in told)
    elsewhere = [one for one in caplog.records if one.levelno > logging.DEBUG or one.name.startswith("aiohttp")]
    assert elsewhere == []
    assert MARK not in stream.getvalue()
    for reply in replies:
        assert reply.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
        assert MARK.encode() not in reply
    assert len(stream.getvalue()) < 3000


def test_a_thousand_of_them_are_a_line_and_a_number() -> None:
    stream = io.StringIO()
    opened(stream)
    observer = Observer(log=Log())

    async def story() -> None:
        async with served(known()[0], limits=SHORT, observe=observer.observe) as server:
            for _ in range(10):
                await asyncio.gather(*(spoken(server, BAD[0]) for _ in range(100)))

    asyncio.run(story())
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {line["event"] for line in told} == {"request.malformed"}
    assert len(told) < 100
    assert sum(line["times"] for line in told) <= 1000
    assert observer.registry.get_sample_value("tacit_connections_refused_total", {"why": "malformed"}) == 1000


def test_a_fault_of_a_page_beside_the_protocol_is_told_with_its_traceback_and_not_to_the_peer() -> None:
    stream = io.StringIO()
    opened(stream)

    async def page(request: web.Request) -> web.StreamResponse:
        raise RuntimeError("how we are made")

    async def story() -> bytes:
        async with served(known()[0], limits=SHORT, extra_routes=[web.get("/page", page)]) as server:
            return await spoken(server, "GET /page HTTP/1.1\r\nHost: x\r\n\r\n")

    reply = asyncio.run(story())
    [line] = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (line["event"], line["level"]) == ("message", "error")
    assert "RuntimeError: how we are made" in line["traceback"]
    assert reply.startswith(b"HTTP/1.1 500")
    assert b"made" not in reply
