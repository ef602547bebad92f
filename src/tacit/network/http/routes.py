"""What the coordinator answers to each request: reads it, asks the office, and writes what that says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from aiohttp import web

from tacit import __version__
from tacit.network.http import blobs, bodies
from tacit.network.http.gate import EMPTY, Gate
from tacit.network.http.problems import message
from tacit.network.http.signing import Signed
from tacit.network.http.spool import Spool
from tacit.network.office import ID, CheckIn, Code, Failure, Receipt, Refused
from tacit.network.wire import Enrol, Time, Upload, Uploaded, decode, encode
from tacit.network.wire.checks import DIGITS
from tacit.network.wire.codec import LONG_POLL, largest

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
WHO = web.RequestKey("participant", str)
"""Where a request keeps who sent it, once that is verified."""
NOTED = web.RequestKey("noted", asyncio.Task)
"""Where it keeps the task in which its nonce is written: that must be on disk before the reply leaves."""
SAFE = frozenset({"GET", "HEAD"})
"""Methods that change nothing: their replies wait for nothing."""


@dataclass
class Routes:
    """The resources under /v1.

    Attributes:
        gate: that lets requests pass.
        memory: room for bodies.
        spool: uploads.
        closing: whether the server ends; who waits is sent away.
    """

    gate: Gate
    memory: bodies.Memory
    spool: Spool
    closing: bool = False
    _working: set[asyncio.Task[Any]] = field(default_factory=set)
    _waiting: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def table(self) -> list[tuple[str, str, str, Handler]]:
        """Method, path, name and handler of every route."""
        return [
            ("POST", "/v1/enrol", "enrol", self.enrol),
            ("POST", "/v1/check-in", "check_in", self.check_in),
            ("GET", "/v1/blobs/{sha256}", "blob", self.blob),
            ("PUT", "/v1/answers/{id}", "answer", self.answer),
            ("POST", "/v1/answers/{id}/failure", "failure", self.failure),
            ("POST", "/v1/uploads", "begin", self.begin),
            ("HEAD", "/v1/uploads/{id}", "offset", self.offset),
            ("PATCH", "/v1/uploads/{id}", "chunk", self.chunk),
            ("POST", "/v1/uploads/{id}/commit", "commit", self.commit),
            ("POST", "/v1/withdraw", "withdraw", self.withdraw),
            ("GET", "/v1/time", "time", self.time),
            ("GET", "/livez", "livez", self.livez),
            ("GET", "/readyz", "readyz", self.readyz),
        ]

    async def enrol(self, request: web.Request) -> web.StreamResponse:
        """Takes a participant in that owns the key by which it signs."""
        self._open()
        signed = self.gate.stranger(request)
        asked = await self._message(request, signed, Enrol)
        signed.verify(asked.key, request.method, request.raw_path)
        if asked.name != signed.participant:
            raise Refused(Code.UNSIGNED, "the request is signed by another name than it asks for", "sign by that name")
        request[WHO] = asked.name
        return message(await self._finished(self.gate.office.enrol(asked.token, asked.name, asked.key)))

    async def check_in(self, request: web.Request) -> web.StreamResponse:
        """Tells a participant what to do; waits for that."""
        self._open()
        signed = await self._pass(request)
        said = await self._message(request, signed, CheckIn)
        asking = self.gate.office.check_in(signed.participant, said)
        del signed, said  # thousands wait here
        reply = await self._held(asking)
        response = message(reply)
        if reply.wait:  # it comes again later, and a connection costs memory meanwhile
            response.force_close()
        return response

    async def blob(self, request: web.Request) -> web.StreamResponse:
        """Gives bytes that an assignment named."""
        signed = await self._pass(request)
        _bare(request, signed)
        sha256 = _id(request, "sha256", 64)
        content = self.gate.office.blob(signed.participant, sha256)
        return await blobs.serve(request, sha256, content, self.gate.limits)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Takes a whole answer; where it asks to, the participant is told what to do next together with the receipt."""
        self._open()
        signed = await self._pass(request, body=True)
        id, wait = _id(request, "id", ID), _wait(request)
        receipt = await self._taken(request, signed, id)
        if wait is not None and not self.closing:
            receipt = replace(receipt, reply=await self._held(self.gate.office.next(signed.participant, wait)))
        return message(receipt)

    async def _taken(self, request: web.Request, signed: Signed, id: str) -> Receipt:
        """Reads an answer and hands it over; nothing of it is kept here afterwards."""
        length = bodies.announced(request, self.gate.limits.body)
        _fits(length, self.gate.office.expected(signed.participant, id).limit)
        with ExitStack() as reading:
            reading.enter_context(self.memory.hold(length, signed.participant))
            body = await bodies.read(request, length, signed.digest, self.gate.limits)
            self._note(request, signed)
            held = reading.pop_all()  # until the office is done with it, whether or not the peer stays

        async def take() -> Receipt:
            with held:
                return await self.gate.office.answer(signed.participant, id, body, signed.digest)

        return await self._finished(take())

    async def failure(self, request: web.Request) -> web.StreamResponse:
        """Notes that there will be no answer."""
        self._open()
        signed = await self._pass(request)
        id = _id(request, "id", ID)
        why = await self._message(request, signed, Failure)
        return message(await self._finished(self.gate.office.fail(signed.participant, id, why)))

    async def begin(self, request: web.Request) -> web.StreamResponse:
        """Begins an upload, or finds it again."""
        self._open()
        signed = await self._pass(request)
        upload = await self._message(request, signed, Upload)
        _fits(upload.length, self.gate.office.expected(signed.participant, upload.assignment).limit)
        return _state(self.spool.begin(signed.participant, upload))

    async def offset(self, request: web.Request) -> web.StreamResponse:
        """Says how far an upload is."""
        signed = await self._pass(request)
        _bare(request, signed)
        return _state(self.spool.state(signed.participant, _id(request, "id", ID)))

    async def chunk(self, request: web.Request) -> web.StreamResponse:
        """Adds a chunk to an upload."""
        self._open()
        signed = await self._pass(request)
        id, offset = _id(request, "id", ID), _offset(request)
        length = bodies.announced(request, self.gate.limits.chunk)
        upload = self.spool.find(signed.participant, id)
        try:
            self.gate.office.expected(signed.participant, upload.assignment)
        except Refused:
            self.spool.forget(signed.participant, id)
            raise
        with self.memory.hold(length, signed.participant):
            body = await bodies.read(request, length, signed.digest, self.gate.limits)
            return _state(await self._finished(self.spool.add(signed.participant, id, offset, body)))

    async def commit(self, request: web.Request) -> web.StreamResponse:
        """Takes an upload as the answer that it is."""
        self._open()
        signed = await self._pass(request)
        _bare(request, signed)
        id = _id(request, "id", ID)
        upload = self.spool.find(signed.participant, id)

        async def take() -> Receipt:
            async with self.spool.whole(signed.participant, id) as content:
                if content is None:
                    return Receipt(again=True)
                digest = bytes.fromhex(upload.sha256)
                return await self.gate.office.answer(signed.participant, upload.assignment, content, digest)

        return message(await self._finished(take()))

    async def withdraw(self, request: web.Request) -> web.StreamResponse:
        """Lets a participant leave."""
        self._open()
        signed = await self._pass(request)
        _bare(request, signed)
        return message(await self._finished(self.gate.office.withdraw(signed.participant)))

    async def time(self, request: web.Request) -> web.StreamResponse:
        """Tells the clock and the versions, to anybody."""
        return message(Time(self.gate.now, self.gate.versions, __version__))

    async def livez(self, request: web.Request) -> web.StreamResponse:
        """That it runs."""
        return web.Response(text="ok\n")

    async def readyz(self, request: web.Request) -> web.StreamResponse:
        """Whether it serves."""
        why = ["it is closing down"] if self.closing else self.gate.office.unready()
        return web.Response(status=503 if why else 200, text="".join(f"{line}\n" for line in why or ["ok"]))

    async def close(self, grace: float) -> None:
        """Sends away who waits, and lets end what is being taken."""
        self.closing = True
        for task in self._waiting:
            task.cancel()
        if self._working:
            await asyncio.wait(self._working, timeout=grace)

    def _open(self) -> None:
        if self.closing:
            raise _closing()

    async def _pass(self, request: web.Request, *, body: bool = False) -> Signed:
        """Lets a participant pass. Its nonce is written while the request is worked on.

        The journal keeps the order of what it is asked: what follows from a request is never on disk without its nonce.

        Args:
            request: with its head alone.
            body: nothing follows before the body is there: `_note` writes the nonce then, in the same commit.
        """
        signed = self.gate.known(request)
        request[WHO] = signed.participant
        if self.gate.doubtful(signed):
            await asyncio.shield(self._begun(self.gate.noted(signed)))
        elif not body:
            self._note(request, signed)
        return signed

    def _note(self, request: web.Request, signed: Signed) -> None:
        """Writes a nonce, unless it was; the reply waits until it is on disk."""
        if self.gate.doubtful(signed):
            return
        noted = self._begun(self.gate.noted(signed))
        if request.method not in SAFE:
            request[NOTED] = noted
            noted.add_done_callback(lambda task: _let_go(request, task))

    async def _message(self, request: web.Request, signed: Signed, kind: type[T]) -> T:
        length = bodies.announced(request, largest(kind))
        with self.memory.hold(length, signed.participant):
            body = await bodies.read(request, length, signed.digest, self.gate.limits)
            return decode(kind, body.tobytes())

    async def _held(self, waiting: Coroutine[Any, Any, T]) -> T:
        """Lets a participant wait, until this coordinator closes down."""
        task = asyncio.current_task()
        if task is None:  # never: a handler runs in a task
            raise Refused(Code.BUSY, "the coordinator cannot wait", after=1.0)
        self._waiting.add(task)
        try:
            return await waiting
        except asyncio.CancelledError:
            if not self.closing:
                raise
            task.uncancel()
            raise _closing() from None
        finally:
            self._waiting.discard(task)

    async def _finished(self, work: Coroutine[Any, Any, T]) -> T:
        """Lets work go on to its end where the peer has left: what is half done would be in doubt."""
        return await asyncio.shield(self._begun(work))

    def _begun(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._working.discard(task)
        if not task.cancelled():
            task.exception()  # told to the peer, where one is left


async def settled(request: web.Request) -> None:
    """Returns when the nonce of a request is on disk.

    Raises:
        Refused: it cannot be written now, or was used before.
    """
    noted = request.get(NOTED)
    if noted is not None:
        await asyncio.shield(noted)


def _let_go(request: web.Request, noted: asyncio.Task[None]) -> None:
    """A request that waits for long does not keep a task that has gone well."""
    if not noted.cancelled() and noted.exception() is None:
        request.pop(NOTED, None)


def _state(uploaded: Uploaded) -> web.Response:
    response = web.Response(body=encode(uploaded), content_type="application/x-protobuf")
    response.headers["Upload-Offset"] = str(uploaded.offset)
    response.headers["Upload-Length"] = str(uploaded.length)
    return response


def _closing() -> Refused:
    return Refused(Code.BUSY, "the coordinator is closing down", "come again later", after=2.0)


def _fits(length: int, limit: int) -> None:
    if length > limit:
        raise Refused(Code.TOO_LARGE, f"an answer of {length:,} bytes: {limit:,} are asked for", "send what is asked")


def _bare(request: web.Request, signed: Signed) -> None:
    bodies.no_body(request)
    if signed.digest != EMPTY:
        raise Refused(Code.UNSIGNED, "the digest is not that of an empty body", "sign the digest of no bytes")


def _id(request: web.Request, name: str, digits: int) -> str:
    value = request.match_info[name]
    if len(value) != digits or not set(value) <= DIGITS:
        raise Refused(Code.UNKNOWN, f"there is no {name} like this", f"give {digits} hexadecimal digits")
    return value


def _wait(request: web.Request) -> float | None:
    """Seconds for which the sender of an answer waits for what is to be done next; None where it does not ask."""
    value = request.query.get("wait")
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 5 and int(value) <= LONG_POLL):
        raise Refused(Code.MALFORMED, "wait is no number of milliseconds", f"give {LONG_POLL:,} at most")
    return int(value) / 1000


def _offset(request: web.Request) -> int:
    value = request.headers.get("Upload-Offset", "")
    if not (value.isascii() and value.isdigit() and len(value) <= 15):
        raise Refused(Code.MALFORMED, "Upload-Offset is no whole number", "say where the chunk begins")
    return int(value)
