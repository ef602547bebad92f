"""Many devices in one process, each with a key and a connection, and as light as can be: a herd, and a siege."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import resource
import secrets
import time
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tacit.network.consent.approvals import statement
from tacit.network.event_loop import NEW_LOOP
from tacit.network.identity.invitation import hash_of, new_token
from tacit.network.office import CheckIn, Reply
from tacit.network.wire import decode, encode
from tests.faults.network.actors import begun
from tests.network.http.serving import Answered, Someone, head, written

ADDRESSES = 4
"""From so many addresses of this machine they come."""
HOLD = 25.0
"""Seconds for which a device that has nothing to do waits for something."""


def device(k):
    """The k-th, with the same key in every process."""
    return Someone(f"device-{k:05d}", Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"device %d" % k).digest()))


def taken_in(story, count):
    """Enrols so many, before the coordinator is started."""
    token = bytes.fromhex(hash_of(new_token()))
    with story.journal() as journal:
        journal.add_token(token, uses=count, expires_ms=2**53)
        asked = [journal.enrol(token, one.name, one.key) for one in map(device, range(count))]
        for one in asked:
            one.result()


def all_descriptors():
    """Lets this process have as many connections as it may."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def opened(port, k):
    """A connection from one of several addresses."""
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.1.{1 + k % ADDRESSES}", 0))


def asking(who, terms="", wait=0.0):
    """A check-in, as it goes over the wire; of a device that has approved the terms, and rests."""
    approval = who.sign(statement(who.name, terms)) if terms else b""
    body = encode(CheckIn(secrets.token_hex(16), terms, approval, wait=wait, note="it rests"))
    return written("POST", "/v1/check-in", head(who, "POST", "/v1/check-in", body), body)


async def reply(reader):
    """The next reply, whenever it comes."""
    top = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.title(): value.strip() for name, _, value in (line.partition(":") for line in top[1:] if line)}
    return Answered(int(top[0].split()[1]), headers, await reader.readexactly(int(headers.get("Content-Length", "0"))))


class Herd:
    """Devices that wait at a coordinator, lose it, and all come back in the moment in which it is there again.

    Attributes:
        there: those who waited before.
        away: those who found nobody.
        served: seconds after it was back until each had its reply.
        sent_away: replies with 429 or 503 that said when to come again.
        cut: connections that ended without a reply, since it was back.
        wrong: other replies.
    """

    def __init__(self, spec, port, count):
        self.folder, self.port, self.count = Path(spec["folder"]), port, count
        self.there, self.away, self.served = set(), set(), {}
        self.sent_away, self.cut, self.wrong = 0, 0, []
        self.back, self.began = asyncio.Event(), 0.0

    async def run(self):
        tasks = [asyncio.create_task(self._device(k)) for k in range(self.count)]
        await self._until(lambda: len(self.there) == self.count, "there")
        await self._until(lambda: len(self.away) == self.count, "away")
        while not await self._listens():
            await asyncio.sleep(0.005)
        self.began = time.monotonic()
        self.back.set()
        await self._until(lambda: len(self.served) + len(self.wrong) >= self.count, "served")
        await asyncio.gather(*tasks)

    async def _until(self, condition, name):
        """Says, by a file, when it is so far."""
        while not condition():
            await asyncio.sleep(0.05)
        told = {"seconds": sorted(self.served.values()), "away": self.sent_away, "cut": self.cut, "wrong": self.wrong}
        new = self.folder / f"herd.{name}.new"
        new.write_text(json.dumps(told))
        new.replace(self.folder / f"herd.{name}")

    async def _listens(self):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    async def _device(self, k):
        who, terms = device(k), ""
        while True:
            try:
                reader, writer = await opened(self.port, k)
                terms = decode(Reply, await self._reply(reader, writer, who, terms)).terms.sha256
                self.there.add(k)
                if self.back.is_set():
                    self.served.setdefault(k, time.monotonic() - self.began)
                while not (later := decode(Reply, await self._reply(reader, writer, who, terms, HOLD)).wait):
                    pass
                writer.close()  # not all are held: it is to come again later, on another connection
                await asyncio.sleep(later)
            except ConnectionRefusedError:
                self.away.add(k)
                await self.back.wait()
            except (OSError, EOFError):
                self.cut += self.back.is_set()
                await asyncio.sleep(random.uniform(0.1, 0.5))

    async def _reply(self, reader, writer, who, terms="", wait=0.0):
        """What is replied to a check-in, if need be to one that comes later, as it was told."""
        while True:
            writer.write(asking(who, terms, wait))
            found = await reply(reader)
            if found.status == 200:
                return found.body
            if found.status not in (429, 503) or "Retry-After" not in found.headers:
                self.wrong.append(f"{who.name}: {found}")
            self.sent_away += 1
            await asyncio.sleep(int(found.headers.get("Retry-After", 1)) * random.uniform(1.0, 1.5))


