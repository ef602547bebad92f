"""The surface: what it serves, what it refuses, and that no peer can take more than its share."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from typing import Any

import pytest
from aiohttp import web

from tacit.errors import StorageError, UsageError
from tacit.network.http.limits import Limits
from tacit.network.http.rates import Rates
from tacit.network.http.server import Server
from tacit.network.office import CheckIn, Code, Receipt, Refused, Reply
from tacit.network.wire import Problem, Time, decode, encode
from tests.network.http.office import Memory
from tests.network.http.serving import ANSWER, Someone, asked, head, known, link, received, sent, served, written


def test_every_reply_that_refuses_holds_a_problem_with_a_remedy() -> None:
    async def story() -> None:
        office, who = known()
        async with served(office) as server:
            for method, target in [("GET", "/"), ("GET", "/v1/check-in"), ("DELETE", ANSWER), ("POST", "/v1//enrol")]:
                answer = await asked(server, who, method, target)
                problem = decode(Problem, answer.body)
                assert (answer.status, problem.code) == (404, Code.UNKNOWN)
                assert problem.problem
                assert problem.remedy

    asyncio.run(story())


def test_the_clock_and_the_health_are_told_to_anybody() -> None:
    async def story() -> None:
        office, _ = known()
        async with served(office, clock=lambda: 12.5) as server:
            answer = await sent(server, written("GET", "/v1/time", {}))
            assert decode(Time, answer.body).now == 12500
            assert (await sent(server, written("GET", "/livez", {}))).body == b"ok\n"
            assert (await sent(server, written("GET", "/readyz", {}))).status == 200
            office.unready = lambda: ["the disk is full"]  # type: ignore[method-assign]
            answer = await sent(server, written("GET", "/readyz", {}))
            assert (answer.status, answer.body) == (503, b"the disk is full\n")

    asyncio.run(story())


@pytest.mark.parametrize("spoken", [("2", "1"), ("1",), ("1", "0")])
def test_a_participant_of_the_version_before_is_served(spoken: tuple[str, ...]) -> None:
    async def story() -> None:
        office, who = known()
        async with (
            served(office, versions=spoken) as server,
            link(who, server, versions=("1",)) as older,
            link(who, server, versions=("3", "2", "1")) as newer,
        ):
            assert (await older.check_in(CheckIn("0" * 32))).state == "gathering"
            assert (await newer.check_in(CheckIn("0" * 32))).state == "gathering"

    asyncio.run(story())


def test_a_participant_whose_version_is_not_spoken_is_told_which_are() -> None:
    async def story() -> None:
        office, who = known()
        async with served(office, versions=("3", "2")) as server, link(who, server) as there:
            with pytest.raises(Refused, match="3 or 2") as refused:
                await there.check_in(CheckIn("0" * 32))
            assert refused.value.code is Code.UPGRADE
            answer = await asked(server, who, "PUT", ANSWER, b"x")
            assert (answer.status, answer.headers["Tacit-Speaks"]) == (426, "3, 2")

    asyncio.run(story())


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"content_length": None}, Code.MALFORMED),
        ({"content_length": None, "transfer_encoding": "chunked"}, Code.MALFORMED),
        ({"content_encoding": "gzip"}, Code.MALFORMED),
        ({"content_encoding": "br"}, Code.MALFORMED),
        ({"content_length": "2001"}, Code.TOO_LARGE),
        ({"content_length": "4294967296"}, Code.TOO_LARGE),
    ],
)
def test_a_body_whose_size_is_not_known_or_too_large_is_not_read(changes: dict[str, Any], code: Code) -> None:
    async def story() -> None:
        office, who = known()
        async with served(office, limits=Limits(body=2000, chunk=1000)) as server:
            body = gzip.compress(bytes(10**6))
            assert len(body) < 2000
            headers = head(who, "PUT", ANSWER, body, **changes)
            answer = await sent(server, written("PUT", ANSWER, headers))
            assert answer.code is code
            assert server.memory.free == server.memory.size

    asyncio.run(story())


def test_an_answer_of_more_bytes_than_are_asked_for_is_refused_before_it_is_read() -> None:
    async def story() -> None:
        office, who = known()
        office.ask("mercy", limit=10)
        async with served(office) as server:
            headers = head(who, "PUT", ANSWER, bytes(11))
            assert (await sent(server, written("PUT", ANSWER, headers))).code is Code.TOO_LARGE
            office.closed.add("a" * 32)
            headers = head(who, "PUT", ANSWER, bytes(10))
            assert (await sent(server, written("PUT", ANSWER, headers))).code is Code.GONE

    asyncio.run(story())


def test_a_body_that_ends_early_is_not_taken_and_its_room_is_free_again() -> None:
    async def story() -> None:
        office, who = known()
        async with served(office) as server:
            _, writer = await asyncio.open_connection(*server.address)
            writer.write(written("PUT", ANSWER, head(who, "PUT", ANSWER, bytes(1000)), bytes(999)))
            while server.memory.free == server.memory.size:
                await asyncio.sleep(0.001)
            writer.close()
            while server.memory.free != server.memory.size:
                await asyncio.sleep(0.001)
            assert not office.answers

    asyncio.run(story())


def test_a_body_of_one_byte_a_second_is_cut_off() -> None:
    async def story() -> None:
        office, who = known()
        async with served(office, limits=Limits(grace=0.2, rate=10_000)) as server:
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(written("PUT", ANSWER, head(who, "PUT", ANSWER, bytes(1000))))
            trickle = asyncio.create_task(_trickle(writer))
            assert (await received(reader)).code is Code.SLOW
            trickle.cancel()
            assert server.memory.free == server.memory.size
            assert not office.answers

    asyncio.run(story())


async def _trickle(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x")
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("start", [b"", b"GET /v1/time HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_connection_that_dawdles_over_its_head_is_closed(start: bytes) -> None:
    async def story() -> None:
        async with served(Memory(), limits=Limits(idle=0.3)) as server:
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(start)
            trickle = asyncio.create_task(_trickle(writer)) if start else None
            assert await asyncio.wait_for(reader.read(), 5) == b""
            if trickle:
                trickle.cancel()
            assert server.connections == 0

    asyncio.run(story())


def test_connections_beyond_the_cap_are_closed_and_places_come_free() -> None:
    async def story() -> None:
        refused = []
        limits = Limits(connections=3, per_address=2)

        def observe(event: str, **facts: Any) -> None:
            if event == "connection":
                refused.append(facts["refused"])

        async with served(Memory(), limits=limits, observe=observe) as server:
            held = [await asyncio.open_connection(*server.address) for _ in range(2)]
            for _, writer in held:
                writer.write(written("GET", "/livez", {}))
            assert [(await received(reader)).status for reader, _ in held] == [200, 200]
            reader, _ = await asyncio.open_connection(*server.address)
            assert await reader.read() == b""
            assert refused == ["address"]
            held[0][1].close()
            while server.connections > 1:
                await asyncio.sleep(0.001)
            assert (await sent(server, written("GET", "/livez", {}))).status == 200

    asyncio.run(story())


def test_who_asks_too_often_is_sent_away_and_others_are_not() -> None:
    async def story() -> None:
        office, who = known()
        grace = Someone("grace")
        office.keys["grace"] = grace.key
        body = encode(CheckIn("0" * 32))
        async with served(office, limits=Limits(requests=0.01, burst=2)) as server:
            statuses = [(await asked(server, who, "POST", "/v1/check-in", body)).status for _ in range(3)]
            assert statuses == [200, 200, 429]
            answer = await asked(server, who, "POST", "/v1/check-in", body)
            assert 1 <= int(answer.headers["Retry-After"]) <= 100
            assert (await asked(server, grace, "POST", "/v1/check-in", body)).status == 200

    asyncio.run(story())


def test_bodies_wait_where_the_memory_for_them_is_taken() -> None:
    async def story() -> None:
        office, who = known()
        office.ask("mercy", "b" * 32)
        limits = Limits(body=1000, chunk=1000, memory=1500)
        async with served(office, limits=limits) as server:
            _, writer = await asyncio.open_connection(*server.address)
            writer.write(written("PUT", ANSWER, head(who, "PUT", ANSWER, bytes(1000))))
            while server.memory.free == server.memory.size:
                await asyncio.sleep(0.001)
            other = f"/v1/answers/{'b' * 32}"
            answer = await asked(server, who, "PUT", other, bytes(1000))
            assert (answer.code, answer.headers["Retry-After"]) == (Code.BUSY, "1")
            writer.close()
            async with link(who, server) as there:  # comes again by itself
                assert await there.answer("b" * 32, bytes(1000)) == Receipt()

    asyncio.run(story())


def test_an_answer_is_taken_to_the_end_where_its_sender_leaves() -> None:
    async def story() -> None:
        office, who = known()
        office.taking = asyncio.Event()
        async with served(office) as server:
            _, writer = await asyncio.open_connection(*server.address)
            writer.write(written("PUT", ANSWER, head(who, "PUT", ANSWER, b"body"), b"body"))
            while not office.nonces:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.02)
            writer.close()
            await asyncio.sleep(0.02)
            assert server.memory.free == server.memory.size - 4
            office.taking.set()
            while not office.taken:
                await asyncio.sleep(0.001)
            assert office.answers["a" * 32] == b"body"
            assert await _retried(server, who) == Receipt(again=True)
            assert server.memory.free == server.memory.size

    asyncio.run(story())


async def _retried(server: Server, who: Someone) -> Receipt:
    async with link(who, server) as there:
        return await there.answer("a" * 32, b"body")


def test_who_waits_for_an_assignment_is_told_as_soon_as_there_is_one() -> None:
    async def story() -> None:
        office, who = known()
        async with served(office) as server, link(who, server) as there:
            waiting = asyncio.create_task(there.check_in(CheckIn("0" * 32, wait=20.0)))
            while not office.said:
                await asyncio.sleep(0.001)
            office.reply = Reply("training", assignments=(office.ask("mercy"),))
            office.news.set()
            assert await asyncio.wait_for(waiting, 5) == office.reply

    asyncio.run(story())


def test_stopping_sends_away_who_waits_and_ends_what_is_under_way() -> None:
    async def story() -> None:
        office, who = known()
        office.taking = asyncio.Event()
        server = Server(office)
        await server.start()
        async with link(who, server, patience=0.0) as there:
            waiting = asyncio.create_task(there.check_in(CheckIn("0" * 32, wait=25.0)))
            answering = asyncio.create_task(there.answer("a" * 32, b"body"))
            while not office.said or len(office.nonces) < 2:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.02)
            stopping = asyncio.create_task(server.stop(10.0))
            with pytest.raises(Refused) as refused:
                await waiting
            assert refused.value.code is Code.BUSY
            office.taking.set()
            assert await answering == Receipt()
            await asyncio.wait_for(stopping, 5)
            with pytest.raises(OSError):
                await asyncio.open_connection(*server.address)

    asyncio.run(story())


def test_a_fault_of_ours_is_told_without_its_details_and_others_are_served(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        office, who = known()
        seen: list[dict[str, Any]] = []
        failures: list[Exception] = [ZeroDivisionError("secret"), StorageError("the disk secret is full")]

        async def answer(*_: object) -> Receipt:
            raise failures.pop(0)

        office.answer = answer  # type: ignore[method-assign]
        async with served(office, observe=lambda event, **facts: seen.append(facts)) as server:
            replies = [await asked(server, who, "PUT", ANSWER, b"x") for _ in range(2)]
            assert [reply.status for reply in replies] == [500, 503]
            assert all(b"secret" not in reply.body for reply in replies)
            assert [facts["code"] for facts in seen] == ["unexpected", "busy"]
            assert {facts["participant"] for facts in seen} == {"mercy"}
            assert (await sent(server, written("GET", "/livez", {}))).status == 200

    asyncio.run(story())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_without_tls_it_serves_this_machine_only(host: str) -> None:
    with pytest.raises(UsageError, match="without TLS"):
        asyncio.run(Server(Memory(), host=host).start())


def test_an_address_that_is_taken_or_not_ours_is_named() -> None:
    async def story() -> None:
        async with served(Memory()) as server:
            with pytest.raises(UsageError, match="cannot be listened at"):
                await Server(Memory(), port=server.address[1]).start()
        with pytest.raises(UsageError, match="no address"):
            await Server(Memory(), host="no such host.invalid").start()

    asyncio.run(story())


def test_other_routes_are_served_beside_the_protocol() -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text=json.dumps({"rounds": 3}))

    async def story() -> None:
        async with served(Memory(), extra_routes=[web.get("/status", page)]) as server:
            assert (await sent(server, written("GET", "/status", {}))).body == b'{"rounds": 3}'

    asyncio.run(story())


def test_limits_that_serve_nobody_are_refused_together() -> None:
    with pytest.raises(UsageError, match="3 problems"):
        Limits(body=0, idle=-1.0, memory=10)


def test_a_bucket_fills_steadily_and_never_over_its_rim() -> None:
    rates = Rates(2.0, 3.0)
    for _ in range(3):
        rates.take("a", now=0.0)
    with pytest.raises(Refused) as refused:
        rates.take("a", now=0.0)
    assert refused.value.after == 0.5
    rates.take("a", now=0.5)
    for _ in range(3):
        rates.take("a", now=1000.0)
    with pytest.raises(Refused):
        rates.take("a", now=1000.0)


def test_a_blob_is_served_whole_in_parts_and_not_again(tmp_path: Any) -> None:
    async def story() -> None:
        office, who = known()
        data = os.urandom(3_000_000)
        (tmp_path / "blob").write_bytes(data)
        office.blobs = {"1" * 64: data, "2" * 64: tmp_path / "blob", "3" * 64: tmp_path / "gone", "4" * 64: b""}
        async with served(office) as server:
            for name in ("1" * 64, "2" * 64):
                target = f"/v1/blobs/{name}"
                whole = await asked(server, who, "GET", target)
                assert (whole.status, whole.body, whole.headers["Etag"]) == (200, data, f'"{name}"')
                part = await asked(server, who, "GET", target, range="bytes=2999990-")
                assert (part.status, part.body) == (206, data[-10:])
                assert part.headers["Content-Range"] == "bytes 2999990-2999999/3000000"
                part = await asked(server, who, "GET", target, range="bytes=5-14")
                assert part.body == data[5:15]
                assert (await asked(server, who, "GET", target, range="bytes=3000000-")).code is Code.MALFORMED
                again = await asked(server, who, "GET", target, if_none_match=f'"{name}"')
                assert (again.status, again.body) == (304, b"")
            assert (await asked(server, who, "GET", f"/v1/blobs/{'3' * 64}")).code is Code.UNKNOWN
            assert (await asked(server, who, "GET", f"/v1/blobs/{'4' * 64}")).body == b""
            assert (await asked(server, who, "GET", f"/v1/blobs/{'5' * 64}")).code is Code.UNKNOWN
            assert (await asked(server, who, "GET", "/v1/blobs/..%2f..%2fetc")).code is Code.UNKNOWN

    asyncio.run(story())


def test_a_peer_that_does_not_read_what_it_asked_for_is_cut_off() -> None:
    async def story() -> None:
        office, who = known()
        office.blobs["1" * 64] = bytes(30_000_000)
        ended = asyncio.Event()
        limits = Limits(grace=0.2, rate=10_000_000)
        async with served(office, limits=limits, observe=lambda event, **facts: ended.set()) as server:
            target = f"/v1/blobs/{'1' * 64}"
            reader, writer = await asyncio.open_connection(*server.address, limit=2**16)
            writer.write(written("GET", target, head(who, "GET", target)))
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.wait_for(ended.wait(), 5)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(30_000_000)
            while server.connections:
                await asyncio.sleep(0.001)

    asyncio.run(story())
