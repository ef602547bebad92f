"""A coordinator on a real socket and participants in threads, for tests of the whole network in one process."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

import tacit
from tacit.aggregation.secure.identity import Authority
from tacit.network.consent.policy import Policy
from tacit.network.coordinator import Coordinator
from tacit.network.http.server import Server
from tacit.network.identity.invitation import Invitation, hash_of, new_token
from tacit.network.participant import Participant
from tacit.plan import Given, settled
from tacit.population.schema import Schema
from tacit.scenarios.scenario import scenario

WIDTH, CLASSES = 6, 3


def model(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Linear(WIDTH, 5), torch.nn.ReLU(), torch.nn.Linear(5, CLASSES))


def task(seed=0):
    return tacit.Task(model(seed), torch.nn.functional.cross_entropy)


def data(k, count=None):
    """Examples of client k: a few dozen, of another mean for each."""
    draw = np.random.default_rng(100 + k)
    count = count or 20 + 7 * k
    y = draw.integers(0, CLASSES, count)
    x = draw.normal(size=(count, WIDTH)) + 0.3 * y[:, None] + 0.1 * k
    return x.astype(np.float32), y.astype(np.int64)


def names(count):
    return [f"client-{k:02d}" for k in range(count)]


def schema():
    x, y = data(0)
    return Schema.of(x, y, outputs=[f"class {k}" for k in range(CLASSES)])


def plan(participants=5, rounds=2, **sections):
    given = {
        "version": 1,
        "scenario": "own",
        "rounds": rounds,
        "seed": 3,
        "algorithm": {"name": "FedAvg"},
        "solver": {"name": "SGD", "lr": 0.1, "batch_size": 8, "epochs": 1},
        "selection": {"name": "Everyone"},
        "aggregation": {"name": "SecureSum", "minimum": participants, "most_examples": 64},
        "network": {"participants": participants, "answer": 20.0, "patience": 30.0, "absence": 20.0},
    }
    for name, section in sections.items():
        given[name] = {**given.get(name, {}), **section} if isinstance(section, dict) else section
    return settled([Given(given)], scenario)


def simulated(made, count=None, task_of=task, **changes):
    """The same plan in simulation."""
    from tacit.cli.execution import federated
    from tacit.population.population import Population

    class Prepared:
        pass

    prepared = Prepared()
    count = count or made.network.fields["participants"]
    prepared.task, prepared.population = (
        task_of(),
        Population.from_arrays({n: data(k) for k, n in enumerate(names(count))}),
    )
    prepared.population.synthetic = True
    return federated(made, prepared).run(made.rounds, progress=False)


class Hosted:
    """A coordinator that is served."""

    def __init__(self, made, folder, authority=None, port=0, tls=None, task_of=task, schema_of=schema, **more):
        self.plan, self.folder, self._tls = made, Path(folder), tls
        self.authority = authority or Authority(os.urandom)
        self._make = lambda: Coordinator(
            made, schema_of(), self.folder, self.authority, task=task_of(), loopback=tls is None, **more
        )
        self._port, self._ready, self.error = port, threading.Event(), None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            self.coordinator = self._make()
            self._server = Server(self.coordinator, port=self._port, tls=self._tls, spool=self.folder / "spool")
            await self._server.start()
            self.coordinator.open()
            self.url = self._server.url
        except BaseException as error:
            self.error = error
            self._ready.set()
            raise
        self._ready.set()
        await self._stop.wait()
        await self._server.stop(1.0)
        await asyncio.to_thread(self.coordinator.close)

    def start(self):
        self._thread.start()
        self._ready.wait(30)
        if self.error is not None:
            raise self.error
        return self

    def stop(self):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    def invitation(self):
        token = new_token()
        digest = bytes.fromhex(hash_of(token))
        self.coordinator.journal.add_token(digest, expires_ms=2**53, note="test")
        return Invitation(self.url, token, self.authority.key).text

    def wait(self, seconds=60, watched=()):
        """The run, once it has ended; at once an error of one of the participants that are watched."""
        until = time.monotonic() + seconds
        while not self.coordinator.over.wait(0.05):
            for guest in watched:
                if guest.error is not None:
                    raise guest.error
            assert time.monotonic() < until, self.coordinator.status()
        return self.coordinator.result


@contextmanager
def hosted(made, folder, **more):
    host = Hosted(made, folder, **more).start()
    try:
        yield host
    finally:
        host.stop()


POLICY = Policy(approval="policy", without="admit", insecure_loopback=True, minimum=3, mixed_models=True)


class Guest(threading.Thread):
    """A participant in a thread."""

    def __init__(self, host, name, own, folder, policy=POLICY, invitation=None, task_of=task, **more):
        super().__init__(daemon=True, name=name)
        self.participant = Participant(
            invitation or host.invitation(), own, name=name, folder=folder, task=task_of(), policy=policy, **more
        )
        self.ended = self.error = None

    def run(self):
        try:
            self.ended = self.participant.run()
        except BaseException as error:
            self.error = error


def guests(host, count, folder, **more):
    """All made before the first starts: making a model draws from torch's one generator."""
    made = [Guest(host, n, data(k), Path(folder) / n, **more) for k, n in enumerate(names(count))]
    for guest in made:
        guest.start()
    return made
