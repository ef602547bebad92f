"""The participant's side of the wire: a link to one coordinator that loses nothing and sends nothing twice in doubt."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from yarl import URL

from tacit.network.http import fetching, signing, uploading
from tacit.network.http.cache import Cache
from tacit.network.http.gate import EMPTY, VERSIONS
from tacit.network.http.problems import STATUS
from tacit.network.http.retrying import PASSING, Tries, Unreachable
from tacit.network.http.signing import Signer
from tacit.network.http.url import checked
from tacit.network.office import Blob, CheckIn, Code, Enrolled, Failure, Receipt, Refused, Reply, Withdrawal
from tacit.network.wire import Enrol, Problem, Time, Uploaded, decode, encode
from tacit.network.wire.codec import largest

T = TypeVar("T")

CONNECT = 10.0
"""Seconds for a connection, TLS included."""
STALL = 30.0
"""Seconds without a byte after which a request is given up, beside those for which it was to wait."""
SLOWEST = 16 * 2**10
"""Bytes a second at which a body is sent at the least."""
PIECE = 2**18
DIRECT = 2 * 2**20
"""Most bytes of an answer that is sent in one request."""


@dataclass(frozen=True)
class Got:
    """A reply that is no refusal.

    Attributes:
        status: of HTTP.
        headers: by name.
        body: all of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Link:
    """Speaks with one coordinator on behalf of one participant.

    Failures that may pass are tried again; every try is signed anew, and what it asks for can be asked for twice.

    Args:
        signer: who asks: an `aggregation.secure.identity.Identity`.
        url: of the coordinator: https://host:port.
        context: of `identity.tls.client_context`; None trusts whom the system trusts.
        cache: folder for blobs; None keeps none.
        insecure: lets the url be http, on loopback.
        patience: seconds for which a request is tried again after its first failure.
        clock: seconds since 1970.
        versions: of the protocol that are spoken, the best first.

    Raises:
        UsageError: the url is no https url, and not one of loopback with `insecure`.
    """

    def __init__(
        self,
        signer: Signer,
        *,
        url: str,
        context: ssl.SSLContext | None = None,
        cache: Path | None = None,
        insecure: bool = False,
        patience: float = 120.0,
        clock: Callable[[], float] = time.time,
        versions: Sequence[str] = VERSIONS,
    ) -> None:
        self.url, loopback = checked(url, insecure)
        self._signer, self._context, self._patience = signer, context, patience
        self._cache = Cache(cache) if cache else None
        self._clock, self._versions, self._version = clock, tuple(versions), versions[0]
        self._offset = 0
        self._trust_env = not loopback  # a proxy of the environment leads elsewhere than to this machine
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Link:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    @property
    def skew(self) -> float:
        """Seconds by which the coordinator's clock is ahead, as far as that mattered."""
        return self._offset / 1000

    async def close(self) -> None:
        """Ends the connections."""
        if self._session:
            await self._session.close()
            self._session = None

    async def check_in(self, said: CheckIn) -> Reply:
        """Asks what to do; waits up to `said.wait` seconds for it.

        Raises:
            Refused: by the coordinator, finally.
            Unreachable: patience is at its end.
        """
        return await self.ask("POST", "/v1/check-in", Reply, encode(said), wait=said.wait)

    async def answer(self, assignment: str, body: bytes | memoryview, wait: float = 0.0) -> Receipt:
        """Answers an assignment; returns when the coordinator has it durably.

        Args:
            assignment: its id.
            body: the answer.
            wait: seconds for which what is to be done next is waited for, which then comes with the receipt; a large
                answer does not ask.

        Raises:
            Refused: GONE, CONFLICT, ... by the coordinator, finally.
            Unreachable: patience is at its end.
        """
        if len(body) <= DIRECT:
            try:
                asks = f"?wait={round(1000 * wait)}" if wait else ""
                return await self.ask("PUT", f"/v1/answers/{assignment}{asks}", Receipt, body, wait=wait)
            except Refused as refused:
                if refused.code is not Code.TOO_LARGE:
                    raise
        return await uploading.upload(self, assignment, body)

    async def fail(self, assignment: str, why: Failure) -> Receipt:
        """Says that an assignment will not be answered."""
        return await self.ask("POST", f"/v1/answers/{assignment}/failure", Receipt, encode(why))

    async def blob(self, blob: Blob) -> bytes:
        """The bytes of a blob: as they came with what named it, of the cache, or fetched; verified.

        Raises:
            Refused: there is none, or what comes is never what it should be (MALFORMED).
            Unreachable: patience is at its end.
        """
        if blob.data and hashlib.sha256(blob.data).hexdigest() == blob.sha256:
            return blob.data
        if self._cache:
            found = await asyncio.to_thread(self._cache.find, blob)
            if found is not None:
                return found
        data = await fetching.fetch(self, blob)
        if self._cache:
            await asyncio.to_thread(self._cache.keep, blob, data)
        return data

    async def withdraw(self) -> Withdrawal:
        """Leaves for good."""
        return await self.ask("POST", "/v1/withdraw", Withdrawal)

    async def time(self) -> Time:
        """The coordinator's clock and versions."""
        return await self.ask("GET", "/v1/time", Time)

    async def ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: bytes | memoryview = b"",
        *,
        headers: Mapping[str, str] | None = None,
        wait: float = 0.0,
    ) -> T:
        """Sends a request whose reply holds a value of this kind; again, where that may help."""
        got = await self.send(method, path, body, headers=headers or {}, wait=wait, most=largest(kind))
        return decode(kind, got.body)

    async def offset(self, id: str) -> Uploaded:
        """How far an upload is; its chunk is not told."""
        got = await self.send("HEAD", f"/v1/uploads/{id}", most=0)
        try:
            offset, length = (int(got.headers[name]) for name in ("Upload-Offset", "Upload-Length"))
        except (KeyError, ValueError):
            raise Refused(Code.MALFORMED, "the coordinator does not say how far the upload is") from None
        if not 0 <= offset <= length:
            raise Refused(Code.MALFORMED, f"the coordinator says that {offset:,} of {length:,} bytes are there")
        return Uploaded(id, offset, length, 0)

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | memoryview = b"",
        *,
        headers: Mapping[str, str] | None = None,
        wait: float = 0.0,
        most: int,
    ) -> Got:
        """Sends a request, again where that may help."""
        tries = self.tries()
        while True:
            try:
                return await self._once(method, path, body, headers or {}, wait, most)
            except Unreachable:
                raise
            except Refused as refused:
                if not tries.again(refused) and (refused.code not in PASSING or not await tries.pause(refused.after)):
                    raise
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                if not await self.passes(error, tries):
                    raise unreachable(self.url, error) from None

    def tries(self) -> Tries:
        """The tries of a new request."""
        return Tries(self._patience)

    async def passes(self, error: Exception, tries: Tries) -> bool:
        """Whether another try may help after a failure of the network; waits before it."""
        return not isinstance(error, aiohttp.ClientConnectorCertificateError) and await tries.pause()

    async def _once(
        self, method: str, path: str, body: bytes | memoryview, headers: Mapping[str, str], wait: float, most: int
    ) -> Got:
        async with self.request(method, path, body, headers, wait) as response:
            got = Got(response.status, response.headers, await _read(response, max(most, largest(Problem))))
            self.check(got)
            return got

    def request(
        self, method: str, path: str, body: bytes | memoryview, headers: Mapping[str, str], wait: float = 0.0
    ) -> Any:
        """One signed request: an asynchronous context that gives the reply."""
        digest = hashlib.sha256(body).digest() if body else EMPTY
        signed = signing.signed(
            self._signer,
            version=self._version,
            method=method,
            target=path,
            digest=digest,
            time=round(1000 * self._clock()) + self._offset,
            nonce=secrets.token_bytes(signing.NONCE_BYTES),
        )
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=STALL + wait + len(body) / SLOWEST)
        data = None if method in {"GET", "HEAD"} else bytes(body) if isinstance(body, memoryview) else body
        return self._opened().request(
            method,
            URL(self.url + path, encoded=True),
            data=data,
            headers={**signed, **headers},
            timeout=timeout,
            allow_redirects=False,
        )

    def check(self, got: Got) -> None:
        """Raises what a reply refuses, and learns from it: the other side's clock, the versions that it speaks.

        Raises:
            Refused: the reply is no success.
        """
        if 200 <= got.status < 300 or got.status == 304:
            return
        try:
            problem = decode(Problem, got.body)
        except Refused:
            raise _by_status(got.status) from None
        if problem.code is Code.SKEWED:
            self._offset = problem.now - round(1000 * self._clock())
        if problem.code is Code.UPGRADE:
            theirs = [name.strip() for name in got.headers.get("Tacit-Speaks", "").split(",")]
            self._version = next((version for version in self._versions if version in theirs), self._version)
        raise problem.refused

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=True if self._context is None else self._context, limit=8)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=self._trust_env,
                skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
                read_bufsize=PIECE,
            )
        return self._session


