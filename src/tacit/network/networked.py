"""A run between machines, as the rounds see it: a place in which others train, and of which only sums come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tacit.errors import InsufficientSurvivors
from tacit.learning.ladder import Choice
from tacit.network.buffering import Buffer, Done
from tacit.network.desk import Answers, Asking, Desk
from tacit.network.office import Blob, Kind
from tacit.network.order import Order
from tacit.network.shelf import Shelf
from tacit.network.training import written_parts
from tacit.network.wire_sums import WireSums
from tacit.network.wire_venue import WireVenue
from tacit.plan.network import Network
from tacit.rounds.opening import work_of
from tacit.rounds.securing import Securing, Sums, securing_of
from tacit.rounds.server import Server

if TYPE_CHECKING:
    from tacit.federation import Federation
    from tacit.privacy.guard import Guard
    from tacit.privacy.record_guard import RecordGuard

ENGINE = "participants"
"""What a run says of its engine: each participant has its own."""


class Notes(Protocol):
    """What must be durable before a round goes on."""

    def opened(self, round: int, cohort: Sequence[str], down: str) -> int:
        """Notes a new attempt of a round; returns its number, from 0."""
        ...

    def asked(self, asking: Asking, answers: Answers) -> None:
        """Notes that no more answers are taken, and why some did not come."""
        ...

    def blamed(self, round: int, attempt: int, names: Sequence[str]) -> None:
        """Notes who sent shares that their owners had not committed to."""
        ...

    def survived(self, round: int, attempt: int, names: Sequence[str]) -> None:
        """Notes whose reports are in a sum, before anybody is asked to unmask it; once."""
        ...

    def summed(self, round: int, attempt: int, counted: Sequence[str]) -> None:
        """Notes that the sum of a round is there."""
        ...


@dataclass
class Networked:
    """Where a run takes place whose participants are elsewhere. See `tacit.rounds.place.Place`.

    Attributes:
        run: names the run: 32 hexadecimal digits.
        names: (N,) of the participants, in order.
        desk: where they are asked.
        shelf: of what they fetch.
        notes: what is remembered.
        settings: how long they are waited for.
        authorities: public keys of those whose word for an identity is taken.
        there: the participants who can be asked now; waits until enough can.
        process: the present process of a participant.
        terms: of the run, which stay on the shelf.
        buffer: of those who train, where rounds overlap.
    """

    run: str
    names: tuple[str, ...]
    desk: Desk
    shelf: Shelf
    notes: Notes
    settings: Network
    authorities: tuple[bytes, ...]
    there: Callable[[int], NDArray[np.bool_]]
    process: Callable[[str], str]
    terms: Blob
    buffer: Buffer | None = None
    remembers: bool = field(default=False, init=False)
    _attempts: Counter[int] = field(default_factory=Counter, init=False)
    _down: tuple[int, Blob] | None = field(default=None, init=False)
    _layout: Any = field(default=None, init=False)
    _private: bool = field(default=False, init=False)
    _done: dict[str, Done] = field(default_factory=dict, init=False)

    def sums(self, federation: Federation) -> Sums | None:
        """See `Place.sums`."""
        self._private = federation.privacy is not None
        found = securing_of(federation)
        if found is None:
            return None
        assert isinstance(found, Securing), "sums under a shared key have no messages between machines"
        found._run = bytes.fromhex(self.run)
        return WireSums(found, self)

    def choice(self, federation: Federation, engine: str) -> Choice:
        """See `Place.choice`: none is made here."""
        return Choice(ENGINE, _nobody_trains_here)

    def records(
        self, federation: Federation, rounds: int, folder: Path | None, saved: dict[str, Any] | None
    ) -> RecordGuard | None:
        """See `Place.records`: each participant guards its own."""
        return None

    def venue(
        self,
        federation: Federation,
        server: Server,
        choice: Choice,
        *,
        guards: tuple[Guard | None, RecordGuard | None],
        sums: Sums | None,
        losses: bool,
    ) -> WireVenue:
        """See `Place.venue`."""
        self._layout = server.broadcast()[0]
        assert sums is None or isinstance(sums, WireSums), "sums of another place"
        return WireVenue(work_of(federation, server, choice.make, records=None, chance=None, uplink=None), self, sums)

    def pool(self, round: int, down: Tensor) -> NDArray[np.bool_] | None:
        """See `Place.pool`. In a private run everybody is drawn, there or not, so that chances stay as declared.

        Where rounds overlap it is those whose training is done.
        """
        if self.buffer is None:
            there = self.there(round)
            return None if self._private else there
        places = {name: k for k, name in enumerate(self.names)}
        blob = self.broadcast(round, down)
        self._done = self.buffer.fill(round, blob, lambda name: self._order(places[name], waits=True))
        return np.isin(np.arange(len(self.names)), [places[name] for name in self._done])

    def broadcast(self, round: int, down: Tensor) -> Blob:
        """What goes down in a round, on the shelf; the one of a round that is over is removed."""
        if self._down is None or self._down[0] != round:
            self._down = round, self.shelf.put(written_parts(down, self._layout))
            self.shelf.keep(self.terms, self._down[1], *([] if self.buffer is None else self.buffer.blobs))
        return self._down[1]

    def begin(self, round: int, clients: NDArray[np.int64], down: Blob) -> None:
        """Notes that a round is tried (again) with these clients."""
        if self.buffer is not None:
            self.buffer.taken([self.names[k] for k in clients.tolist()])
        self._attempts[round] = self.notes.opened(round, [self.names[k] for k in clients.tolist()], down.sha256)

    def attempt(self, round: int) -> int:
        """How often this round was tried before."""
        return self._attempts[round]

    def order(self, round: int, position: int, group: int = 0) -> bytes:
        """What a participant is told that is to train."""
        done = self._done.get(self.names[position])
        return self._order(position, group=group, stale=0 if done is None else round - done.version)

    def _order(self, position: int, group: int = 0, *, waits: bool = False, stale: int = 0) -> bytes:
        return Order(position, len(self.names), group, waits, stale).encode()

    def opening(self, down: Blob) -> tuple[Kind, dict[str, Blob]]:
        """What a round begins with: to train from its model, or, where rounds overlap, what was trained before."""
        return (Kind.TRAIN, {"down": down}) if self.buffer is None else (Kind.KEYS, {})

    def trained_by(self, names: Sequence[str]) -> dict[str, str]:
        """The processes that hold what was trained before; none where a round begins with a training."""
        return {name: self._done[name].process for name in names if name in self._done}

    def asked(self, asking: Asking) -> Answers:
        """Asks, waits, and notes what became of it."""
        answers = self.desk.ask(asking)
        self.notes.asked(asking, answers)
        return answers

    def blamed(self, round: int, attempt: int, names: Sequence[str]) -> None:
        """See `Notes.blamed`."""
        self.notes.blamed(round, attempt, names)

    def survived(self, round: int, attempt: int, names: Sequence[str]) -> None:
        """See `Notes.survived`."""
        self.notes.survived(round, attempt, names)

    def summed(self, round: int, attempt: int, counted: Sequence[str]) -> None:
        """See `Notes.summed`."""
        self.notes.summed(round, attempt, counted)


def _nobody_trains_here() -> Any:
    raise InsufficientSurvivors("training", 0, 1, "participants")
