"""Reads bodies: room is taken before, a digest on the way, and who dawdles is cut off."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import ClientError, web

from tacit.network.http.limits import Limits
from tacit.network.office import Code, Refused

PROGRESS = 0.5
"""Seconds by which the deadline of a body is moved at least, once it is moved."""


class Memory:
    """Room for bodies, of all requests together.

    Args:
        size: in bytes.
        each: of them that one participant may take; all of them when None.
    """

    def __init__(self, size: int, each: int | None = None) -> None:
        self.size, self.free, self.each = size, size, size if each is None else each
        self._held: Counter[str] = Counter()

    @contextmanager
    def hold(self, size: int, who: str) -> Iterator[None]:
        """Takes room for the block.

        Args:
            size: in bytes.
            who: takes it.

        Raises:
            Refused: there is none now (BUSY), or not so much for one (TOO_MANY).
        """
        if self._held[who] + size > self.each:
            raise Refused(Code.TOO_MANY, "several bodies of this participant are on their way", "one by one", after=1.0)
        if size > self.free:
            raise Refused(Code.BUSY, "too many bodies are on their way at once", "come again in a moment", after=1.0)
        self.free -= size
        self._held[who] += size
        try:
            yield
        finally:
            self.free += size
            self._held[who] -= size
            if not self._held[who]:
                del self._held[who]


def announced(request: web.Request, most: int) -> int:
    """The length of the body, as its head says it.

    Raises:
        Refused: it says none, more than `most`, or a coding under which the length would mean nothing.
    """
    headers = request.headers
    if "Transfer-Encoding" in headers or headers.get("Content-Encoding", "identity") != "identity":
        raise Refused(Code.MALFORMED, "the body is chunked or compressed", "send it as it is, with a Content-Length")
    length = request.content_length
    if length is None:
        raise Refused(Code.MALFORMED, "the request has no Content-Length", "say how long the body is")
    if length > most:
        raise Refused(Code.TOO_LARGE, f"a body of {length:,} bytes: {most:,} at most", "send a long answer in chunks")
    return length


def no_body(request: web.Request) -> None:
    """Checks that a request comes without a body.

    Raises:
        Refused: MALFORMED.
    """
    if request.content_length or "Transfer-Encoding" in request.headers:
        raise Refused(Code.MALFORMED, f"{request.method} takes no body", "send none")


async def read(request: web.Request, length: int, digest: bytes, limits: Limits) -> memoryview:
    """The body of a request: `length` bytes whose SHA-256 is `digest`.

    Raises:
        Refused: it came too slowly (SLOW), is another than was signed (UNSIGNED), or ended early (MALFORMED).
    """
    data, found = bytearray(length), hashlib.sha256()
    view, at = memoryview(data), 0
    begun = asyncio.get_running_loop().time()
    due = begun + limits.grace
    try:
        async with asyncio.timeout_at(due) as timeout:
            while part := await request.content.readany():
                end = at + len(part)
                if end > length:
                    raise Refused(Code.MALFORMED, f"more than {length:,} bytes came", "say how long the body is")
                view[at:end] = part
                found.update(part)
                at = end
                if begun + limits.grace + at / limits.rate > due + PROGRESS:
                    due = begun + limits.grace + at / limits.rate
                    timeout.reschedule(due)
    except TimeoutError:
        raise Refused(
            Code.SLOW,
            f"{at:,} of {length:,} bytes came in {asyncio.get_running_loop().time() - begun:.0f} s",
            f"send {limits.rate:,} bytes a second, or smaller chunks",
        ) from None
    except (ClientError, web.RequestPayloadError, ConnectionError):
        raise Refused(Code.MALFORMED, f"the body ended after {at:,} of {length:,} bytes", "send it again") from None
    if at != length:
        raise Refused(Code.MALFORMED, f"the body ended after {at:,} of {length:,} bytes", "send it again")
    if not hmac.compare_digest(found.digest(), digest):
        raise Refused(Code.UNSIGNED, "the body is not the one that was signed", "send it again")
    return view.toreadonly()
