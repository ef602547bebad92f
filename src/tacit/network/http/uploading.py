"""Sends a long answer in chunks: goes on where the coordinator says, after anything."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tacit.network.office import Code, Receipt, Refused
from tacit.network.wire import Upload, Uploaded, encode

if TYPE_CHECKING:
    from tacit.network.http.link import Link

BEGINS = 3
"""So many times an upload is begun before it is given up."""
CHUNK = 2**20
"""Most bytes of one request."""
AFRESH = frozenset({Code.UNKNOWN, Code.MALFORMED})
"""Refusals after which an upload is begun again: it was forgotten, or was damaged."""


async def upload(link: Link, assignment: str, body: bytes | memoryview) -> Receipt:
    """Sends an answer.

    Raises:
        Refused: by the coordinator, finally.
        Unreachable: patience is at its end.
    """
    asked = encode(Upload(assignment, len(body), hashlib.sha256(body).hexdigest()))
    for left in reversed(range(BEGINS)):
        begun = await link.ask("POST", "/v1/uploads", Uploaded, asked)
        if begun.length != len(body):
            raise Refused(Code.MALFORMED, "the coordinator speaks of another upload than was begun")
        try:
            return await _sent(link, begun, memoryview(body))
        except Refused as refused:
            if refused.code not in AFRESH or not left:
                raise
    raise Refused(Code.MALFORMED, "the upload could not be begun")


async def _sent(link: Link, begun: Uploaded, body: memoryview) -> Receipt:
    """Sends what is missing, and commits."""
    offset, size, stuck = begun.offset, min(CHUNK, begun.chunk), 0
    while True:
        try:
            while offset < len(body):
                offset = await _chunk(link, begun.id, offset, body[offset : offset + size])
            return await link.ask("POST", f"/v1/uploads/{begun.id}/commit", Receipt)
        except Refused as refused:
            if refused.code is not Code.CONFLICT:
                raise
            there = await _there(link, begun.id, refused if offset == len(body) else None)
            stuck = stuck + 1 if there <= offset else 0
            if there == len(body) == offset or stuck > BEGINS:  # then it is the answer that conflicts
                raise
            offset = there


async def _there(link: Link, id: str, conflict: Refused | None) -> int:
    """How far an upload is. One that is gone after its commit was in conflict was refused as the answer that it is."""
    try:
        return (await link.offset(id)).offset
    except Refused as refused:
        if conflict is not None and refused.code is Code.UNKNOWN:
            raise conflict from None
        raise


async def _chunk(link: Link, id: str, offset: int, chunk: memoryview) -> int:
    """Sends a chunk; how far the upload then is."""
    headers = {"Upload-Offset": str(offset)}
    state = await link.ask("PATCH", f"/v1/uploads/{id}", Uploaded, chunk, headers=headers)
    if state.offset <= offset:
        raise Refused(Code.MALFORMED, "the coordinator took a chunk, and the upload is no longer")
    return state.offset
