"""A whole session in one process: all clients and the server, and clients lost at chosen steps.

Simulation, tests and benchmarks run the protocol here, byte for byte as a network would carry it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.aggregation.secure.client import Client, Step
from tacit.aggregation.secure.config import Config, Policy
from tacit.aggregation.secure.identity import Authority, Identity
from tacit.aggregation.secure.server import Server
from tacit.errors import ConsistencyError, InsufficientSurvivors

NEVER = Step.OVER
"""The step at which a client is lost that is not."""


@dataclass
class Rehearsal:
    """One session among named clients.

    Args:
        config: its settings.
        names: of the clients.
        model: digest of the model that all start from.
        lost: the first step that a client does not do; not there for those that do all.
        identities: of the clients, where the session asks for them.
        policy: of all of them.
        draw: n random bytes.

    Attributes:
        up, down: bytes sent and received, by kind of message, over all clients.
    """

    config: Config
    names: Iterable[str]
    model: bytes
    lost: Mapping[str, Step] = field(default_factory=dict)
    identities: Mapping[str, Identity] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    draw: Callable[[int], bytes] = os.urandom
    workers: int | None = None

    def __post_init__(self) -> None:
        self.server = Server(self.config, self.policy.authorities, self.workers)
        self.clients = {
            name: Client(self.config, name, self.model, self.policy, self.identities.get(name), self.draw)
            for name in self.names
        }
        self.up: Counter[str] = Counter()
        self.down: Counter[str] = Counter()
        self._inboxes: dict[str, bytes] = {}

    def begin(self) -> list[str]:
        """Exchanges keys and shares. Returns the clients that are to upload.

        Raises:
            InsufficientSurvivors: too few are left.
        """
        for name in self._left(Step.ADVERTISE, self.clients):
            self.server.take_advertise(name, self._sent("advertise", self.clients[name].advertise()))
        roster = self.server.close_advertise()
        for name in self._left(Step.SHARE, self.server.members.names):
            answer = self.clients[name].share(self._received("roster", roster))
            self.server.take_shares(name, self._sent("shares", answer))
        self._inboxes = self.server.close_shares()
        return self._left(Step.MASK, self._inboxes)

    def upload(self, name: str, vector: NDArray[Any]) -> bool:
        """A client's vector, masked and added.

        Returns:
            Whether it went: a client with too few neighbours left keeps it.
        """
        try:
            answer = self.clients[name].mask(self._received("inbox", self._inboxes[name]), vector)
        except InsufficientSurvivors:
            return False
        self.server.take_masked(name, self._sent("masked", answer))
        return True

    def finish(self) -> NDArray[np.int64]:
        """Unmasks: the sum, (m,).

        Raises:
            InsufficientSurvivors: too few are left.
        """
        survivors = self.server.close_masked()
        asked: dict[str, bytes] = {}
        inside = [self.server.members.names[i] for i in self.server.survivors]
        if self.config.signed:
            for name in self._left(Step.CONFIRM, inside):
                try:
                    answer = self.clients[name].confirm(self._received("survivors", survivors))
                except InsufficientSurvivors:
                    continue
                self.server.take_confirm(name, self._sent("confirm", answer))
            asked = self.server.close_confirm()
        else:
            asked = dict.fromkeys(inside, survivors)
        for name in self._left(Step.UNMASK, asked):
            try:
                kind = "confirmed" if self.config.signed else "survivors"
                answer = self.clients[name].unmask(self._received(kind, asked[name]))
            except (ConsistencyError, InsufficientSurvivors):
                continue
            self.server.take_unmask(name, self._sent("unmask", answer))
        return self.server.close()

    def _left(self, step: Step, among: Iterable[str]) -> list[str]:
        """Those that do this step."""
        return [name for name in among if self.lost.get(name, NEVER) > step]

    def _sent(self, kind: str, data: bytes) -> bytes:
        self.up[kind] += len(data)
        return data

    def _received(self, kind: str, data: bytes) -> bytes:
        self.down[kind] += len(data)
        return data


def identities(names: Iterable[str], draw: Callable[[int], bytes] = os.urandom) -> tuple[bytes, dict[str, Identity]]:
    """An authority's public key, and an identity of its for each name: for simulations."""
    authority = Authority(draw)
    return authority.key, {name: authority.identity(name, draw) for name in names}
