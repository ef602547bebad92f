"""Refusals as replies: every error is a `Problem` under the status of its code."""

from __future__ import annotations

from math import ceil

from aiohttp import web

from tacit.network.office import Code, Refused
from tacit.network.wire import Problem, encode

PROTOBUF = "application/x-protobuf"
STATUS = {
    Code.MALFORMED: 400,
    Code.UNSIGNED: 401,
    Code.SKEWED: 401,
    Code.REPLAYED: 401,
    Code.REVOKED: 403,
    Code.FORBIDDEN: 403,
    Code.UNKNOWN: 404,
    Code.SLOW: 408,
    Code.CONFLICT: 409,
    Code.GONE: 410,
    Code.TOO_LARGE: 413,
    Code.UPGRADE: 426,
    Code.TOO_MANY: 429,
    Code.BUSY: 503,
}


class Brief(web.Response):
    """A reply that forgets what it said: the last one of a connection is kept while the next request waits."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Ends the reply."""
        await super().write_eof(data)
        self.body = None
        self.headers.clear()


def refusal(refused: Refused, now: int) -> web.Response:
    """The reply that says why; `now` in ms since 1970."""
    headers = {}
    if refused.after is not None:
        headers["Retry-After"] = str(ceil(refused.after))
    body = encode(Problem.of(refused, now))
    return Brief(status=STATUS[refused.code], body=body, content_type=PROTOBUF, headers=headers)


def message(value: object, status: int = 200) -> web.Response:
    """The reply that holds a value."""
    return Brief(status=status, body=encode(value), content_type=PROTOBUF)
