"""One request a step: an answer that asks what to do next, and small blobs that come with what names them."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from tacit.network.office import INLINE, Assignment, Blob, Code, Kind, Receipt, Refused, Reply
from tacit.network.shelf import Shelf
from tacit.network.wire import decode
from tests.network.http.serving import ANSWER, asked, head, known, link, sent, served, written

DATA = b"a small model"
BLOB = Blob(hashlib.sha256(DATA).hexdigest(), len(DATA), DATA)
NEXT = Reply("training", 1, 3, (Assignment("b" * 32, Kind.SHARE, 1, 0, 30.0, 100, b"", {"roster": BLOB}),))


def test_the_receipt_brings_what_to_do_next_when_there_is_something() -> None:
    async def story() -> None:
        office, who = known()
        async with served(office) as server, link(who, server) as there:
            giving = asyncio.create_task(there.answer("a" * 32, b"hello", 20.0))
            while not office.taken:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            assert not giving.done()
            office.reply = NEXT
            office.news.set()
            receipt = await giving
            assert receipt.reply == NEXT
            (assignment,) = receipt.reply.assignments
            assert assignment.blobs["roster"].data == DATA
            assert await there.answer("a" * 32, b"hello") == Receipt(again=True)

    asyncio.run(story())


def test_who_is_revoked_while_it_waits_is_told_nothing_more() -> None:
    async def story() -> None:
        office, who = known()
        async with served(office) as server, link(who, server) as there:
            giving = asyncio.create_task(there.answer("a" * 32, b"hello", 20.0))
            while not office.taken:
                await asyncio.sleep(0.01)
            office.revoked.add(who.name)
            office.news.set()
            with pytest.raises(Refused) as refused:
                await giving
            assert refused.value.code is Code.REVOKED

    asyncio.run(story())


def test_who_waits_is_sent_away_when_the_coordinator_closes_down() -> None:
    async def story() -> None:
        office, who = known()
        async with served(office) as server, link(who, server, patience=0.0) as there:
            giving = asyncio.create_task(there.answer("a" * 32, b"hello", 20.0))
            while not office.taken:
                await asyncio.sleep(0.01)
            await server.stop(1.0)
            with pytest.raises(Refused) as refused:
                await giving
            assert refused.value.code is Code.BUSY
            assert office.answers["a" * 32] == b"hello"

    asyncio.run(story())


@pytest.mark.parametrize("wait", ["", "x", "-1", "25001", "1e3", "٣"])
def test_a_wait_that_is_no_time_is_refused_before_the_answer_is_taken(wait: str) -> None:
    async def story() -> None:
        office, who = known()
        async with served(office) as server:
            answered = await asked(server, who, "PUT", f"{ANSWER}?wait={quote(wait)}", b"hello")
            assert answered.code is Code.MALFORMED
            assert not office.taken

    asyncio.run(story())


def test_the_wait_is_signed() -> None:
    async def story() -> None:
        office, who = known()
        async with served(office) as server:
            signed = head(who, "PUT", ANSWER, b"hello")
            answered = await sent(server, written("PUT", f"{ANSWER}?wait=20000", signed, b"hello"))
            assert answered.code is Code.UNSIGNED

    asyncio.run(story())


def test_a_blob_that_came_along_is_verified_and_fetched_where_it_is_false() -> None:
    async def story() -> None:
        office, who = known()
        office.blobs[BLOB.sha256] = DATA
        fetched: list[Any] = []
        see = lambda event, **facts: fetched.append(facts)  # noqa: E731
        async with served(office, observe=see) as server, link(who, server) as there:
            assert await there.blob(BLOB) == DATA
            assert not fetched
            assert await there.blob(replace(BLOB, data=b"another model")) == DATA
            assert fetched

    asyncio.run(story())


def test_the_shelf_gives_small_blobs_along_and_large_ones_by_name(tmp_path: Any) -> None:
    shelf = Shelf(tmp_path)
    assert shelf.put(bytes(INLINE)).data == bytes(INLINE)
    assert shelf.put(bytes(INLINE + 1)).data == b""
    assert decode(Receipt, b"") == Receipt()
