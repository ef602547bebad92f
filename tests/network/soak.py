"""A long run on a bad day: 20 participants in four processes, with kills, restarts and cut connections all the way.

The first process of participants is never killed, so that its memory can be watched; the last is behind a proxy that
resets its connections. A client's report adds one to its own parameter and to no other (see
`benchmarks.network_ground`), so that the model tells who was counted, and how often.
"""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from safetensors.numpy import load_file
from scipy import stats

from benchmarks.network_ground import names
from benchmarks.network_host import Job
from benchmarks.network_processes import Host, Silos, certificates
from tacit.network.consent.log import Log
from tacit.network.identity.invitation import Invitation
from tacit.network.journal import Journal, State
from tacit.network.office import Kind
from tacit.record import checkpoint as checkpoints
from tacit.record.run import Run
from tests.faults.network.proxy import Proxy

CLOSE = 1e-3
BLOCKS = 12
"""Of samples, of whose means the slope of memory is told: samples beside each other are alike."""


@dataclass
class Soak:
    """One such run.

    Attributes:
        folder: for everything.
        rounds: how many.
        participants: how many, in `groups` processes.
        every: seconds between two faults, on average.
        deaths: rounds, about, after which the coordinator is killed.
        seed: of the faults.
        faults: what was done, by its name.
        memory: of "coordinator" and "participants": (rounds done, MB) since their last start, now and then.
    """

    folder: Path
    rounds: int
    participants: int = 20
    groups: int = 4
    every: float = 8.0
    deaths: tuple[int, ...] = (100, 250, 400)
    seed: int = 0
    faults: Counter = field(default_factory=Counter)
    memory: dict = field(default_factory=lambda: {"coordinator": [], "participants": []})

    def run(self, limit):
        """Carries the run out, for `limit` seconds at most; whether it came to its end."""
        draw = random.Random(self.seed)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._certificates, self._port = certificates(self.folder / "certs"), 0
        self._host = self._started()
        self._port = urlsplit(self._host.url).port
        proxy = Proxy(0, self._port)
        try:
            self._groups = self._joined(proxy)
            self._go_on(draw, proxy, time.monotonic() + limit)
            return self._host.ended() is not None
        finally:
            for process in [*getattr(self, "_groups", []), self._host]:
                process.close(5.0)
            proxy.close()

    def _started(self):
        sections = {"network": {"answer": 6.0, "patience": 12.0, "absence": 6.0, "attempts": 1000}}
        job = Job(
            str(self.folder / "run"), self.participants, self.rounds, max(3, self.participants // 3),
            self.participants, sections, self._certificates, self._port,
        )  # fmt: skip
        return Host(job)

    def _joined(self, proxy):
        self._texts = texts = self._host.invitations(self.participants)
        behind = proxy._server.sockets[0].getsockname()[1]
        groups = [list(range(k, self.participants, self.groups)) for k in range(self.groups)]
        for k in groups[-1]:
            given = Invitation.read(texts[k])
            texts[k] = Invitation(f"https://127.0.0.1:{behind}", given.token, given.authority, given.ca).text
        self._members = groups
        return [self._group(g) for g in range(self.groups)]

    def _group(self, g):
        everybody = names(self.participants)
        who = [(everybody[k], k, self._texts[k]) for k in self._members[g]]
        return Silos(self.folder / "silos", who, self.participants, self.folder / f"group-{g}.log")

    @property
    def done(self):
        """How many rounds are in the newest checkpoint."""
        kept = checkpoints.found(self.folder / "run" / "checkpoints")
        return int(kept[-1].name.removeprefix(checkpoints.PREFIX)) if kept else 0

    def _go_on(self, draw, proxy, until):
        """Does harm until the rounds are done."""
        next_fault, deaths = time.monotonic() + self.every, list(self.deaths)
        while self._host.alive and (done := self.done) < self.rounds:
            assert time.monotonic() < until, f"{done} of {self.rounds} rounds were done"
            time.sleep(0.5)
            self._sample(done)
            if deaths and done >= deaths[0]:
                deaths.pop(0)
                self._kill_coordinator()
            if time.monotonic() >= next_fault and 0 < done < self.rounds - 2:
                next_fault = time.monotonic() + draw.expovariate(1 / self.every)
                self._harm(draw, proxy)

    def _sample(self, done):
        for name, process in (("coordinator", self._host), ("participants", self._groups[0])):
            with suppress(ProcessLookupError, FileNotFoundError):  # it has just ended: the rounds are done
                self.memory[name].append((done, process.memory()))

    def _kill_coordinator(self):
        self.faults["coordinator killed"] += 1
        self._host.kill()
        self._host = self._started()
        self.memory["coordinator"].clear()

    def _harm(self, draw, proxy):
        if draw.random() < 0.5:
            self.faults["connections cut"] += 1
            proxy.reset()
            return
        g = draw.randrange(1, self.groups)
        self.faults["participants killed"] += len(self._members[g])
        self._groups[g].kill()
        self._groups[g] = self._group(g)

    def check(self):
        """Holds the model, the journal and the participants' own logs against each other; what is to be told."""
        run = Run.load(self.folder / "run")
        assert len(run.rows) == self.rounds
        for row in run.rows:  # once each, and nobody twice: the step has this length and no other
            expected = 1 / np.sqrt(row["clients"])
            assert abs(row["update_norm"] - expected) < CLOSE, row
        counted = self._counted()
        total = np.zeros(self.participants)
        for who in counted.values():
            total[sorted(who)] += 1 / len(who)
        model = load_file(self.folder / "run" / "model.safetensors")["weight"]
        assert np.abs(model - total).max() < CLOSE * np.sqrt(self.rounds), (model, total)
        self._told(counted)
        return {
            "rounds": self.rounds,
            "participants": self.participants,
            "counted": sum(len(who) for who in counted.values()),
            "attempts": self._attempts,
            "faults": dict(self.faults),
            "memory": {name: slope(found) for name, found in self.memory.items() if len(found) >= 4 * BLOCKS},
        }

    def _counted(self):
        """By round and attempt that was published: the places of those who were counted, as the journal has them."""
        place = {name: k for k, name in enumerate(names(self.participants))}
        found = {}
        with Journal.open(self.folder / "run" / "journal.sqlite", holder="check") as journal:
            attempts = journal.rounds()
            published = [one for one in attempts if one.state is State.PUBLISHED]
            assert [one.round for one in published] == list(range(self.rounds))
            for one in published:
                taken = {a.participant for a in journal.answers(one.round, one.attempt, Kind.MASK)}
                assert taken == set(one.survivors) == set(one.facts["counted"]), one
                found[one.round, one.attempt] = {place[name] for name in taken}
        self._attempts = len(attempts)
        return found

    def _told(self, counted):
        """What each was told of its rounds: once each, and true."""
        for k, name in enumerate(names(self.participants)):
            log = Log(self.folder / "silos" / name / "log.jsonl").entries()
            told = [one.facts for one in log if one.event == "counted"]
            for one in told:
                if one["counted"]:
                    assert k in counted[one["round"], one["attempt"]], (name, one)


def slope(samples):
    """MB a thousand rounds: the slope over block means of the second half of the samples, with a 95 % interval."""
    late = np.array(samples[len(samples) // 3 :])
    blocks = np.array([part.mean(axis=0) for part in np.array_split(late, BLOCKS)])
    fit = stats.linregress(blocks[:, 0], blocks[:, 1])
    half = stats.t.ppf(0.975, BLOCKS - 2) * fit.stderr
    per = 1000.0
    return {
        "slope": per * fit.slope, "low": per * (fit.slope - half), "high": per * (fit.slope + half),
        "from": float(late[0, 0]), "to": float(late[-1, 0]), "first": float(blocks[0, 1]), "last": float(blocks[-1, 1]),
    }  # fmt: skip
