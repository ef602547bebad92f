"""Secure sums between machines: messages of a session as assignments, and its server as the state machine it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.aggregation.secure.server import Server
from tacit.errors import InsufficientSurvivors, MalformedMessage, RoundFailed, ShareVerifyError, UsageError
from tacit.network.desk import Answers, Asking
from tacit.network.office import Blob, Kind
from tacit.rounds.securing import Securing
from tacit.venue.fold import Total

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tacit.network.networked import Networked

Int = NDArray[np.int64]

ROOM = 4096
"""Bytes of a message beside what grows with the cohort."""
BOX = 512
"""Most bytes of a message for every client in a session: a sealed box with two commitments, or a share."""


class WireSums:
    """The secure sums of one run between machines. See `tacit.rounds.securing.Sums`.

    Args:
        securing: their settings.
        at: where the run takes place.
    """

    whole = True

    def __init__(self, securing: Securing, at: Networked) -> None:
        self.securing, self.at = securing, at
        self.bits, self.length = securing.bits, securing.length
        self._open: list[WireSession] = []
        self._asked = 0

    def announce(self, round: int, clients: Int, down: Tensor) -> None:
        """Opens an attempt of the round with all of its cohort. See `Sums.announce`."""
        self._open, self._asked = [], len(clients)
        self.at.begin(round, np.sort(clients), self.at.broadcast(round, down))

    def session(
        self, round: int, clients: Int, down: Tensor, group: int = 0, share: Callable[[str], Int] | None = None
    ) -> WireSession:
        """Asks the clients to train and to exchange keys. See `Securing.session`.

        Raises:
            InsufficientSurvivors: too few are left.
        """
        clients, blob = np.sort(clients), self.at.broadcast(round, down)
        session = WireSession(self, round, clients, group, len(clients) == self._asked)
        session.begin(blob)
        self._open.append(session)
        return session

    def upload(self) -> dict[int, Answers]:
        """Lets the clients of every open session mask their reports, and fixes who survives, once for all of them.

        Returns:
            What became of each session's asking, by its group.
        """
        answers = {one.group: one.upload() for one in self._open}
        inside = [name for one in self._open for name in one.fix()]
        if inside:
            self.at.survived(self._open[0].round, self._open[0].attempt, inside)
        return answers

    def closed(self, session: WireSession) -> None:
        """Notes that a session has come to its end; with the last one the round's sum is there."""
        session.over = True
        if all(one.over for one in self._open):
            self.at.summed(session.round, session.attempt, [n for one in self._open for n in one.inside])

    def facts(self, clients: int) -> dict[str, Any]:
        """See `Securing.facts`."""
        return self.securing.facts(clients) | {"protocol": "network"}


@dataclass
class WireSession:
    """One round's sum."""

    sums: WireSums
    round: int
    clients: Int
    group: int
    whole: bool
    """Whether it holds the whole cohort, and not a group of it."""

    def __post_init__(self) -> None:
        at, securing = self.sums.at, self.sums.securing
        self.attempt = at.attempt(self.round)
        config = securing.config(self.round, self.attempt)
        self.server = Server(config, at.authorities, most=max(len(self.clients), 3))
        self.asked: Int = self.clients[:0]
        self._names = {at.names[k]: k for k in self.clients.tolist()}
        self._inboxes: dict[str, bytes] = {}
        self._processes: dict[str, str] = {}
        self._survivors = b""
        self.inside: list[str] = []
        """Whose reports are in the sum."""
        self.over = False
        self.error: InsufficientSurvivors | None = None

    def begin(self, down: Blob) -> None:
        """Lets everybody train, advertise its keys and share its secrets.

        Raises:
            InsufficientSurvivors: too few are left.
            RoundFailed: for so many clients there is no graph.
        """
        orders = {name: self.sums.at.order(self.round, k, self.group) for name, k in self._names.items()}
        kind, blobs = self.sums.at.opening(down)
        self._processes = self.sums.at.trained_by(list(orders))
        self._ask(kind, orders, self._advertised, blobs, self.sums.at.settings.patience)
        try:
            roster = self.sums.at.shelf.put(self.server.close_advertise())
        except UsageError as error:
            raise RoundFailed(f"round {self.round + 1}: {error}") from error
        everybody = dict.fromkeys(self.server.members.names, b"")
        self._ask(Kind.SHARE, everybody, self.server.take_shares, {"roster": roster})
        self._inboxes = self.server.close_shares()
        self.asked = np.sort(np.array([self._names[name] for name in self._inboxes], dtype=np.int64))

    def upload(self) -> Answers:
        """Lets everybody mask its report, and adds what comes."""
        return self._ask(
            Kind.MASK, self._inboxes, self.server.take_masked, {}, limit=ROOM + self.sums.length * self.sums.bits // 8
        )

    def fix(self) -> list[str]:
        """Closes the uploads: the names of those who survive; empty where they are too few."""
        try:
            self._survivors = self.server.close_masked()
        except InsufficientSurvivors as error:
            self.error, self.over = error, True
            return []
        self.inside = [self.server.members.names[k] for k in self.server.survivors]
        return self.inside

    def close(self, total: Total, failed: Int) -> Total:
        """Unmasks: the sum, and who is in it. See `tacit.rounds.securing.Session`.

        Raises:
            InsufficientSurvivors: too few are left.
            RoundFailed: a client shared something else than its secret.
        """
        if self.error is not None:
            raise self.error
        asked = dict.fromkeys(self.inside, self._survivors)
        try:
            if self.server.config.signed:
                self._ask(Kind.CONFIRM, asked, self.server.take_confirm)
                asked = self.server.close_confirm()
            self._ask(Kind.UNMASK, asked, self.server.take_unmask)
            if self.server.blamed:
                self.sums.at.blamed(self.round, self.attempt, self.server.blamed)
            found = self.server.close()
        except (InsufficientSurvivors, ShareVerifyError) as error:
            self.inside, self.over = [], True
            raise (
                error if isinstance(error, RoundFailed) else RoundFailed(f"round {self.round + 1}: {error}")
            ) from error
        counted = np.array([self._names[name] for name in self.inside], dtype=np.int64)
        self.sums.closed(self)
        return replace(total, total=torch.from_numpy(found), counted=np.sort(counted))

    def _advertised(self, name: str, body: bytes | memoryview) -> None:
        self.server.take_advertise(name, bytes(body))
        self._processes[name] = self.sums.at.process(name)

    def _ask(
        self,
        kind: Kind,
        payloads: Mapping[str, bytes],
        take: Callable[[str, Any], None],
        blobs: Mapping[str, Blob] | None = None,
        seconds: float | None = None,
        limit: int | None = None,
    ) -> Answers:
        def taken(name: str, body: bytes | memoryview) -> None:
            try:
                take(name, body if kind == Kind.MASK else bytes(body))
            except (ValueError, OverflowError) as error:  # of a decoder that met what it does not know
                raise MalformedMessage(f"the message cannot be read: {error}") from error

        at = self.sums.at
        asking = Asking(
            kind,
            self.round,
            self.attempt,
            at.settings.answer if seconds is None else seconds,
            limit or ROOM + BOX * len(self.clients),
            payloads,
            taken,
            blobs or {},
            {name: self._processes[name] for name in payloads if name in self._processes},
            counted=kind is Kind.MASK,
            last=self.whole,
        )
        return at.asked(asking)