def herd(spec, port, count):
    """A process that is a herd."""
    begun(spec["folder"], "herd.out")
    all_descriptors()
    with asyncio.Runner(loop_factory=NEW_LOOP) as runner:
        runner.run(Herd(spec, port, count).run())


class Siege:
    """Connections that dawdle, from a few addresses: each that is cut off comes again at once.

    Attributes:
        open: how many are.
        refused: how often one was closed at once.
        cut: how often one was, later.
    """

    def __init__(self, spec, port, count):
        self.folder, self.port, self.count = Path(spec["folder"]), port, count
        self.open, self.refused, self.cut = 0, 0, 0
        self.pause = 0.0, count / 600  # some three hundred knock in a second

    async def run(self):
        ways = [self._silent, self._head, self._stranger, self._body]
        tasks = [asyncio.create_task(self._dawdle(k, ways[k % len(ways)])) for k in range(self.count)]
        while True:
            await asyncio.sleep(0.1)
            new = self.folder / "siege.new"
            told = {
                "open": self.open,
                "refused": self.refused,
                "cut": self.cut,
                "alive": sum(not t.done() for t in tasks),
            }
            new.write_text(json.dumps(told))
            new.replace(self.folder / "siege")

    async def _dawdle(self, k, way):
        while True:
            await asyncio.sleep(random.uniform(*self.pause))
            try:
                reader, writer = await opened(self.port, k)
            except OSError:
                continue
            self.open += 1
            began = time.monotonic()
            trickle = asyncio.create_task(way(writer, k))
            with suppress(OSError):
                await reader.read()
            trickle.cancel()
            writer.close()
            self.open -= 1
            early = time.monotonic() - began < 0.2
            self.refused, self.cut = self.refused + early, self.cut + (not early)

    async def _silent(self, writer, k):
        """Says nothing."""

    async def _head(self, writer, k):
        """Never comes to the end of its head."""
        writer.write(b"GET /v1/time HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        await self._trickle(writer)

    async def _stranger(self, writer, k):
        """Signs by a key that nobody knows, as whoever enrols, and sends its body byte by byte."""
        await self._announced(writer, Someone(f"stranger-{k}"), "/v1/enrol")

    async def _body(self, writer, k):
        """Is enrolled, and does the same."""
        await self._announced(writer, device(k), "/v1/check-in")

    async def _announced(self, writer, who, path):
        writer.write(written("POST", path, head(who, "POST", path, bytes(60_000))))
        await self._trickle(writer)

    async def _trickle(self, writer):
        while True:
            writer.write(b"x")
            await asyncio.sleep(1.0)


def siege(spec, port, count):
    """A process that lays a siege."""
    begun(spec["folder"], "siege.out")
    all_descriptors()
    with asyncio.Runner(loop_factory=NEW_LOOP) as runner:
        runner.run(Siege(spec, port, count).run())
