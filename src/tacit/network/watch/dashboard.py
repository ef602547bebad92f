"""The page that a coordinator serves of its run, and the JSON behind it.

The page's files lie in `static`: plain HTML, CSS and JavaScript that ask nothing of any other server. It polls
`/v1/status`, of which only rows that it has not seen are sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from aiohttp import web

from tacit.network.watch import status as shape
from tacit.network.watch.guard import COOKIE, Guard

FRESH = 1.0
"""Seconds for which a status is shown again, however many look."""
KEPT = 30 * 24 * 3600
"""Seconds for which a browser stays signed in."""
LONGEST_FORM, FORM = 4096, 5.0
"""Bytes of a form with a token, and seconds for which it is waited for."""
STATIC = Path(__file__).parent / "static"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src "
    "'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(status: Callable[[], Mapping[str, Any]], token: str | None = None) -> list[web.RouteDef]:
    """What to add to a coordinator's application.

    Args:
        status: how the run goes, in the shape of `watch.status`.
        token: that somebody who looks must show; None lets in those on this machine only.

    Raises:
        UsageError: the token is short.
    """
    page = _Page(Guard(token), _Fresh(status))
    files = [
        web.get(f"/dashboard/{file.name}", _sent(file))
        for file in sorted(STATIC.iterdir())
        if file.suffix in TYPES and file.name != "index.html"
    ]
    return [
        web.get("/", page.index),
        web.get("/login", page.login),
        web.post("/login", page.login),
        web.get("/v1/status", page.status),
        *files,
    ]


@dataclass
class _Fresh:
    """The last status, as bytes by the round after which its rows begin."""

    ask: Callable[[], Mapping[str, Any]]
    found: Mapping[str, Any] = field(default_factory=dict)
    until: float = 0.0
    encoded: dict[int, bytes] = field(default_factory=dict)

    def body(self, after: int) -> bytes:
        now = time.monotonic()
        if now >= self.until:
            self.found, self.encoded, self.until = self.ask(), {}, now + FRESH
        if after not in self.encoded:
            if len(self.encoded) > 16:  # readers that are behind one another are few
                self.encoded.clear()
            self.encoded[after] = shape.as_json(self.found, after)
        return self.encoded[after]


@dataclass(frozen=True)
class _Page:
    """The handlers that look at who asks."""

    guard: Guard
    fresh: _Fresh

    async def index(self, request: web.Request) -> web.StreamResponse:
        if self.guard.allows(request):
            return _file(STATIC / "index.html")
        return _file(STATIC / ("login.html" if self.guard.token else "local.html"), 401 if self.guard.token else 403)

    async def login(self, request: web.Request) -> web.StreamResponse:
        """Takes the token from a link or a form, and lets the browser keep a pass."""
        shown = request.query.get("token", "")
        if request.method == "POST":
            if request.content_length is None or request.content_length > LONGEST_FORM:
                return web.Response(status=413, headers=HEADERS)
            try:
                async with asyncio.timeout(FORM):
                    shown = str((await request.post()).get("token", ""))
            except (TimeoutError, ValueError):  # too slow, or no form
                return web.Response(status=400, headers={**HEADERS, "Connection": "close"})
        token = self.guard.token
        if token is None or not self.guard.matches(shown.strip()):
            return _file(STATIC / ("login.html" if token else "local.html"), 401 if token else 403)
        reply = web.Response(status=303, headers={**HEADERS, "Location": "/", "Cache-Control": "no-store"})
        reply.set_cookie(
            COOKIE, Guard.pass_for(token), max_age=KEPT, httponly=True, samesite="Strict", secure=request.secure
        )
        return reply

    async def status(self, request: web.Request) -> web.StreamResponse:
        if not self.guard.allows(request):
            said = {"code": "forbidden", "problem": "this shows its token or comes from the coordinator's own machine"}
            return web.json_response(said, status=401, headers={**HEADERS, "WWW-Authenticate": "Bearer"})
        asked = request.query.get("after", "0")
        after = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 0
        body = self.fresh.body(after)
        tag = f'"{sha256(body).hexdigest()[:32]}"'
        headers = {**HEADERS, "ETag": tag}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type="application/json", charset="utf-8", headers=headers)


def _sent(file: Path) -> Handler:
    """A handler for a file that anybody may have: there is nothing of the run in it."""

    async def send(request: web.Request) -> web.StreamResponse:
        body = file.read_bytes()
        tag = f'"{sha256(body).hexdigest()[:32]}"'
        headers = {**HEADERS, "ETag": tag}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type=TYPES[file.suffix], charset="utf-8", headers=headers)

    return send


def _file(file: Path, status: int = 200) -> web.Response:
    return web.Response(
        body=file.read_bytes(), status=status, content_type=TYPES[file.suffix], charset="utf-8", headers=HEADERS
    )
