"""Many participants in one process, for the benchmark of the network: idle ones, and ones that upload at once.

Requests, signatures, sessions and masks are those of real participants, through the same `Link`; what is left out is
what each does on a machine of its own: folders, logs, ledgers and training. All hide the same report. What is timed,
the uploads of these, goes over plain blocking connections, so that as little as may be of the processor is theirs.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import resource
import secrets
import ssl
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks import network_ground
from tacit.aggregation.secure.client import Client
from tacit.aggregation.secure.identity import Certificate, Identity
from tacit.network.consent.approvals import statement
from tacit.network.consent.policy import Policy
from tacit.network.http.gate import VERSIONS
from tacit.network.http.link import Link, enrol
from tacit.network.http.signing import signed
from tacit.network.identity.invitation import Invitation
from tacit.network.identity.tls import client_context
from tacit.network.office import Assignment, CheckIn, Kind, Refused, Reply
from tacit.network.terms import Terms
from tacit.network.training import Standing, Training, digest_of

AT_ONCE = 32
"""Participants that enrol at the same time."""


@dataclass
class Meeting:
    """Where the participants of a round wait until all have hidden their reports, so that they upload together."""

    count: int
    ready: int = 0
    go: asyncio.Event = field(default_factory=asyncio.Event)
    times: list[tuple[float, float]] = field(default_factory=list)
    cpu: float = 0.0

    def figures(self) -> dict[str, Any]:
        """How long it took from the first byte to the last receipt, each upload by itself, and this process' part."""
        seconds = max(end for _, end in self.times) - min(begin for begin, _ in self.times)
        each = sorted(end - begin for begin, end in self.times)
        return {"uploads": len(each), "seconds": seconds, "each": each, "cpu": _cpu() - self.cpu}


