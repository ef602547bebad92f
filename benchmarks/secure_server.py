"""A server of secure aggregation in a process of its own, fed by a thousand clients, and what its last step costs.

The clients are in this process and the server in another, so that its memory is its own. It is at the last step once;
every turn measures that step in a fork of it, in turns with the bare loop.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from types import SimpleNamespace
from typing import Any

from benchmarks.secure_sessions import UPLOADING, Bare, Session, config, require_sum, session, vector
from tacit.aggregation.secure.config import Config
from tacit.aggregation.secure.server import Server

EVERY = 20
"""Before one of so many uploads the bare loop has its turn."""


class Remote:
    """The server as the clients' side sees it: every method is a question to its process.

    Args:
        config: of the session.
        turns: of the last step.

    Attributes:
        turns: what they took, once the session is over.
        memory: bytes that the server's process held at most, beyond those at its start.
    """

    def __init__(self, config: Config, turns: int) -> None:
        with Listener(family="AF_UNIX") as listener:
            command = [sys.executable, "-m", "benchmarks.secure_server", str(listener.address)]
            self._process = subprocess.Popen(command)
            self._connection = listener.accept()
        self._connection.send(config)
        self._count, self.turns, self.memory = turns, list[dict[str, Any]](), 0
        self.cpu: dict[str, float] = {}

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self._ask(name, *arguments)

    @property
    def members(self) -> Any:
        """Those of the session, with their names only."""
        return SimpleNamespace(names=self._ask("names"))

    @property
    def survivors(self) -> Any:
        """See `Server.survivors`."""
        return self._ask("survivors")

    def close(self) -> Any:
        """Measures the last step, and does it."""
        self.turns = self._ask("measured", self._count)
        found = self._ask("close")
        self.memory, self.cpu = self._ask("memory"), self._ask("cpu")
        return found

    def end(self) -> None:
        """Ends its process."""
        self._connection.send(None)
        self._process.wait()

    def _ask(self, name: str, *arguments: Any) -> Any:
        self._connection.send((name, *arguments))
        found = self._connection.recv()
        if isinstance(found, Exception):
            raise found
        return found


class _Served:
    """What the server's process answers beside the methods of the server."""

    def __init__(self, config: Config) -> None:
        self.server, self.start, self.spent = Server(config, workers=None), _held(), dict[str, float]()

    def answer(self, name: str, *arguments: Any) -> Any:
        own: dict[str, Callable[..., Any]] = {
            "names": lambda: self.server.members.names,
            "survivors": lambda: self.server.survivors,
            "memory": lambda: _held() - self.start,
            "cpu": lambda: self.spent,
            "measured": self._measured,
        }
        if name in own:
            return own[name](*arguments)
        used = process_time()
        found = getattr(self.server, name)(*arguments)
        self.spent[name] = self.spent.get(name, 0.0) + process_time() - used
        return found

    def _measured(self, turns: int) -> list[dict[str, Any]]:
        """In each turn the bare loop, the last step on one core and on two, and two bare loops at a time."""
        masks, cores = self._masks(), sorted(os.sched_getaffinity(0))

        def bare() -> Callable[[int], None]:
            return Bare(self.server.config.length).run

        def last() -> Callable[[], Any]:
            return self.server.close

        found = []
        for _ in range(turns):
            turn: dict[str, Any] = {"masks": masks, "bare": _forked([(bare, cores[:1], masks)])}
            turn["1"] = _forked([(last, cores[:1])])
            if len(cores) > 1:
                turn["2"] = _forked([(last, cores[:2])])
                turn["pair"] = _forked([(bare, cores[:1], masks), (bare, cores[1:2], masks)])
            found.append(turn)
        return found

    def _masks(self) -> int:
        """How many are to be removed."""
        inside, found = set(self.server.survivors), len(self.server.survivors)
        for lost in set(self.server.sharing) - inside:
            found += sum(j in inside for j in self.server.members.holders(lost))
        return found


def main() -> None:
    """The server's process: answers until there is nothing more to answer."""
    connection = Client(sys.argv[1])
    served = _Served(connection.recv())
    while (question := connection.recv()) is not None:
        try:
            connection.send(served.answer(*question))
        except Exception as error:
            connection.send(RuntimeError(f"{type(error).__name__}: {error}"))  # not all errors can be pickled


def _held() -> int:
    """Bytes that this process held at most; `getrusage` would count what its parent held."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def _forked(works: list[tuple[Any, ...]]) -> dict[str, float]:
    """Seconds of the longest of some works, each in a fork of this process.

    Args:
        works: for each, what makes it, the cores that it may use, and its arguments.
    """
    fork = multiprocessing.get_context("fork")
    started = []
    for work in works:
        ours, theirs = fork.Pipe()
        process = fork.Process(target=_work, args=(theirs, *work))
        process.start()
        started.append((process, ours))
    found: list[dict[str, float]] = [ours.recv() for _, ours in started]
    for process, _ in started:
        process.join()
    return {name: max(one[name] for one in found) for name in ("seconds", "cpu")}


def _work(connection: Connection, make: Callable[[], Callable[..., Any]], cores: list[int], *arguments: Any) -> None:
    os.sched_setaffinity(0, cores)
    call = make()
    wall, used = perf_counter(), process_time()
    call(*arguments)
    connection.send({"seconds": perf_counter() - wall, "cpu": process_time() - used})


def measured(clients: int, length: int, dropout: float, corrupt: float, turns: int) -> dict[str, Any]:
    """One session with `dropout` lost after sharing their secrets; every client real, every mask real.

    Returns:
        `turns`, `memory` (bytes) and `server_cpu` (seconds by method) of the server; `client` and `bare` (processor
        seconds) of some clients, in turns; `bytes_up` of a client; `neighbours` and `threshold`.
    """
    settings = config(clients, length, corrupt=corrupt, dropout=dropout)
    held = session(settings, clients, lost=int(clients * dropout))
    remote = held.server = Remote(settings, turns)
    gc.collect()
    gc.disable()  # a thousand clients in one process: none of them would have the others' objects to look through
    try:
        bare = _uploaded(held, length)
        require_sum(held.finish(), [remote.members.names[i] for i in remote.survivors])
    finally:
        gc.enable()
        remote.end()
    done = held.client_cpu(UPLOADING)
    return {
        "clients": clients,
        "neighbours": settings.degree(clients).neighbours,
        "threshold": settings.degree(clients).threshold,
        "turns": remote.turns,
        "memory": remote.memory,
        "server_cpu": remote.cpu,
        "client": done,
        "client_steps": {s: median(c.cpu[s] for c in held.clients.values() if c.cpu["mask"]) for s in UPLOADING},
        "bare": bare,
        "bytes_up": sum(held.up.values()) / clients,
    }


def _uploaded(held: Session, length: int) -> list[float]:
    """Lets all clients upload; before every `EVERY`-th the bare loop has its turn, whose seconds are returned."""
    bare, masks, found = Bare(length), held.config.degree(len(held.clients)).neighbours + 1, []
    for place, name in enumerate(held.begin()):
        if place % EVERY == 0:
            found.append(bare.cpu(masks))
        held.upload(name, vector(name, length))
    return found


if __name__ == "__main__":
    main()
