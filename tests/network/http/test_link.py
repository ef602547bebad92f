"""The participant's link: comes again where that may help, ends where it does not, and trusts no bytes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tacit.errors import UsageError
from tacit.network.http.cache import Cache
from tacit.network.http.link import Link, enrol
from tacit.network.http.probing import probe
from tacit.network.http.retrying import Unreachable
from tacit.network.identity import Made, client_context, make_certificates, server_context
from tacit.network.office import Blob, CheckIn, Code, Failure, Receipt, Refused, Withdrawal
from tests.network.http.serving import Someone, known, link, served

DATA = os.urandom(1_000_000)
BLOB = Blob(hashlib.sha256(DATA).hexdigest(), len(DATA))
SAID = CheckIn("0" * 32)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_certificates(tmp_path_factory.mktemp("certs") / "made", ["127.0.0.1"], clients=["mercy"])


@asynccontextmanager
async def between(server: Any, change: Callable[[int, bytes], bytes | None]) -> AsyncIterator[str]:
    """A way to the server on which what it says is changed: change(connection, data), None cuts the connection."""
    count = 0

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        number = count
        there, back = await asyncio.open_connection(*server.address)

        async def up() -> None:
            while data := await reader.read(2**16):
                back.write(data)
            back.close()

        task = asyncio.create_task(up())
        while data := await there.read(2**16):
            changed = change(number, data)
            if changed is None:
                break
            writer.write(changed)
        task.cancel()
        writer.close()
        back.close()

    proxy = await asyncio.start_server(carry, "127.0.0.1", 0)
    async with proxy:
        yield f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"


def test_a_failure_and_a_withdrawal_are_told() -> None:
    async def story() -> None:
        office, who = known()
        async with served(office) as server, link(who, server) as there:
            await there.fail("a" * 32, Failure("data", "no examples"))
            assert office.failures["a" * 32] == Failure("data", "no examples")
            assert await there.withdraw() == Withdrawal(2, ("two models hold what it sent, in sums",))
            with pytest.raises(Refused) as refused:
                await there.check_in(SAID)
            assert refused.value.code is Code.REVOKED

    asyncio.run(story())


def test_a_blob_is_gone_on_with_where_the_connection_broke() -> None:
    async def story() -> None:
        office, who = known()
        office.blobs[BLOB.sha256] = DATA
        seen: dict[int, int] = {}

        def cut(connection: int, data: bytes) -> bytes | None:
            seen[connection] = seen.get(connection, 0) + len(data)
            return None if connection < 4 and seen[connection] > 250_000 else data

        async with served(office) as server, between(server, cut) as url:
            async with Link(who, url=url, insecure=True, patience=20.0) as there:
                assert await there.blob(BLOB) == DATA
            assert len(seen) >= 4
            assert sum(seen.values()) < 2 * len(DATA)  # what had come was not fetched again

    asyncio.run(story())


def test_a_blob_that_was_damaged_on_its_way_is_fetched_again_and_never_given_out() -> None:
    async def story() -> None:
        office, who = known()
        office.blobs[BLOB.sha256] = DATA[:-1] + bytes([DATA[-1] ^ 1])
        times = 0
        true = office.blob

        def blob(participant: str, sha256: str) -> Path | bytes:
            nonlocal times
            times += 1
            return DATA if times == 3 else true(participant, sha256)

        office.blob = blob  # type: ignore[method-assign]
        async with served(office) as server, link(who, server) as there:
            assert await there.blob(BLOB) == DATA
            with pytest.raises(Refused) as refused:
                await there.blob(BLOB)
            assert refused.value.code is Code.MALFORMED
            assert times == 6

    asyncio.run(story())


@pytest.mark.parametrize("change", [-1, 1])
def test_a_blob_of_another_size_is_not_taken(change: int) -> None:
    async def story() -> None:
        office, who = known()
        office.blobs[BLOB.sha256] = DATA
        async with served(office) as server, link(who, server, patience=0.3) as there:
            with pytest.raises(Refused):
                await there.blob(Blob(BLOB.sha256, BLOB.size + change))

    asyncio.run(story())


def test_a_blob_comes_of_the_cache_unless_it_was_damaged_there(tmp_path: Path) -> None:
    async def story() -> None:
        office, who = known()
        office.blobs[BLOB.sha256] = DATA
        async with served(office) as server, link(who, server, cache=tmp_path / "cache") as there:
            assert await there.blob(BLOB) == DATA
            del office.blobs[BLOB.sha256]
            assert await there.blob(BLOB) == DATA
            (tmp_path / "cache" / BLOB.sha256).write_bytes(DATA[::-1])
            with pytest.raises(Refused) as refused:
                await there.blob(BLOB)
            assert refused.value.code is Code.UNKNOWN
            office.blobs[BLOB.sha256] = DATA
            assert await there.blob(BLOB) == DATA

    asyncio.run(story())


def test_a_cache_forgets_what_was_not_used_for_longest(tmp_path: Path) -> None:
    cache = Cache(tmp_path, room=250)
    blobs = []
    for number in range(3):
        data = bytes([number]) * 100
        blobs.append(Blob(hashlib.sha256(data).hexdigest(), 100))
        cache.keep(blobs[-1], data)
        os.utime(tmp_path / blobs[-1].sha256, (number, number))
        if number == 1:
            assert cache.find(blobs[0])  # used just now
    assert [cache.find(blob) is not None for blob in blobs] == [True, False, True]


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file")
    cache.keep(BLOB, DATA)
    assert cache.find(BLOB) is None


def test_an_answer_whose_reply_was_lost_is_sent_again_and_taken_once() -> None:
    async def story() -> None:
        office, who = known()

        def lose(connection: int, data: bytes) -> bytes | None:
            return None if connection < 3 else data

        async with (
            served(office) as server,
            between(server, lose) as url,
            Link(who, url=url, insecure=True) as there,
        ):
            assert await there.answer("a" * 32, b"words") == Receipt(again=True)
            assert office.answers["a" * 32] == b"words"

    asyncio.run(story())


def test_a_coordinator_that_is_away_is_waited_for_and_not_for_ever() -> None:
    async def story() -> None:
        office, who = known()
        async with served(office) as server:
            port = server.address[1]
        async with Link(who, url=f"http://127.0.0.1:{port}", insecure=True, patience=0.2) as there:
            with pytest.raises(Unreachable, match="cannot be reached"):
                await there.check_in(SAID)
        async with Link(who, url=f"http://127.0.0.1:{port}", insecure=True, patience=30.0) as there:
            waiting = asyncio.create_task(there.check_in(SAID))
            await asyncio.sleep(0.05)
            async with served(office, port=port):
                assert (await asyncio.wait_for(waiting, 10)).state == "gathering"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("status", "text", "code"),
    [(200, b"<html>", Code.MALFORMED), (302, b"", Code.BUSY), (404, b"<html>", Code.UNKNOWN), (502, b"", Code.BUSY)],
)
def test_a_reply_of_something_else_than_a_coordinator_is_said_to_be_one(status: int, text: bytes, code: Code) -> None:
    async def strange(request: web.Request) -> web.Response:
        return web.Response(status=status, body=text, headers={"Location": "http://127.0.0.1:1/"})

    async def story() -> None:
        runner = web.ServerRunner(web.Server(strange))  # type: ignore[arg-type]
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        async with Link(Someone(), url=f"http://{host}:{port}", insecure=True, patience=0.1) as there:
            with pytest.raises(Refused) as refused:
                await there.check_in(SAID)
            assert refused.value.code is code
        await runner.cleanup()

    asyncio.run(story())


def test_everything_works_over_tls(made: Made) -> None:
    async def story() -> None:
        office, who = known()
        office.tokens.add("token")
        office.blobs[BLOB.sha256] = DATA
        grace, context = Someone("grace"), client_context(made.pin)
        async with served(office, tls=server_context(made.certificate, made.key)) as server:
            assert server.url.startswith("https://")
            assert (await enrol("grace", grace.private, "token", url=server.url, context=context)).name == "grace"
            async with Link(who, url=server.url, context=context) as there:
                assert (await there.check_in(SAID)).state == "gathering"
                long = os.urandom(3_000_000)
                assert await there.answer("a" * 32, long) == Receipt()
                assert office.answers["a" * 32] == long
                assert await there.blob(BLOB) == DATA

    asyncio.run(story())


def test_a_certificate_of_another_authority_ends_at_once_without_a_request(made: Made, tmp_path: Path) -> None:
    async def story() -> None:
        office, who = known()
        other = make_certificates(tmp_path / "other", ["127.0.0.1"])
        async with served(office, tls=server_context(other.certificate, other.key)) as server:
            begun = time.monotonic()
            for context in (client_context(made.pin), None):
                async with Link(who, url=server.url, context=context, patience=60.0) as there:
                    with pytest.raises(Unreachable, match="not trusted"):
                        await there.check_in(SAID)
            assert time.monotonic() - begun < 30
            assert not office.said

    asyncio.run(story())


def test_a_certificate_of_another_host_is_not_trusted(tmp_path: Path) -> None:
    async def story() -> None:
        office, who = known()
        mine = make_certificates(tmp_path / "certs", ["elsewhere.example"])
        async with (
            served(office, tls=server_context(mine.certificate, mine.key)) as server,
            Link(who, url=server.url, context=client_context(mine.pin)) as there,
        ):
            with pytest.raises(Unreachable, match="not trusted"):
                await there.check_in(SAID)

    asyncio.run(story())


def test_where_both_sides_show_certificates_nobody_comes_in_without_one(made: Made) -> None:
    async def story() -> None:
        office, who = known()
        async with served(office, tls=server_context(made.certificate, made.key, made.ca)) as server:
            async with Link(who, url=server.url, context=client_context(made.pin), patience=0.0) as there:
                with pytest.raises(Unreachable):
                    await there.check_in(SAID)
            context = client_context(made.pin, *made.clients["mercy"])
            async with Link(who, url=server.url, context=context) as there:
                assert (await there.check_in(SAID)).state == "gathering"

    asyncio.run(story())


def test_nothing_older_than_tls_1_3_is_spoken(made: Made) -> None:
    async def story() -> None:
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        async with served(known()[0], tls=server_context(made.certificate, made.key)) as server:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection(*server.address, ssl=old)
            while server.connections:
                await asyncio.sleep(0.001)

    asyncio.run(story())


def test_a_handshake_that_does_not_come_frees_its_place(made: Made) -> None:
    async def story() -> None:
        from tacit.network.http.limits import Limits

        context = server_context(made.certificate, made.key)
        async with served(known()[0], tls=context, limits=Limits(handshake=0.2)) as server:
            reader, _ = await asyncio.open_connection(*server.address)
            assert await asyncio.wait_for(reader.read(), 5) == b""
            while server.connections:
                await asyncio.sleep(0.001)

    asyncio.run(story())


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1",
        "ftp://127.0.0.1",
        "https://",
        "127.0.0.1:1",
        "https://a:b@c",
        "https://a/path",
        "https://a:99999",
    ],
)
def test_an_address_that_is_none_or_not_encrypted_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        Link(Someone(), url=url)


def test_insecure_means_this_machine_only() -> None:
    for url in ("http://10.0.0.1:80", "http://example.org", "http://127.0.0.1.example.org"):
        with pytest.raises(UsageError, match="not encrypted"):
            Link(Someone(), url=url, insecure=True)
    for url in ("http://127.0.0.1:80", "http://localhost:80", "http://[::1]:80"):
        assert Link(Someone(), url=url, insecure=True).url == url


def test_a_probe_tells_clock_versions_and_tls(made: Made) -> None:
    async def story() -> None:
        office, _ = known()
        tls = server_context(made.certificate, made.key)
        async with served(office, tls=tls, clock=lambda: time.time() + 100.0) as server:
            found = await probe(server.url, context=client_context(made.pin))
            assert 90 < found.skew < 110
            assert found.time.speaks == ("1",)
            assert found.tls == "TLSv1.3"
            assert found.days is not None and 300 < found.days < 400
        async with served(office) as server:
            assert (await probe(server.url, insecure=True)).tls == ""

    asyncio.run(story())