class Load:
    """The participants of one process.

    Args:
        job: what it was told.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.job, self.size = job, int(job["size"])
        self.texts = [Invitation.read(text) for text in job["invitations"]]
        self.context: ssl.SSLContext | None = None
        if self.texts[0].url.startswith("https:"):
            self.context = client_context(self.texts[0].ca)
        self.policy = Policy(approval="policy", insecure_loopback=True, minimum=3)
        self.terms: Terms | None = None
        self.training: Training | None = None
        self.report: Any = None
        self.meetings: dict[int, Meeting] = {}
        self.online = 0
        self.senders = ThreadPoolExecutor(int(job["at_once"]))
        self.local, self.turn = threading.local(), threading.Lock()
        self.links: list[Link] = []

    async def run(self) -> None:
        """Enrols everybody, and lets them check in until the run is over or the input ends."""
        self._ends = asyncio.Event()
        gate = asyncio.Semaphore(AT_ONCE)
        people = await asyncio.gather(*(self._enrolled(k, gate) for k in range(len(self.texts))))
        tasks = [asyncio.create_task(self._attend(one, k, gate)) for k, one in enumerate(people)]
        everybody = asyncio.gather(*tasks)
        telling = asyncio.create_task(self._tell(len(tasks)))
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._ends.set)
        ending = asyncio.create_task(self._ends.wait())
        await asyncio.wait([everybody, ending], return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        telling.cancel()
        try:
            if everybody.done():
                everybody.result()
        finally:
            everybody.cancel()
            await asyncio.gather(everybody, return_exceptions=True)
            await asyncio.gather(*(link.close() for link in self.links))

    async def _tell(self, count: int) -> None:
        """Says when all are there."""
        while self.online < count:
            await asyncio.sleep(0.1)
        _say(online=self.online)

    async def _enrolled(self, k: int, gate: asyncio.Semaphore) -> Identity:
        async with gate:
            invitation, name = self.texts[k], network_ground.names(k + 1)[-1]
            key = Ed25519PrivateKey.generate()
            how = {"url": invitation.url, "context": self.context, "insecure": self.context is None}
            found = await enrol(name, key, invitation.token, **how)
            public = key.public_key().public_bytes_raw()
            return Identity(name, public, Certificate(found.authority, found.certificate), key)

    async def _attend(self, who: Identity, k: int, gate: asyncio.Semaphore) -> None:
        """Checks in again and again, and answers what is asked."""
        link = Link(who, url=self.texts[k].url, context=self.context, insecure=self.context is None)
        self.links.append(link)
        process, client, known = secrets.token_hex(16), [None], set[str]()
        said = CheckIn(process)
        async with gate:
            reply = await link.check_in(said)
            await self._agree(link, reply)
        assert self.terms is not None
        hash = self.terms.hash
        approval = who.sign(statement(who.name, hash))
        self.online += 1
        while True:
            reply = await link.check_in(CheckIn(process, hash, approval, "bench", "none", 20.0, tuple(known)))
            if reply.state in ("finished", "failed"):
                return
            if reply.wait and not reply.assignments:
                await asyncio.sleep(reply.wait)
            known = {one.id for one in reply.assignments}
            for one in reply.assignments:
                try:
                    await self._answer(link, who, one, client)
                except Refused as refused:
                    _say(refused=str(refused))
                known = set()

    async def _agree(self, link: Link, reply: Reply) -> None:
        if self.terms is None:
            assert reply.terms is not None
            self.terms = Terms.decode(await link.blob(reply.terms))

    async def _answer(self, link: Link, who: Identity, one: Assignment, client: list[Any]) -> None:
        if one.kind is Kind.TRAIN:
            down = await link.blob(one.blobs["down"])
            client[0] = await asyncio.to_thread(self._session, who, one, down)
            await link.answer(one.id, client[0].advertise())
        elif one.kind is Kind.SHARE:
            roster = await link.blob(one.blobs["roster"])
            await link.answer(one.id, await asyncio.to_thread(client[0].share, roster))
        elif one.kind is Kind.MASK:
            body = await asyncio.to_thread(client[0].mask, one.payload, self.report.numpy())
            await self._upload(who, one, body)
        elif one.kind is Kind.CONFIRM:
            await link.answer(one.id, client[0].confirm(one.payload))
        else:
            await link.answer(one.id, await asyncio.to_thread(client[0].unmask, one.payload))

    async def _upload(self, who: Identity, one: Assignment, body: bytes) -> None:
        """Sends the hidden report when everybody has one."""
        meeting = self.meetings.setdefault(one.round, Meeting(len(self.texts)))
        digest = hashlib.sha256(body).digest()
        meeting.ready += 1
        if meeting.ready == meeting.count:
            _say(uploading=one.round, size=len(body))
            await asyncio.sleep(0.5)  # whoever measures looks at the coordinator
            meeting.cpu = _cpu()
            meeting.go.set()
        await meeting.go.wait()
        loop = asyncio.get_running_loop()
        meeting.times.append(await loop.run_in_executor(self.senders, self._send, who, one.id, body, digest))
        if len(meeting.times) == meeting.count:
            _say(uploaded=one.round, **meeting.figures())

    def _send(self, who: Identity, id: str, body: bytes, digest: bytes) -> tuple[float, float]:
        """Sends an answer and waits for its receipt: when it began, and when it ended."""
        begin, path = time.perf_counter(), f"/v1/answers/{id}"
        kept: http.client.HTTPConnection | None = getattr(self.local, "connection", None)
        if kept is None:
            url = urlsplit(self.texts[0].url)
            host, port = str(url.hostname), int(url.port or 0)
            if self.context is None:
                kept = http.client.HTTPConnection(host, port)
            else:
                kept = http.client.HTTPSConnection(host, port, context=self.context)
            self.local.connection = kept
        now, nonce = round(1000 * time.time()), secrets.token_bytes(16)
        told = signed(who, version=VERSIONS[0], method="PUT", target=path, digest=digest, time=now, nonce=nonce)
        kept.request("PUT", path, body, told)
        reply = kept.getresponse()
        said = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{reply.status}: {said!r}")
        return begin, time.perf_counter()

    def _session(self, who: Identity, one: Assignment, down: bytes) -> Client:
        """A client of a new session; the report is trained once for everybody."""
        assert self.terms is not None
        with self.turn:
            securing = self._trained(one, down).securing
        assert securing is not None
        config = securing.config(one.round, one.attempt)
        policy = self.policy.for_sums(bytes.fromhex(self.terms.authority))
        return Client(config, who.name, digest_of(down), policy, who, layout=securing.layout)

    def _trained(self, one: Assignment, down: bytes) -> Training:
        """The one training, done when it is first asked for."""
        if self.training is None:
            assert self.terms is not None
            data = network_ground.data(0, self.size)
            place = Standing(network_ground.names(1)[0], 0, len(self.texts))
            self.training = Training(self.terms, place, data, network_ground.task(self.size))
            self.training.train(down, one.round)
            self.report = self.training.report(one.round, one.attempt)
        return self.training


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _say(**told: Any) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Does the job in the first line of the input."""
    import uvloop

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    job = json.loads(sys.stdin.readline())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Load(job).run())


if __name__ == "__main__":
    main()
