"""A run between processes, each of which can be killed, stopped and started anew; and what it left on disk."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import socket
import time
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tacit.network.identity.authority import new_authority
from tacit.network.identity.certs import make_certificates
from tacit.network.identity.enrolment import KEY, Enrolment
from tacit.network.identity.invitation import hash_of, new_token
from tacit.network.identity.key import new_key
from tacit.network.journal import Journal
from tacit.record.run import Run
from tests.faults.network import actors
from tests.faults.network.proxy import Proxy
from tests.network import house

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(
    [
        "torch",
        "tacit",
        "tacit.network.serving",
        "tacit.network.coordinator",
        "tacit.network.participant",
        "tacit.learning.fused.engine",
        "dp_accounting.pld.privacy_loss_distribution",
        "dp_accounting.rdp",
    ]
)
SECURE = {"name": "SecureSum", "most_examples": 64}
NETWORK = {"answer": 10.0, "patience": 20.0, "absence": 10.0}
LONG = 60.0
"""Seconds for which anything is waited for: never reached where all is well."""


def free_port():
    """A port below those from which connections leave: a client that looks for nobody must not find itself."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def until(condition, what, seconds=LONG):
    """Waits for a condition."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:g} seconds for: {what() if callable(what) else what}")
        time.sleep(0.02)
    return found


class Actor:
    """A process."""

    def __init__(self, target, *args, **options):
        self._how = target, args, options
        self.process = None

    def start(self, **options):
        target, args, before = self._how
        self.process = FORK.Process(target=target, args=args, kwargs=before | options, daemon=True)
        self.process.start()
        return self

    @property
    def alive(self):
        return self.process is not None and self.process.is_alive()

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        """kill -9; a process that has ended is left alone."""
        if self.alive:
            self.process.kill()
            self.process.join()

    def pause(self):
        """Stops it, and returns when every thread of it has stopped: none is inside of a call of the system."""
        self.signal(signal.SIGSTOP)
        until(lambda: self._states() <= {"T", "t"}, "a process to stop")

    def _states(self):
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/stat")
        return {stat.read_text().rpartition(") ")[2][0] for stat in threads}

    def go_on(self):
        self.signal(signal.SIGCONT)

    def ended(self, seconds=LONG):
        """Its exit code."""
        self.process.join(seconds)
        assert not self.process.is_alive(), "a process did not end"
        return self.process.exitcode


class Scene:
    """A coordinator and participants that are enrolled with it.

    Args:
        folder: of everything.
        clients, rounds: how many.
        vectors: the report of a client moves its own coordinate of the model by one; see `checker`.
        journal: its address; a file when None.
        secure: whether sums are.
        proxied: participants reach the coordinator through a proxy, `proxy`.
        apart: places of those who do, where not all do.
        policy: of participants, beside what is usual in tests.
        at: the address at which the coordinator listens, with TLS, where that is not loopback.
        sections: of the plan.
    """

    def __init__(
        self,
        folder,
        clients=4,
        rounds=2,
        *,
        vectors=False,
        journal=None,
        secure=True,
        proxied=False,
        apart=None,
        policy=None,
        at=None,
        **sections,
    ):
        self.folder, self.names = Path(folder), house.names(clients)
        given = {"network": NETWORK | sections.pop("network", {})}
        given["aggregation"] = SECURE | {"minimum": clients} | sections.pop("aggregation", {}) if secure else "none"
        if vectors:
            given["algorithm"] = {"name": "FedAvg", "weights": "uniform"}
        self.spec = {
            "folder": str(self.folder),
            "names": self.names,
            "clients": clients,
            "rounds": rounds,
            "sections": given | sections,
            "vectors": vectors,
            "journal": journal,
            "secure": secure,
            "policy": policy or {},
            "at": at,
        }
        self.port = free_port()
        self.proxy = Proxy(free_port(), self.port) if proxied else None
        self._apart = range(clients) if apart is None else apart
        self.made = None if at is None else make_certificates(self.folder / "certs", [at])
        self.actors = []
        self.run = self.folder / "run"
        self._enrol()
        self.coordinator = self._actor(actors.coordinate, self.spec, self.port)
        self.parties = [self._actor(actors.join, self.spec, k) for k in range(clients)]

    def _actor(self, *how):
        self.actors.append(Actor(*how))
        return self.actors[-1]

    def _enrol(self):
        self.run.mkdir(parents=True)
        authority = new_authority(self.folder / "authority.pem")
        with self.journal() as journal:
            for name in self.names:
                place = self.folder / "parties" / name
                place.mkdir(parents=True, mode=0o700)
                digest = bytes.fromhex(hash_of(new_token()))
                journal.add_token(digest, expires_ms=2**53)
                key = new_key(place / KEY).public_key().public_bytes_raw()
                journal.enrol(digest, name, key).result()
                certificate = authority.certify(name, key)
                ca = None if self.made is None else der(self.made.ca)
                Enrolment(name, self.url(name), authority.key, certificate.signature, ca).write(place)

    def url(self, name):
        """Where a participant looks for the coordinator."""
        if self.spec["at"]:
            return f"https://{self.spec['at']}:{self.port}"
        through = self.proxy is not None and self.names.index(name) in self._apart
        return f"http://127.0.0.1:{self.proxy.port if through else self.port}"

    def journal(self):
        """The journal, while no coordinator holds it."""
        return Journal.open(self.spec["journal"] or self.run / "journal.sqlite", holder="a test")

    def crowd(self, ks=None, seconds=0.0):
        """All participants, or some, as threads of one process, whose training takes so many seconds."""
        ks = list(range(len(self.names)) if ks is None else ks)
        return self._actor(actors.crowd, self.spec, ks, seconds).start()

    def herd(self, count, times):
        """So many participants that all ask what to do, at once, so many times."""
        return self._actor(actors.herd, self.spec, self.url(self.names[0]), count, times).start()

    def log(self, k):
        """What a participant has written into its log."""
        place = self.folder / "parties" / self.names[k] / "log.jsonl"
        return place.read_text() if place.exists() else ""

    def up(self, **options):
        """Starts the coordinator, and waits until it listens."""
        self.started(**options)
        return self

    def started(self, **options):
        """Starts the coordinator; whether it listens, or has ended instead."""
        told = self.folder / "up"
        told.unlink(missing_ok=True)
        self.coordinator.start(**options)
        until(lambda: told.exists() or not self.coordinator.alive, self.said)
        return told.exists()

    def move(self):
        """The next coordinator is another process beside the present one, at another port."""
        self.port = free_port()
        self.coordinator = self._actor(actors.coordinate, self.spec, self.port)
        if self.proxy is not None:
            self.proxy.to = self.port

    def said(self):
        """What the processes wrote, for whoever looks for what went wrong."""
        return "\n".join(f"== {p.name}\n{p.read_text()[-3000:]}" for p in sorted(self.folder.glob("*.out")))

    def finished(self, seconds=LONG):
        """The run, when its coordinator has ended by itself."""
        code = self.coordinator.ended(seconds)
        assert code == 0, f"the coordinator ended with {code}\n{self.said()}"
        return Run.load(self.run)

    def ended(self, k):
        """How the run ended for a participant."""
        place = self.folder / f"{self.names[k]}.ended"
        return place.read_text() if place.exists() else ""

    def simulated(self):
        """The same plan in simulation."""
        return house.simulated(actors.made(self.spec))

    def close(self):
        for actor in self.actors:
            actor.kill()
        if self.proxy is not None:
            self.proxy.close()


def der(place):
    """The certificate in a file."""
    return x509.load_pem_x509_certificate(place.read_bytes()).public_bytes(Encoding.DER)


@contextmanager
def scene(folder, *args, **options):
    """A scene of which no process outlives the test."""
    found = Scene(folder, *args, **options)
    try:
        yield found
    finally:
        found.close()
