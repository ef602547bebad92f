"""Long answers come in chunks: resumed after anything, counted once, and never taken damaged."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tacit.network.http.limits import Limits
from tacit.network.http.spool import Spool, identify
from tacit.network.office import Code, Receipt, Refused
from tacit.network.wire import Upload, Uploaded, decode, encode
from tests.network.http.serving import ANSWER, Someone, asked, known, link, served

BODY = os.urandom(2_500_000)
ASKED = Upload("a" * 32, len(BODY), hashlib.sha256(BODY).hexdigest())
MIB = 2**20


async def begun(server: Any, who: Someone, upload: Upload = ASKED) -> Uploaded:
    answer = await asked(server, who, "POST", "/v1/uploads", encode(upload))
    assert answer.status == 200, answer
    return decode(Uploaded, answer.body)


async def added(server: Any, who: Someone, id: str, offset: int, chunk: bytes) -> Any:
    return await asked(server, who, "PATCH", f"/v1/uploads/{id}", chunk, upload_offset=str(offset))


def test_an_upload_goes_on_after_the_server_was_started_anew(tmp_path: Path) -> None:
    async def story() -> None:
        office, who = known()
        async with served(office, spool=tmp_path / "spool") as server:
            upload = await begun(server, who)
            assert (upload.offset, upload.length, upload.chunk) == (0, len(BODY), MIB)
            answer = await added(server, who, upload.id, 0, BODY[:MIB])
            assert decode(Uploaded, answer.body).offset == MIB
        async with served(office, spool=tmp_path / "spool") as server:
            assert await begun(server, who) == Uploaded(upload.id, MIB, len(BODY), MIB)
            there = await asked(server, who, "HEAD", f"/v1/uploads/{upload.id}")
            assert (there.status, there.headers["Upload-Offset"]) == (200, str(MIB))
            async with link(who, server) as joined:
                assert await joined.answer("a" * 32, BODY) == Receipt()
        assert office.answers["a" * 32] == BODY
        assert office.taken == 1

    asyncio.run(story())


def test_a_commit_that_is_repeated_is_answered_as_the_first(tmp_path: Path) -> None:
    async def story() -> None:
        office, who = known()
        async with served(office, spool=tmp_path) as server, link(who, server) as there:
            assert await there.answer("a" * 32, BODY) == Receipt()
            assert await there.answer("a" * 32, BODY) == Receipt(again=True)
            assert office.taken == 1
        assert not list(tmp_path.iterdir())
        async with served(office, spool=tmp_path) as server, link(who, server) as there:
            assert await there.answer("a" * 32, BODY) == Receipt(again=True)  # the office knows it
        assert not list(tmp_path.iterdir())

    asyncio.run(story())


def test_a_chunk_that_comes_twice_or_too_early_is_told_where_to_go_on(tmp_path: Path) -> None:
    async def story() -> None:
        office, who = known()
        async with served(office, spool=tmp_path) as server:
            id = (await begun(server, who)).id
            assert (await added(server, who, id, 100, BODY[:50])).code is Code.CONFLICT
            assert (await added(server, who, id, 0, BODY[:100])).status == 200
            assert (await added(server, who, id, 0, BODY[:100])).code is Code.CONFLICT
            assert (await begun(server, who)).offset == 100
            commit = await asked(server, who, "POST", f"/v1/uploads/{id}/commit")
            assert commit.code is Code.CONFLICT
            for offset in ("", "-1", "x", "1.5", "٣"):
                answer = await asked(server, who, "PATCH", f"/v1/uploads/{id}", b"x", upload_offset=offset)
                assert answer.code is Code.MALFORMED
            long = await added(server, who, id, 100, bytes(MIB + 1))
            assert long.code is Code.TOO_LARGE

    asyncio.run(story())


def test_an_upload_never_grows_beyond_what_was_announced(tmp_path: Path) -> None:
    async def story() -> None:
        office, who = known()
        async with served(office, spool=tmp_path) as server:
            id = (await begun(server, who, Upload("a" * 32, 10, "0" * 64))).id
            assert (await added(server, who, id, 0, bytes(11))).code is Code.TOO_LARGE
            assert (tmp_path / f"{id}.part").stat().st_size == 0

    asyncio.run(story())


def test_an_upload_that_was_damaged_on_disk_is_not_taken_and_is_sent_again(tmp_path: Path) -> None:
    async def story() -> None:
        office, who = known()
        async with served(office, spool=tmp_path) as server:
            id = (await begun(server, who)).id
            for at in range(0, len(BODY), MIB):
                await added(server, who, id, at, BODY[at : at + MIB])
            part = tmp_path / f"{id}.part"
            part.write_bytes(b"?" + part.read_bytes()[1:])
            assert (await asked(server, who, "POST", f"/v1/uploads/{id}/commit")).code is Code.MALFORMED
            assert not office.answers
            async with link(who, server) as there:
                assert await there.answer("a" * 32, BODY) == Receipt()
            assert office.answers["a" * 32] == BODY

    asyncio.run(story())


def test_a_link_goes_on_by_itself_where_an_upload_was_damaged_in_between(tmp_path: Path) -> None:
    async def story() -> None:
        office, who = known()
        async with served(office, spool=tmp_path) as server:
            id = (await begun(server, who)).id
            await added(server, who, id, 0, bytes(MIB))  # false bytes under a true signature
            async with link(who, server) as there:
                assert await there.answer("a" * 32, BODY) == Receipt()
            assert office.answers["a" * 32] == BODY

    asyncio.run(story())


def test_nobody_sees_or_adds_to_the_upload_of_somebody_else(tmp_path: Path) -> None:
    async def story() -> None:
        office, who = known()
        eve = Someone("eve")
        office.keys["eve"] = eve.key
        async with served(office, spool=tmp_path) as server:
            id = (await begun(server, who)).id
            assert (await asked(server, eve, "HEAD", f"/v1/uploads/{id}")).status == 404
            assert (await added(server, eve, id, 0, b"x")).code is Code.UNKNOWN
            assert (await asked(server, eve, "POST", f"/v1/uploads/{id}/commit")).code is Code.UNKNOWN
            answer = await asked(server, eve, "POST", "/v1/uploads", encode(ASKED))
            assert answer.code is Code.UNKNOWN  # for the assignment is not eve's

    asyncio.run(story())


def test_an_upload_for_an_assignment_that_was_closed_stops_at_the_next_chunk(tmp_path: Path) -> None:
    async def story() -> None:
        office, who = known()
        async with served(office, spool=tmp_path) as server:
            id = (await begun(server, who)).id
            office.closed.add("a" * 32)
            assert (await added(server, who, id, 0, b"x")).code is Code.GONE
            async with link(who, server) as there:
                with pytest.raises(Refused) as refused:
                    await there.answer("a" * 32, BODY)
                assert refused.value.code is Code.GONE
            assert not list(tmp_path.iterdir())

    asyncio.run(story())


def test_other_bytes_for_an_assignment_that_was_answered_conflict(tmp_path: Path) -> None:
    async def story() -> None:
        office, who = known()
        async with served(office, spool=tmp_path) as server, link(who, server) as there:
            await there.answer("a" * 32, BODY)
            for other in (BODY[:-1] + b"?", b"short"):
                with pytest.raises(Refused) as refused:
                    await there.answer("a" * 32, other)
                assert refused.value.code is Code.CONFLICT
            assert office.answers["a" * 32] == BODY

    asyncio.run(story())


def test_uploads_have_a_quota_each_and_together(tmp_path: Path) -> None:
    async def story() -> None:
        office, who = known()
        for digit in "bcd":
            office.ask("mercy", digit * 32)
        limits = Limits(uploads=2, spool=1000)
        async with served(office, spool=tmp_path, limits=limits) as server:
            one, two, three = (Upload(digit * 32, 400, "0" * 64) for digit in "abc")
            await begun(server, who, one)
            large = await asked(server, who, "POST", "/v1/uploads", encode(Upload("d" * 32, 601, "0" * 64)))
            assert large.code is Code.BUSY
            await begun(server, who, two)
            await begun(server, who, one)  # is there
            await added(server, who, (await begun(server, who, one)).id, 0, b"x")
            three_id = (
                await begun(server, who, three)
            ).id  # and the one to which nothing was added for longest is gone
            assert {path.stem for path in tmp_path.iterdir()} == {identify("mercy", one), three_id}
            office.ask("mercy", limit=5)
            over = await asked(server, who, "POST", "/v1/uploads", encode(Upload("a" * 32, 6, "0" * 64)))
            assert over.code is Code.TOO_LARGE

    asyncio.run(story())


def test_nobody_takes_the_room_of_others_by_uploads_that_never_come(tmp_path: Path) -> None:
    async def story() -> None:
        office, who = known()
        eve = Someone("eve")
        office.keys["eve"] = eve.key
        for digit in "bcdef":
            office.ask("eve", digit * 32)
        async with served(office, spool=tmp_path, limits=Limits(spool=4000, share=1000)) as server:
            for digit in "bcde":  # each as large as her share
                await begun(server, eve, Upload(digit * 32, 1000, "0" * 64))
            assert {path.stem for path in tmp_path.iterdir()} == {identify("eve", Upload("e" * 32, 1000, "0" * 64))}
            await begun(server, who, Upload("a" * 32, 3000, "0" * 64))  # one alone may be larger than a share
            full = await asked(server, eve, "POST", "/v1/uploads", encode(Upload("f" * 32, 1001, "0" * 64)))
            assert full.code is Code.BUSY
            await begun(server, eve, Upload("e" * 32, 1000, "0" * 64))  # and by that she has lost nothing

    asyncio.run(story())


def test_small_uploads_stand_side_by_side_up_to_the_share(tmp_path: Path) -> None:
    now = [0.0]
    spool = Spool(tmp_path, Limits(uploads=4, share=1000), lambda: now[0])
    asked = [Upload(digit * 32, size, "0" * 64) for digit, size in zip("abcd", (300, 300, 300, 200), strict=True)]
    for now[0], upload in enumerate(asked):
        spool.begin("mercy", upload)
    assert spool.held == 800  # the first had to go
    with pytest.raises(Refused):
        spool.state("mercy", identify("mercy", asked[0]))


def test_what_is_announced_and_has_not_come_yet_keeps_its_place_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [1500]
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free[0]))
    spool = Spool(tmp_path, Limits(headroom=100), lambda: 0.0)
    id = spool.begin("mercy", Upload("a" * 32, 1000, "0" * 64)).id
    with pytest.raises(Refused, match="no room"):
        spool.begin("grace", Upload("b" * 32, 500, "0" * 64))
    asyncio.run(spool.add("mercy", id, 0, bytes(600)))
    free[0] -= 600
    with pytest.raises(Refused, match="no room"):
        spool.begin("grace", Upload("b" * 32, 401, "0" * 64))
    assert spool.begin("grace", Upload("b" * 32, 400, "0" * 64)).offset == 0


def test_a_full_disk_refuses_uploads_before_anything_is_written(tmp_path: Path) -> None:
    async def story() -> None:
        office, who = known()
        async with served(office, spool=tmp_path, limits=Limits(headroom=2**60)) as server:
            answer = await asked(server, who, "POST", "/v1/uploads", encode(ASKED))
            assert answer.code is Code.BUSY
            assert answer.headers["Retry-After"]
            assert not list(tmp_path.iterdir())

    asyncio.run(story())


def test_an_upload_to_which_nothing_was_added_for_long_is_forgotten(tmp_path: Path) -> None:
    now = [0.0]
    spool = Spool(tmp_path, Limits(expiry=10.0), lambda: now[0])
    id = spool.begin("mercy", ASKED).id
    asyncio.run(spool.add("mercy", id, 0, b"x"))
    now[0] = 10.0
    spool.sweep()
    assert spool.state("mercy", id).offset == 1
    now[0] = 10.1
    spool.sweep()
    assert not list(tmp_path.iterdir())
    with pytest.raises(Refused):
        spool.state("mercy", id)


def test_what_a_killed_server_left_in_its_folder_is_cleared_up(tmp_path: Path) -> None:
    now = [0.0]
    first = Spool(tmp_path, Limits(), lambda: now[0])
    good, torn, cut = (first.begin("mercy", Upload(digit * 32, 10, "0" * 64)).id for digit in "abc")
    asyncio.run(first.add("mercy", good, 0, b"12345"))
    (tmp_path / f"{torn}.json").write_text("{")
    (tmp_path / f"{cut}.part").write_bytes(bytes(11))
    (tmp_path / f"{'d' * 32}.part").write_bytes(b"nobody's")
    (tmp_path / f"{'e' * 32}.new").write_bytes(b"{")
    (tmp_path / "readme").write_text("somebody else's")
    again = Spool(tmp_path, Limits(), lambda: now[0])
    assert again.state("mercy", good).offset == 5
    assert {path.name for path in tmp_path.iterdir()} == {f"{good}.json", f"{good}.part", "readme"}


def test_an_answer_of_no_bytes_can_be_uploaded_too(tmp_path: Path) -> None:
    async def story() -> None:
        office, who = known()
        async with served(office, spool=tmp_path) as server:
            id = (await begun(server, who, Upload("a" * 32, 0, hashlib.sha256(b"").hexdigest()))).id
            assert (await asked(server, who, "POST", f"/v1/uploads/{id}/commit")).status == 200
            assert office.answers["a" * 32] == b""
            assert (await asked(server, who, "PUT", ANSWER, b"")).status == 200

    asyncio.run(story())
