"""Rounds that overlap, between machines: a round is the first reports that are done, whichever model they began with.

Everybody who is there trains from the model of the moment, up to `concurrency` at once. As soon as `buffer` of them are
done a round begins among these: a secure sum of their own, or their reports. The others train on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tacit.errors import MalformedMessage
from tacit.fleet import FedBuff
from tacit.network.desk import Asking, Desk, Posted
from tacit.network.office import READY, Blob, Kind
from tacit.selection.cohort import Cohort, Informed, Sampling
from tacit.selection.table import ClientTable

LIMIT = 64
"""Bytes of the answer that a training is done, at most."""
LONGEST = 60.0
"""Seconds after which who failed again and again is asked once more, at most."""
LOOK = 0.5
"""Seconds between two looks at who has come."""


@dataclass(frozen=True)
class FirstDone(Informed):
    """Whoever is done first: all who are in a buffer. Of chance nothing is claimed.

    Attributes:
        buffer: how many.
    """

    buffer: int

    def problems(self, clients: int) -> list[str]:
        """A buffer of more than there are."""
        if self.buffer <= clients:
            return []
        return [f"buffer is {self.buffer}: of {clients} participants no more can be in a round"]

    def sampling(self, clients: int) -> Sampling:
        """A number, and no claim."""
        return Sampling("arbitrary", self.buffer, clients)

    def choose(self, table: ClientTable, seed: int, round: int) -> Cohort:
        """All who are in the pool."""
        who = table.eligible
        return Cohort(who, self.sampling(len(table)), inclusion=np.ones(len(who)))


@dataclass(frozen=True)
class Done:
    """A training that is done.

    Attributes:
        version: of the model from which it began: the round for which that was sent.
        process: that holds it.
    """

    version: int
    process: str


@dataclass(frozen=True)
class _Flight:
    version: int
    blob: Blob
    posted: Posted
    process: list[str]


@dataclass
class Buffer:
    """Who trains, and who is done.

    Attributes:
        how: as the plan asks for it.
        desk: where participants are asked.
        patience: seconds for which a training is waited for.
        ready: names of those who can be asked now.
        process: the present process of a participant; None where it is gone.
    """

    how: FedBuff
    desk: Desk
    patience: float
    ready: Callable[[], list[str]]
    process: Callable[[str], str | None]
    done: dict[str, Done] = field(default_factory=dict)
    _flying: dict[str, _Flight] = field(default_factory=dict)
    _failed: dict[str, tuple[int, float]] = field(default_factory=dict)

    def fill(self, round: int, down: Blob, order: Callable[[str], bytes]) -> dict[str, Done]:
        """Lets everybody train until so many are done as a round takes.

        Args:
            round: from 0.
            down: its model.
            order: what a participant is told.

        Returns:
            Those who are in it, in the order in which they were done.

        Raises:
            Stopped: the coordinator closes down.
        """
        while True:
            self._collect(round)
            if len(self.done) >= self.how.buffer:
                return dict(list(self.done.items())[: self.how.buffer])
            self._start(round, down, order)
            self.desk.wait(LOOK)

    def taken(self, names: list[str]) -> None:
        """What these have trained is in a round now, or lost with it: they begin anew."""
        for name in names:
            self.done.pop(name, None)

    @property
    def blobs(self) -> list[Blob]:
        """The models that somebody may still be fetching."""
        return [flight.blob for flight in self._flying.values()]

    def _collect(self, round: int) -> None:
        """Takes note of who is done, and lets those go whose training is lost, or too old."""
        for name, flight in list(self._flying.items()):
            if self.desk.left(flight.posted):
                continue
            del self._flying[name]
            if flight.posted.answers.answered and flight.process:
                self.done[name] = Done(flight.version, flight.process[0])
                self._failed.pop(name, None)
            else:
                times = self._failed.get(name, (0, 0.0))[0] + 1
                self._failed[name] = times, self.desk.now() + min(LOOK * 2**times, LONGEST)
        for name, one in list(self.done.items()):
            if round - one.version > self.how.most_stale or self.process(name) != one.process:
                del self.done[name]

    def _start(self, round: int, down: Blob, order: Callable[[str], bytes]) -> None:
        """Asks those who are idle to train, as far as there is room."""
        now = self.desk.now()
        idle = [name for name in self.ready() if name not in self._flying and name not in self.done]
        idle = [name for name in idle if self._failed.get(name, (0, 0.0))[1] <= now]
        for name in idle[: max(self.how.concurrency - len(self._flying), 0)]:
            process: list[str] = []

            def take(who: str, body: bytes | memoryview, process: list[str] = process) -> None:
                if bytes(body) != READY:
                    raise MalformedMessage("a training that is done is answered by that word alone")
                process.append(self.process(who) or "")

            asking = Asking(
                Kind.TRAIN, round, 0, self.patience, LIMIT, {name: order(name)}, take, {"down": down}, noted=False
            )
            self._flying[name] = _Flight(round, down, self.desk.post(asking), process)
