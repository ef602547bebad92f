"""Real servers on loopback, and requests written by hand."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tacit.network.http.link import Link
from tacit.network.http.server import Server
from tacit.network.http.signing import signed
from tacit.network.office import Code
from tacit.network.wire import Problem, decode
from tests.network.http.office import Memory

ANSWER = f"/v1/answers/{'a' * 32}"


@dataclass(frozen=True)
class Someone:
    """A participant with a key."""

    name: str = "mercy"
    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def key(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self.private.sign(message)


@dataclass(frozen=True)
class Answered:
    """A reply, as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> Code | None:
        return None if self.status < 300 else decode(Problem, self.body).code


@asynccontextmanager
async def served(office: Memory, **options: Any) -> AsyncIterator[Server]:
    """A server before an office."""
    server = Server(office, **options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(1.0)


def known(name: str = "mercy") -> tuple[Memory, Someone]:
    """An office that knows somebody, who has one assignment."""
    office, who = Memory(), Someone(name)
    office.keys[name] = who.key
    office.ask(name)
    return office, who


def link(who: Someone, server: Server, **options: Any) -> Link:
    """A link in clear."""
    return Link(who, url=server.url, **{"insecure": True, "patience": 5.0, **options})


def head(who: Someone, method: str, target: str, body: bytes = b"", **changes: str | None) -> dict[str, str]:
    """The headers of a signed request; `changes` replace them after it was signed, None removes."""
    headers = signed(
        who,
        version="1",
        method=method,
        target=target,
        digest=hashlib.sha256(body).digest(),
        time=round(1000 * time.time()),
        nonce=secrets.token_bytes(16),
    )
    headers |= {"Content-Length": str(len(body))} if body or method not in {"GET", "HEAD"} else {}
    for name, value in changes.items():
        name = name.replace("_", "-").title()
        headers.pop(name, None)
        if value is not None:
            headers[name] = value
    return headers


def written(method: str, target: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """A request as it goes over the wire."""
    lines = [f"{method} {target} HTTP/1.1", "Host: coordinator", *(f"{n}: {v}" for n, v in headers.items()), "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body


async def sent(server: Server, data: bytes, tls: ssl.SSLContext | None = None) -> Answered:
    """What the server answers to these bytes."""
    reader, writer = await asyncio.open_connection(*server.address, ssl=tls)
    try:
        writer.write(data)
        return await received(reader, data.startswith(b"HEAD"))
    finally:
        writer.close()


async def received(reader: asyncio.StreamReader, bodiless: bool = False) -> Answered:
    """The next reply."""
    top = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode().split("\r\n")
    headers = {n.title(): v.strip() for n, _, v in (line.partition(":") for line in top[1:] if line)}
    length = 0 if bodiless else int(headers.get("Content-Length", "0"))
    return Answered(int(top[0].split()[1]), headers, await asyncio.wait_for(reader.readexactly(length), 10))


async def asked(server: Server, who: Someone, method: str, target: str, body: bytes = b"", **changes: Any) -> Answered:
    """What the server answers to a signed request."""
    return await sent(server, written(method, target, head(who, method, target, body, **changes), body))
