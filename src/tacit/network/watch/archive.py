"""A coordinator's journal, read beside the coordinator: without its lease, and without a write."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import inspect, select

from tacit.errors import StorageError, UsageError
from tacit.network.journal.answers import Answers
from tacit.network.journal.database import database_at, in_words
from tacit.network.journal.events import Events
from tacit.network.journal.registry import Registry
from tacit.network.journal.rounds import Attempt, Rounds, State
from tacit.network.journal.schema import JOURNAL, STEPS, VERSION
from tacit.network.office import Kind
from tacit.network.watch.explanation import Step, Tried, Trouble

FILES = ("journal.sqlite", "journal.db")
"""Where a coordinator keeps its journal in its folder."""


LAST = 6
"""How many attempts an overview holds."""


@dataclass(frozen=True)
class Overview:
    """What a journal says of its run.

    Attributes:
        journal: where it is.
        published, abandoned: how many attempts ended so.
        participants: how many, by their standing.
        last: the last attempts, in order.
    """

    journal: str
    published: int
    abandoned: int
    participants: dict[str, int]
    last: list[Tried]


class Archive(Registry, Rounds, Answers, Events):
    """A journal of which only the methods that read are called.

    Args:
        where: a coordinator's folder, a journal in a file, or `postgresql+psycopg://...`.

    Raises:
        UsageError: there is none.
        StorageError: it cannot be read, or is of another version.
    """

    def __init__(self, where: str | Path) -> None:
        self.where = found(where)
        self._clock = time.time
        self._database = database_at(self.where, time.time, 0)
        with in_words(self._database), self._database.engine.connect() as connection:
            made = inspect(connection).has_table(JOURNAL.name)
            version = connection.scalar(select(JOURNAL.c.version)) if made else None
        if version != VERSION:
            self.close()
            what = f"of version {version}, and this tacit reads {VERSION}" if made else "no journal of a coordinator"
            raise StorageError(f"{self._database.name} is {what}: give the folder of a coordinator, and its tacit")

    def close(self) -> None:
        """Closes its connections."""
        self._database.close()

    def tried(self, round: int) -> list[Tried]:
        """All attempts at a round (from 0), in order."""
        return [self._told(one) for one in self.attempts(round)]

    @property
    def overview(self) -> Overview:
        """How far the run is, from what is written alone."""
        attempts, people = self.rounds(), [one.state.value for one in self.participants()]
        return Overview(
            str(self._database.name),
            sum(one.state is State.PUBLISHED for one in attempts),
            sum(one.state is State.ABANDONED for one in attempts),
            {state: people.count(state) for state in ("active", "withdrawn", "revoked")},
            [self._told(one) for one in attempts[-LAST:]],
        )

    def _told(self, one: Attempt) -> Tried:
        troubles = [
            Trouble(loss.participant, loss.kind.value, loss.cause, loss.text, loss.at)
            for loss in self.losses(one.round, one.attempt)
        ]
        return Tried(
            one.round,
            one.attempt,
            one.state.value,
            one.reason,
            one.cohort,
            one.survivors,
            one.opened,
            one.moved,
            one.model,
            self._steps(one, troubles),
            troubles,
            self._events(one),
        )

    def _steps(self, one: Attempt, troubles: Sequence[Trouble]) -> list[Step]:
        here = (STEPS.c.round == one.round) & (STEPS.c.attempt == one.attempt)
        query = select(STEPS.c.kind, STEPS.c.closed).where(here)
        closed = dict(self._read(lambda connection: [(row.kind, row.closed) for row in connection.execute(query)]))
        steps, left = [], len(one.cohort)
        for kind in Kind:
            answers = self.answers(one.round, one.attempt, kind)
            lost = [trouble for trouble in troubles if trouble.kind == kind.value]
            if not answers and not lost and kind.value not in closed:
                continue
            times = sorted(answer.at for answer in answers)
            first, last = (times[0], times[-1]) if times else (None, None)
            steps.append(Step(kind.value, left, len(answers), first, last, closed.get(kind.value)))
            left = len(answers)
        return steps

    def _events(self, one: Attempt) -> list[tuple[int, str]]:
        moments = [(one.opened, f"opened for {len(one.cohort)} participants")]
        if one.state in (State.PUBLISHED, State.ABANDONED):
            moments.append((one.moved, one.state.value))
        return moments


def found(where: str | Path) -> str | Path:
    """The journal of a coordinator's folder, or what was given where that is one.

    Raises:
        UsageError: there is none.
    """
    if isinstance(where, str) and "://" in where:
        return where
    place = Path(where)
    for candidate in (place, *(place / name for name in FILES)):
        if candidate.is_file():
            return candidate
    raise UsageError(f"there is no coordinator's journal in {place}: give the folder that `tacit serve` writes to")
