"""The coordinator's surface on the network: an HTTP server before an `Office`."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from aiohttp import hdrs, web

from tacit.errors import StorageError, UsageError
from tacit.network.http.bodies import Memory
from tacit.network.http.connections import BACKLOG, Connections
from tacit.network.http.gate import VERSIONS, Gate
from tacit.network.http.limits import Limits
from tacit.network.http.problems import refusal
from tacit.network.http.rates import Rates
from tacit.network.http.routes import WHO, Handler, Routes, settled
from tacit.network.http.signing import VERSION
from tacit.network.http.spool import Spool
from tacit.network.office import Code, Office, Refused

LOG = logging.getLogger("tacit.network.http")
SPEAKS = "Tacit-Speaks"
"""The header of a reply to who speaks another version."""
SWEEP = 60.0
"""Seconds between two looks for uploads that expired."""


def unobserved(event: str, **facts: object) -> None:
    """Tells nobody."""


class Server:
    """Serves an office.

    Args:
        office: the coordinator.
        host: name or address to listen at.
        port: to listen at; 0 takes a free one.
        tls: context of `identity.tls.server_context`; None serves in clear, which is allowed on loopback only.
        clock: seconds since 1970.
        limits: what peers may take at most.
        spool: folder for uploads; None takes a temporary one, and uploads do not survive the process.
        versions: of the protocol that are spoken, the best first.
        extra_routes: served beside those of the protocol: unsigned, for people and monitors.
        observe: called at the end of each request as observe("request", route=, method=, status=, code=,
            received=, sent=, seconds=, participant=), as observe("connection", refused=) for one not accepted, and as
            observe("malformed", status=) for what came and is no request.
        before: ms since 1970 until which nonces that an earlier process wrote may be valid: only requests that were
            signed so early wait for the journal before they have any effect. None lets all of them wait.

    Raises:
        UsageError: it would serve in clear beyond this machine.
    """

    def __init__(
        self,
        office: Office,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
        limits: Limits | None = None,
        spool: Path | None = None,
        versions: Sequence[str] = VERSIONS,
        extra_routes: Sequence[web.AbstractRouteDef] = (),
        observe: Callable[..., None] = unobserved,
        before: int | None = None,
    ) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._clock, self._limits, self._folder = clock, limits or Limits(), spool
        self._versions, self._extra, self._observe = tuple(versions), tuple(extra_routes), observe
        requests = Rates(self._limits.requests, self._limits.burst)
        strangers = Rates(self._limits.enrolments, 10 * self._limits.enrolments, "enrolments")
        self._gate = Gate(office, self._limits, self._versions, clock, requests, strangers, before)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._listening: socket.socket | None = None
        self._routes: Routes | None = None
        self._runner: web.AppRunner | None = None
        self._connections: Connections | None = None
        self._sweeping: asyncio.Task[None] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port at which it listens."""
        if self._listening is None:
            raise UsageError("the server does not listen: start it first")
        found = self._listening.getsockname()
        return str(found[0]), int(found[1])

    @property
    def url(self) -> str:
        """Where participants of this machine find it."""
        host, port = self.address
        return f"{'https' if self._tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._connections.open if self._connections else 0

    @property
    def memory(self) -> Memory:
        """Room for bodies, and what is free of it."""
        if self._routes is None:
            raise UsageError("the server has no memory yet: start it first")
        return self._routes.memory

    async def start(self) -> None:
        """Begins to listen.

        Raises:
            UsageError: the address is not this machine's, is taken, or is beyond it and there is no TLS.
            StorageError: the folder of uploads cannot be used.
        """
        self._listening = await self._listen()
        if self._folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="tacit-uploads-")
        spool = Spool(self._folder or Path(self._temporary.name if self._temporary else ""), self._limits, self._clock)
        self._routes = Routes(self._gate, Memory(self._limits.memory, 2 * self._limits.body), spool)
        self._runner = web.AppRunner(self._application(self._routes), handler_cancellation=True, access_log=None)
        await self._runner.setup()
        if self._runner.server is None:
            raise UsageError("the server was not set up")
        self._connections = Connections(self._runner.server, self._tls, self._limits, self._observe)
        self._connections.start(self._listening)
        self._sweeping = asyncio.create_task(_sweep(spool), name="sweep uploads")

    async def stop(self, grace: float = 10.0) -> None:
        """Ends: accepts nothing more, sends away who waits, lets end what is under way for `grace` seconds."""
        if self._sweeping:
            self._sweeping.cancel()
        if self._connections:
            await self._connections.stop()
        if self._listening:
            self._listening.close()
        if self._routes:
            await self._routes.close(grace)
        if self._runner:
            if self._runner.server:
                self._runner.server.pre_shutdown()
                await self._runner.server.shutdown(grace)
            await self._runner.cleanup()
        if self._temporary:
            self._temporary.cleanup()

    async def _listen(self) -> socket.socket:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                self._host or None, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except OSError as error:
            raise UsageError(f"host is {self._host!r}, which is no address: {error.strerror}") from None
        family, _, _, _, address = sorted(found, key=lambda entry: entry[0] != socket.AF_INET)[0]
        if self._tls is None and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
            raise UsageError(
                f"host is {self._host!r}: without TLS a coordinator serves 127.0.0.1 only. Make certificates with "
                "`tacit certs`, or serve on loopback"
            )
        try:
            return socket.create_server(address[:2], family=family, backlog=BACKLOG)
        except OSError as error:
            raise UsageError(f"{self._host}:{self._port} cannot be listened at: {error.strerror}") from None

    def _application(self, routes: Routes) -> web.Application:
        app = web.Application(client_max_size=self._limits.body)
        for method, path, name, handler in routes.table:
            app.router.add_route(method, path, self._told(name, handler), name=name)
        app.router.add_routes(self._extra)
        app.router.add_route("*", "/{rest:.*}", self._told("none", _nothing))
        return app

    def _told(self, name: str, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """A handler whose refusals are replies, and that is observed."""

        async def handle(request: web.Request) -> web.StreamResponse:
            begun, code = time.perf_counter(), ""
            try:
                response = await handler(request)
                await settled(request)
            except Refused as refused:
                code, response = refused.code.value, self._refusal(refused)
            except StorageError as error:
                LOG.error("%s: %s", name, error)
                code = Code.BUSY.value
                response = self._refusal(Refused(Code.BUSY, "the coordinator cannot store anything", "", after=5.0))
            except (web.HTTPException, ConnectionError):
                raise
            except Exception:  # a fault of ours must not end the connections of others, nor tell how we are made
                LOG.exception("unexpected failure of %s", name)
                code = "unexpected"
                response = self._refusal(
                    Refused(Code.BUSY, "the coordinator met a fault of its own", "tell its operator", after=5.0)
                )
                response.set_status(500)
            self._observe(
                "request",
                route=name,
                method=request.method if request.method in hdrs.METH_ALL else "other",
                status=response.status,
                code=code,
                received=request.content_length or 0,
                sent=response.content_length or 0,
                seconds=time.perf_counter() - begun,
                participant=request.get(WHO, ""),
            )
            return response

        return handle

    def _refusal(self, refused: Refused) -> web.Response:
        response = refusal(refused, self._gate.now)
        if refused.code is Code.UPGRADE:
            response.headers[SPEAKS] = ", ".join(self._versions)
        response.headers[VERSION] = self._versions[0]
        return response


async def _nothing(request: web.Request) -> web.StreamResponse:
    raise Refused(Code.UNKNOWN, "there is nothing at this path, or not by this method", "see docs/protocol.md")


async def _sweep(spool: Spool) -> None:
    while True:
        await asyncio.sleep(SWEEP)
        spool.sweep()
