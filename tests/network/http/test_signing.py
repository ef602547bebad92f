"""Signed requests: every part is bound, used once, and about now."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time

import pytest

from tacit.network.http.signing import Signed
from tacit.network.office import CheckIn, Code, Refused
from tacit.network.wire import Problem, decode, encode
from tests.network.http.serving import ANSWER, Someone, asked, head, known, link, sent, served, written


def flipped(digits: str) -> str:
    return ("0" if digits[0] != "0" else "1") + digits[1:]


@pytest.mark.parametrize("part", ["version", "participant", "time", "nonce", "digest", "signature"])
def test_a_request_is_refused_when_a_signed_header_was_changed(part: str) -> None:
    async def story() -> None:
        office, who = known()
        office.keys["grace"] = who.key  # the same key under another name: the name itself must be bound
        async with served(office, versions=("1", "2")) as server:
            headers = head(who, "PUT", ANSWER, b"body")
            name = f"Tacit-{part.title()}"
            changed = {"version": "2", "participant": "grace", "time": str(int(headers["Tacit-Time"]) + 1)}
            headers[name] = changed.get(part) or flipped(headers[name])
            answer = await sent(server, written("PUT", ANSWER, headers, b"body"))
            assert answer.code is Code.UNSIGNED
            assert not office.answers

    asyncio.run(story())


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [("POST", ANSWER + "/failure", b"body"), ("PUT", ANSWER + "?x", b"body"), ("PUT", ANSWER, b"bodY")],
)
def test_a_request_is_refused_when_method_path_query_or_body_were_changed(
    method: str, target: str, body: bytes
) -> None:
    async def story() -> None:
        office, who = known()
        async with served(office) as server:
            answer = await sent(server, written(method, target, head(who, "PUT", ANSWER, b"body"), body))
            assert answer.code is Code.UNSIGNED
            assert not office.answers
            assert not office.failures

    asyncio.run(story())


@pytest.mark.parametrize("name", ["Version", "Participant", "Time", "Nonce", "Digest", "Signature"])
@pytest.mark.parametrize("value", [None, "", "x", "é", "0", "-1", "0" * 31, "A" * 32, "%6d", "00"])
def test_a_header_that_is_missing_or_badly_written_is_refused(name: str, value: str | None) -> None:
    async def story() -> None:
        office, who = known()
        async with served(office) as server:
            answer = await asked(server, who, "PUT", ANSWER, b"body", **{f"tacit_{name}": value})
            assert answer.code in {Code.UNSIGNED, Code.UPGRADE, Code.SKEWED}
            assert not office.answers

    asyncio.run(story())


def test_a_request_that_is_sent_twice_is_refused_the_second_time() -> None:
    async def story() -> None:
        office, who = known()
        async with served(office) as server:
            data = written("PUT", ANSWER, head(who, "PUT", ANSWER, b"body"), b"body")
            assert (await sent(server, data)).status == 200
            assert (await sent(server, data)).code is Code.REPLAYED
            ((_, until),) = office.nonces.items()
            assert until >= 1000 * (time.time() + 290)

    asyncio.run(story())


def test_strangers_and_the_revoked_are_refused() -> None:
    async def story() -> None:
        office, who = known()
        async with served(office) as server:
            assert (await asked(server, Someone("nobody"), "PUT", ANSWER, b"x")).code is Code.UNSIGNED
            assert (await asked(server, Someone("mercy"), "PUT", ANSWER, b"x")).code is Code.UNSIGNED
            office.revoked.add("mercy")
            assert (await asked(server, who, "PUT", ANSWER, b"x")).code is Code.REVOKED

    asyncio.run(story())


@pytest.mark.parametrize("off", [-86_400.0, 86_400.0])
def test_a_participant_whose_clock_is_wrong_by_a_day_is_told_and_signs_by_the_coordinators(off: float) -> None:
    async def story() -> None:
        office, who = known()
        async with served(office) as server:
            stale = head(who, "PUT", ANSWER, b"body")
            late = Signed.read(stale)
            moved = Signed(**{**late.__dict__, "time": late.time + round(1000 * off)})
            stale["Tacit-Time"] = str(moved.time)
            stale["Tacit-Signature"] = who.sign(moved.text("PUT", ANSWER)).hex()
            answer = await sent(server, written("PUT", ANSWER, stale, b"body"))
            assert answer.code is Code.SKEWED
            assert abs(decode(Problem, answer.body).now / 1000 - time.time()) < 60
            async with link(who, server, clock=lambda: time.time() + off) as there:
                await there.check_in(CheckIn("0" * 32))
                assert abs(there.skew + off) < 60

    asyncio.run(story())


def test_a_coordinators_clock_that_stays_apart_ends_the_request() -> None:
    async def story() -> None:
        office, who = known()
        ticks = iter(range(0, 10**9, 10**6))
        async with served(office, clock=lambda: float(next(ticks))) as server, link(who, server) as there:
            with pytest.raises(Refused) as refused:
                await there.check_in(CheckIn("0" * 32))
            assert refused.value.code is Code.SKEWED

    asyncio.run(story())


@pytest.mark.parametrize("name", ["mercy", "St. Anne's", "医院", "a%b&c/d", "ü" * 32])
def test_names_travel_whatever_they_are_made_of(name: str) -> None:
    async def story() -> None:
        office, who = known(name)
        async with served(office) as server, link(who, server) as there:
            await there.answer("a" * 32, b"words")
            assert office.answers["a" * 32] == b"words"

    asyncio.run(story())


def test_enrolment_is_signed_by_the_key_that_enrols() -> None:
    from tacit.network.wire import Enrol

    async def story() -> None:
        office, who, thief = known()[0], Someone("grace"), Someone("grace")
        office.tokens.add("token")
        body = encode(Enrol("token", "grace", who.key))
        async with served(office) as server:
            assert (await asked(server, thief, "POST", "/v1/enrol", body)).code is Code.UNSIGNED
            assert (await asked(server, Someone("eve", who.private), "POST", "/v1/enrol", body)).code is Code.UNSIGNED
            assert "grace" not in office.keys
            assert (await asked(server, who, "POST", "/v1/enrol", body)).status == 200
            assert office.keys["grace"] == who.key

    asyncio.run(story())


def test_a_signature_is_over_the_digest_so_that_nothing_is_read_of_who_is_not_known() -> None:
    async def story() -> None:
        office, _ = known()
        async with served(office) as server:
            body = os.urandom(1000)
            headers = head(Someone("nobody"), "PUT", ANSWER, body)
            assert headers["Tacit-Digest"] == hashlib.sha256(body).hexdigest()
            answer = await sent(server, written("PUT", ANSWER, headers))  # no byte of the body is sent
            assert answer.code is Code.UNSIGNED

    asyncio.run(story())