@dataclass(frozen=True)
class _Key:
    """A key that is not certified yet, as a signer."""

    name: str
    private: Ed25519PrivateKey

    def sign(self, message: bytes) -> bytes:
        return self.private.sign(message)


async def enrol(
    name: str,
    key: Ed25519PrivateKey,
    token: str,
    *,
    url: str,
    context: ssl.SSLContext | None = None,
    insecure: bool = False,
    patience: float = 30.0,
) -> Enrolled:
    """Enrols a participant by a token that can be used once; asking again with the same key is safe.

    Raises:
        Refused: the token is wrong, spent or expired, or the name is taken (FORBIDDEN).
        Unreachable: patience is at its end.
    """
    public = key.public_key().public_bytes_raw()
    async with Link(_Key(name, key), url=url, context=context, insecure=insecure, patience=patience) as link:
        return await link.ask("POST", "/v1/enrol", Enrolled, encode(Enrol(token, name, public)))


def unreachable(url: str, error: Exception) -> Unreachable:
    """A failure of the network in words."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Unreachable(
            f"{url} shows a certificate that is not trusted ({error.certificate_error})",
            "compare the invitation, and this machine's clock",
        )
    said = str(error) or type(error).__name__
    return Unreachable(f"the coordinator at {url} cannot be reached ({said})", "see `tacit doctor`, and try again")


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    data = bytearray()
    async for piece in response.content.iter_chunked(PIECE):
        data += piece
        if len(data) > most:
            raise Refused(Code.TOO_LARGE, f"the coordinator's reply has more than {most:,} bytes")
    return bytes(data)


def _by_status(status: int) -> Refused:
    """A refusal without a message: of a HEAD request, of a proxy, or of the HTTP parser."""
    remedy = "a proxy on the way may have answered: see `tacit doctor`"
    if 300 <= status < 400:
        return Unreachable(f"the coordinator's address leads elsewhere (status {status})", remedy)
    if status in {408, 425, 429} or status >= 500:
        return Refused(Code.BUSY, f"the reply has the status {status}", remedy, after=2.0)
    code = next((code for code, its in STATUS.items() if its == status), Code.MALFORMED)
    return Refused(code, f"the reply has the status {status}", remedy)
