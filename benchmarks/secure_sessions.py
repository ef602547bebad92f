"""Sessions of secure aggregation with a clock on every client and the server, and the bare loop to hold them against.

A session here is `tacit.aggregation.secure.rehearsal`: the real machines and the real bytes, without a network.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tacit.aggregation.secure.client import Step
from tacit.aggregation.secure.config import Config, Policy
from tacit.aggregation.secure.prg import BLOCK, KEY
from tacit.aggregation.secure.rehearsal import Rehearsal, identities

MODEL = bytes(32)
UPLOADING = ("advertise", "share", "mask")
"""What a client does until its vector has left."""


class Timed:
    """Somebody in a session, with the seconds that each of its methods took.

    Attributes:
        cpu, seconds: by method, of the processor and by the clock.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.cpu: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*arguments: Any) -> Any:
            wall, used = perf_counter(), process_time()
            try:
                return found(*arguments)
            finally:
                self.cpu[name] += process_time() - used
                self.seconds[name] += perf_counter() - wall

        return call


class Session(Rehearsal):
    """A session with a clock on everybody."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.server: Any = Timed(self.server)
        self.clients: Any = {name: Timed(client) for name, client in self.clients.items()}

    def client_cpu(self, steps: Sequence[str] = (*UPLOADING, "confirm", "unmask")) -> list[float]:
        """Processor seconds of each client that uploaded, in these steps."""
        return [sum(c.cpu[step] for step in steps) for c in self.clients.values() if c.cpu["mask"]]


class Bare:
    """Masks in the simplest loop that does them: `update_into` and `np.add` over the whole length, and nothing else.

    Args:
        length: words of 32 bits.
    """

    def __init__(self, length: int) -> None:
        self._zeros, self._target = bytes(4 * length), np.ones(length, "<u4")
        self._mask = np.ones(4 * length + BLOCK - 1, np.uint8)
        self._words = self._mask[: 4 * length].view("<u4")

    def run(self, masks: int) -> None:
        """Expands and adds so many."""
        keys = os.urandom(KEY * masks)
        for at in range(0, len(keys), KEY):
            cipher = Cipher(algorithms.AES(keys[at : at + KEY]), modes.CTR(bytes(BLOCK)))
            cipher.encryptor().update_into(self._zeros, self._mask)
            np.add(self._target, self._words, out=self._target)

    def cpu(self, masks: int) -> float:
        """Processor seconds of it."""
        used = process_time()
        self.run(masks)
        return process_time() - used


def config(clients: int, length: int, signed: bool = False, **more: Any) -> Config:
    """The settings of a session, with half the clients as its minimum."""
    minimum = max(5, clients // 2)
    return Config(bytes(16), 0, length, 32, minimum, bytes(32), signed=signed, **more)


def session(config: Config, clients: int, lost: int = 0, workers: int | None = None) -> Session:
    """A session among so many clients. The last `lost` of them share their secrets and upload nothing."""
    names = [f"{i:010d}" for i in range(clients)]
    authority, known = identities(names) if config.signed else (b"", {})
    policy = Policy(
        minimum=config.minimum,
        corrupt=config.corrupt,
        authorities=(authority,) if authority else (),
        insecure_unsigned=not config.signed,
    )
    gone = dict.fromkeys(names[clients - lost :], Step.MASK)
    return Session(config, names, MODEL, gone, known, policy, workers=workers)


def vector(name: str, length: int) -> np.ndarray[Any, Any]:
    """What a client sends: whole numbers that differ between clients and places."""
    return np.arange(length, dtype=np.int64) % 1000 - int(name)


def whole(held: Session) -> None:
    """All of a session, held against the plain sum.

    Raises:
        RuntimeError: the sum is not that of the vectors.
    """
    length = held.config.length
    for name in held.begin():
        held.upload(name, vector(name, length))
    require_sum(held.finish(), [held.server.members.names[i] for i in held.server.survivors])


def require_sum(found: np.ndarray[Any, Any], names: Sequence[str]) -> None:
    """The sum is that of the vectors of these clients.

    Raises:
        RuntimeError: it is not.
    """
    places = np.arange(len(found), dtype=np.int64) % 1000
    if not np.array_equal(found, places * len(names) - sum(map(int, names))):
        raise RuntimeError("the session's sum is not that of its vectors: its times mean nothing")


def client_turns(clients: int, length: int, signed: bool, turns: int) -> dict[str, Any]:
    """Clients of one session, in turns with the bare loop for as many masks as one has.

    Returns:
        `client`, `bare` and `slices` (the masks alone, as tacit adds them): processor seconds by turn; `bytes_up` of a
        client; `neighbours`.
    """
    held, bare = session(config(clients, length, signed), clients), Bare(length)
    masks = held.config.degree(clients).neighbours + 1
    cpu: list[float] = []
    for place, name in enumerate(held.begin()):
        if place < turns:
            cpu.append(bare.cpu(masks))
        held.upload(name, vector(name, length))
    require_sum(held.finish(), [held.server.members.names[i] for i in held.server.survivors])
    clients_cpu = held.client_cpu(UPLOADING)[:turns]
    return {
        "client": clients_cpu,
        "bare": cpu,
        "bytes_up": sum(held.up.values()) / clients,
        "neighbours": masks - 1,
        "steps": {
            step: median(c.cpu[step] for c in held.clients.values()) for step in (*UPLOADING, "confirm", "unmask")
        },
    }


def roster_turns(clients: int, length: int, turns: int, **more: Any) -> list[float]:
    """Processor seconds of clients that advertise and share in a large session with identities."""
    held = session(config(clients, length, signed=True, **more), clients)
    for name, client in held.clients.items():
        held.server.take_advertise(name, client.advertise())
    roster = held.server.close_advertise()
    some = list(held.clients.values())[:turns]
    for client in some:
        client.share(roster)
    return [client.cpu["advertise"] + client.cpu["share"] for client in some]


def round_turn(clients: int, length: int, signed: bool) -> dict[str, float]:
    """A whole round in one process: seconds of everything between the first message and the sum."""
    held = session(config(clients, length, signed), clients)
    wall, used = perf_counter(), process_time()
    whole(held)
    return {"seconds": perf_counter() - wall, "cpu": process_time() - used}
