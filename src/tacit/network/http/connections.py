"""Accepts connections: not more than there is room for, in all and from one address, counted before TLS is spoken."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError

from tacit.network.http.limits import Limits

LOG = logging.getLogger("tacit.network.http")
SPARE = 256
"""File descriptors that are left for files, databases and the rest."""
PAUSE = 0.1
"""Seconds without accepting, where the system has no descriptor left."""
BACKLOG = 4096
"""Connections that wait to be accepted: as many as come at once when a coordinator is back. Systems cap it."""


PEERS = (HttpProcessingError, ClientError, web.RequestPayloadError, ConnectionError)
"""What goes wrong in reading what a peer sends: its doing, and told in an event without a word of it."""


class Connection(web.RequestHandler):
    """One connection, which says when it is lost, and when what came is no request."""

    __slots__ = ("_lost", "_observe")

    def __init__(
        self, server: web.Server, lost: Callable[[], None], limits: Limits, observe: Callable[..., None]
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.idle,
            lingering_time=min(2.0, limits.idle),
            read_bufsize=2**18,
            auto_decompress=False,
            access_log=None,  # type: ignore[arg-type]
        )
        self._lost, self._observe = lost, observe

    def connection_lost(self, exc: BaseException | None) -> None:
        """Gives the place free."""
        super().connection_lost(exc)
        self._lost()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The reply to what is no request, or that met a fault of ours: by its status alone, and the last one here."""
        self._told(status, exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a reply has begun, and there can be no other")
        response = web.Response(status=status, text=f"{status} {HTTPStatus(status).phrase}\n")
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """What is told of what went wrong beside a handler."""
        exc = kw.get("exc_info")
        self._told(500, exc if isinstance(exc, BaseException) else None)

    def _told(self, status: int, exc: BaseException | None) -> None:
        """Tells of peers' faults in an event, and of our own with their traceback."""
        if status < 500 or isinstance(exc, PEERS):
            self._observe("malformed", status=400 if status >= 500 else status)
        else:
            LOG.error("unexpected failure on a connection", exc_info=exc)


class Connections:
    """The open connections of one listening socket.

    Args:
        server: whose requests they carry.
        tls: None for connections in clear.
        limits: how many, and for how long they may be silent.
        observe: told of each that is refused, and of what comes and is no request.
    """

    def __init__(
        self, server: web.Server, tls: ssl.SSLContext | None, limits: Limits, observe: Callable[..., None]
    ) -> None:
        self._server, self._tls, self._limits, self._observe = server, tls, limits, observe
        self._by_address: Counter[str] = Counter()
        self._opening: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None
        self._most = _room(limits.connections)

    @property
    def open(self) -> int:
        """How many there are."""
        return self._by_address.total()

    def start(self, listening: socket.socket) -> None:
        """Begins to accept."""
        listening.setblocking(False)
        self._accepting = asyncio.create_task(self._accept(listening), name="accept")

    async def stop(self) -> None:
        """Accepts no more; those that are open stay."""
        for task in [self._accepting, *self._opening]:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(t for t in [self._accepting, *self._opening] if t), return_exceptions=True)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                peer, address = await loop.sock_accept(listening)
            except OSError:  # out of descriptors, or the peer is gone already: the next one may be served
                self._observe("connection", refused="accept")
                await asyncio.sleep(PAUSE)
                continue
            host = str(address[0])
            if self.open >= self._most or self._by_address[host] >= self._limits.per_address:
                self._observe("connection", refused="full" if self.open >= self._most else "address")
                peer.close()
                continue
            self._by_address[host] += 1
            task = asyncio.create_task(self._serve(peer, host), name="open")
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _serve(self, peer: socket.socket, host: str) -> None:
        """Speaks TLS where it is spoken, and hands the connection over."""
        loop = asyncio.get_running_loop()
        left = False

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                self._by_address[host] -= 1
                if not self._by_address[host]:
                    del self._by_address[host]

        try:
            peer.setblocking(False)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(
                lambda: Connection(self._server, leave, self._limits, self._observe),
                peer,
                ssl=self._tls,
                ssl_handshake_timeout=self._limits.handshake if self._tls else None,
            )
        except (OSError, ssl.SSLError, ConnectionError, asyncio.CancelledError) as error:
            self._observe("connection", refused="handshake")
            leave()
            peer.close()
            if isinstance(error, asyncio.CancelledError):
                raise


def _room(wanted: int) -> int:
    """How many connections there can be: the process asks for more descriptors where it may have them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE
    if soft != resource.RLIM_INFINITY and soft < needed:
        more = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
        soft = more
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - SPARE))
