"""Requests that were recorded, and are sent to a server that another process was before: rows 2 and 8 of the faults."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tacit.network.http.limits import Limits
from tacit.network.office import CheckIn, Code
from tacit.network.wire import Upload, Uploaded, decode, encode
from tests.network.http.serving import ANSWER, Someone, asked, head, known, sent, served, written

UPLOAD = encode(Upload("a" * 32, 1000, "b" * 64))
CHANGING = [
    ("POST", "/v1/check-in", encode(CheckIn("0" * 32))),
    ("PUT", ANSWER, b"an answer"),
    ("POST", "/v1/uploads", UPLOAD),
    ("POST", "/v1/withdraw", b""),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGING, ids=["check-in", "answer", "upload", "withdrawal"])
def test_what_came_before_a_restart_has_no_effect_after_it(method: str, path: str, body: bytes, tmp_path: Path) -> None:
    async def story() -> None:
        office, who = known()
        request = written(method, path, head(who, method, path, body), body)
        async with served(office, spool=tmp_path, before=0) as server:
            assert (await sent(server, request)).status == 200
        office.said.clear()
        office.revoked.clear()
        office.taken = 0
        for file in tmp_path.iterdir():
            file.unlink()
        async with served(office, spool=tmp_path, before=max(office.nonces.values())) as server:
            for _ in range(2):
                assert (await sent(server, request)).code is Code.REPLAYED
        assert not (office.said or office.revoked or office.taken or list(tmp_path.iterdir()))

    asyncio.run(story())


def test_how_far_an_upload_is_is_told_to_its_owner_alone_and_once_more_where_a_crash_forgot(tmp_path: Path) -> None:
    async def story() -> None:
        office, who = known()
        other = Someone("grace")
        office.keys["grace"] = other.key
        async with served(office, spool=tmp_path, before=0, limits=Limits(chunk=500)) as server:
            id = decode(Uploaded, (await asked(server, who, "POST", "/v1/uploads", UPLOAD)).body).id
            path = f"/v1/uploads/{id}"
            assert (await asked(server, who, "PATCH", path, bytes(500), upload_offset="0")).status == 200
            before = max(office.nonces.values())
            request = written("HEAD", path, head(who, "HEAD", path))
            first = await sent(server, request)
        kept = {mark: until for mark, until in office.nonces.items() if mark[1].hex().encode() not in request}
        office.nonces = kept  # as if the crash had come before that nonce was written
        async with served(office, spool=tmp_path, before=before) as server:
            again = await sent(server, request)
            assert (again.status, again.headers["Upload-Offset"]) == (200, first.headers["Upload-Offset"])
            assert again.body == b""
            assert (await sent(server, request)).status == 401
            assert (await asked(server, other, "HEAD", path)).status == 404
            stolen = request.replace(b"Participant: mercy", b"Participant: grace")
            assert (await sent(server, stolen)).status == 401

    asyncio.run(story())
