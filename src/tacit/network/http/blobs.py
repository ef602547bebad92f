"""Serves bytes by their content: whole, from some byte on, or not at all where the peer has them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from tacit.network.http.limits import Limits
from tacit.network.office import Code, Refused

PIECE = 2**20
"""Bytes that are read and sent at a time."""
BINARY = "application/octet-stream"
RANGE = re.compile(r"bytes=(\d{1,15})-(\d{0,15})")
FOREVER = "private, max-age=31536000, immutable"


async def serve(request: web.Request, sha256: str, content: Path | bytes, limits: Limits) -> web.StreamResponse:
    """The reply with a blob, or with the part of it that was asked for.

    Raises:
        Refused: the file cannot be read (UNKNOWN), or the part lies behind its end (MALFORMED).
    """
    tag = f'"{sha256}"'
    headers = {"ETag": tag, "Cache-Control": FOREVER, "Accept-Ranges": "bytes"}
    if tag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    try:
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
    except OSError:
        raise Refused(Code.UNKNOWN, f"blob {sha256} cannot be read", "check in again") from None
    begin, end = _part(request.headers.get("Range", ""), size)
    partial = (begin, end) != (0, size)
    if partial:
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
    response = web.StreamResponse(status=206 if partial else 200, headers=headers)
    response.content_type, response.content_length = BINARY, end - begin
    await response.prepare(request)
    if request.method != "HEAD":
        try:
            async for piece in _pieces(content, begin, end):
                async with asyncio.timeout(limits.grace + len(piece) / limits.rate):
                    await response.write(piece)
            await response.write_eof()
        except (OSError, TimeoutError):  # its head is sent: all that can be done is to end early, visibly
            response.force_close()
            if request.transport is not None:
                request.transport.abort()
    return response


def _part(header: str, size: int) -> tuple[int, int]:
    """The first byte, and the one behind the last, that are asked for. Forms that are not served get everything."""
    found = RANGE.fullmatch(header)
    if not found:
        return 0, size
    begin = int(found[1])
    end = min(int(found[2]) + 1, size) if found[2] else size
    if begin >= end:
        raise Refused(Code.MALFORMED, f"bytes from {begin:,} on are asked for, of {size:,}", "ask for bytes it has")
    return begin, end


async def _pieces(content: Path | bytes, begin: int, end: int) -> AsyncIterator[memoryview | bytes]:
    if isinstance(content, bytes):
        view = memoryview(content)
        for at in range(begin, end, PIECE):
            yield view[at : min(at + PIECE, end)]
        return
    if end - begin <= PIECE:
        yield await asyncio.to_thread(_read, content, begin, end)
        return
    file = await asyncio.to_thread(content.open, "rb")
    with file:
        file.seek(begin)
        while begin < end:
            piece = await asyncio.to_thread(file.read, min(PIECE, end - begin))
            if not piece:
                raise OSError(f"{content} is shorter than it was")
            begin += len(piece)
            yield piece


def _read(path: Path, begin: int, end: int) -> bytes:
    with path.open("rb") as file:
        file.seek(begin)
        found = file.read(end - begin)
    if len(found) != end - begin:
        raise OSError(f"{path} is shorter than it was")
    return found
