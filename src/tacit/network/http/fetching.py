"""Fetches a blob: goes on where a connection broke, and never gives bytes that are not what was named."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import aiohttp

from tacit.network.http.retrying import PASSING, Unreachable
from tacit.network.office import Blob, Code, Refused

if TYPE_CHECKING:
    from tacit.network.http.link import Link

FALSE = 3
"""So many times false bytes are fetched before it is given up."""
PIECE = 2**18


async def fetch(link: Link, blob: Blob) -> bytes:
    """The bytes of a blob.

    Raises:
        Refused: there is none, or what comes is never what it should be (MALFORMED).
        Unreachable: patience is at its end.
    """
    for _ in range(FALSE):
        data = await _whole(link, blob)
        if hashlib.sha256(data).hexdigest() == blob.sha256:
            return bytes(data)
    raise Refused(
        Code.MALFORMED,
        f"blob {blob.sha256[:12]} came {FALSE} times, and never as it should be",
        "a cache on the way may be damaged: tell the coordinator's operator",
    )


async def _whole(link: Link, blob: Blob) -> bytearray:
    """As many bytes as the blob has, from one or several replies."""
    from tacit.network.http.link import Got, unreachable

    data, tries = bytearray(), link.tries()
    while True:
        had = len(data)
        headers = {"Range": f"bytes={had}-"} if had else {}
        try:
            async with link.request("GET", f"/v1/blobs/{blob.sha256}", b"", headers) as response:
                if response.status not in {200, 206}:
                    link.check(Got(response.status, response.headers, await response.content.read(2**16)))
                if response.status == 200:
                    data.clear()
                await _add(response, data, blob)
            if len(data) == blob.size:
                return data
            raise aiohttp.ClientPayloadError(f"{len(data):,} of {blob.size:,} bytes came")
        except Unreachable:
            raise
        except Refused as refused:
            if not tries.again(refused) and (refused.code not in PASSING or not await tries.pause(refused.after)):
                raise
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if len(data) > had:
                tries = link.tries()  # it goes on
            if not await link.passes(error, tries):
                raise unreachable(link.url, error) from None


async def _add(response: aiohttp.ClientResponse, data: bytearray, blob: Blob) -> None:
    async for piece in response.content.iter_chunked(PIECE):
        if len(data) + len(piece) > blob.size:
            data.clear()
            raise aiohttp.ClientPayloadError(f"more than {blob.size:,} bytes came")
        data += piece
