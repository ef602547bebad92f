"""Which answers were taken, and why others did not come. Whether an answer came in time is decided here, and only here:
a step is closed by a write like every other, so each answer that was acknowledged comes before it, and none after.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, select

from tacit.network.journal.errors import IllegalMove
from tacit.network.journal.part import Part, matching, plain
from tacit.network.journal.rounds import State, found, names_in
from tacit.network.journal.schema import ANSWERS, LOSSES, ROUNDS, STEPS
from tacit.network.journal.writer import Write
from tacit.network.office import Code, Kind, Receipt, Refused

Step = tuple[int, int, str]
"""Round, attempt, and the kind of what is asked for."""

_KEY = (ANSWERS.c.round, ANSWERS.c.attempt, ANSWERS.c.kind, ANSWERS.c.participant)
_DOOR = (
    select(ROUNDS.c.state, ROUNDS.c.cohort, STEPS.c.closed)
    .select_from(
        ROUNDS.outerjoin(
            STEPS,
            and_(
                STEPS.c.round == ROUNDS.c.round,
                STEPS.c.attempt == ROUNDS.c.attempt,
                STEPS.c.kind == bindparam("k"),
            ),
        )
    )
    .where(ROUNDS.c.round == bindparam("r"), ROUNDS.c.attempt == bindparam("a"))
)


_CLOSED = STEPS.insert()
_TAKEN = ANSWERS.insert()


@dataclass(frozen=True)
class Answer:
    """An answer that was taken.

    Attributes:
        participant: whose.
        digest: sha256 of its bytes.
        size: how many they are.
        at: when it was taken, in milliseconds since 1970.
    """

    participant: str
    digest: bytes
    size: int
    at: int


@dataclass(frozen=True)
class Loss:
    """Why an answer did not come.

    Attributes:
        participant: whose.
        kind: of the answer.
        cause: a word, for programs: "deadline", "data", "refused", ...
        text: a sentence, for people.
        at: when that was known, in milliseconds since 1970.
    """

    participant: str
    kind: Kind
    cause: str
    text: str
    at: int


@dataclass(frozen=True)
class _Asked:
    step: Step
    participant: str
    digest: bytes
    size: int
    at: int


class Answers(Part):
    """The answers to a journal's rounds."""

    def answer(
        self, round: int, attempt: int, participant: str, kind: Kind, digest: bytes, size: int
    ) -> Future[Receipt]:
        """Takes an answer. Its bytes must be on disk, or need not survive: only its digest is written here.

        Args:
            round, attempt, kind: to what.
            participant: whose.
            digest: sha256 of its bytes.
            size: how many they are.

        The future raises:
            Refused: other bytes were taken before (CONFLICT); the step or the attempt is over (GONE); there is no such
                attempt, or the participant is not of its cohort (UNKNOWN).
            StorageError: it cannot be written now.
        """
        asked = _Asked((round, attempt, Kind(kind).value), participant, digest, size, self._ms())
        return self._writer.put(Write("answer", _take, asked, minor=True, free=True))

    def close_step(self, round: int, attempt: int, kind: Kind) -> Future[None]:
        """Takes no further answers of a kind; again changes nothing.

        Returns:
            A future, done when that is on disk: of `answers` these and no others were acknowledged, or ever will be. It
            raises IllegalMove where there is no such attempt.
        """
        at = self._ms()
        return self._later("close_step", lambda connection: _close(connection, (round, attempt, Kind(kind).value), at))

    def answers(self, round: int, attempt: int, kind: Kind) -> list[Answer]:
        """The answers of a kind that were taken so far, in the order of names."""
        return self._read(lambda connection: _taken(connection, (round, attempt, Kind(kind).value)))

    def lost(self, round: int, attempt: int, participant: str, kind: Kind, cause: str, text: str) -> Future[bool]:
        """Writes why an answer did not come. The first reason stays.

        Returns:
            A future: whether it was the first, when that is on disk. It raises IllegalMove where there is no such
            attempt.
        """
        loss = Loss(participant, Kind(kind), plain(cause, 100), plain(text), self._ms())
        return self._later("lost", lambda connection: _lose(connection, round, attempt, loss))

    def losses(self, round: int, attempt: int) -> list[Loss]:
        """Why answers to an attempt did not come, in the order in which that was known."""
        here = (LOSSES.c.round == round) & (LOSSES.c.attempt == attempt)
        query = select(LOSSES).where(here).order_by(LOSSES.c.at, LOSSES.c.participant, LOSSES.c.kind)
        return self._read(
            lambda connection: [
                Loss(row.participant, Kind(row.kind), row.cause, row.text, row.at) for row in connection.execute(query)
            ]
        )


def _take(connection: Connection, items: list[_Asked]) -> Sequence[Receipt | Refused]:
    known = _known(connection, items)
    doors = {step: _door(connection, step) for step in {item.step for item in items}}
    outcomes: list[Receipt | Refused] = []
    new = []
    for item in items:
        key = (*item.step, item.participant)
        cohort, closed = doors[item.step]
        before = known.get(key)
        if before is not None:
            outcomes.append(Receipt(again=True) if before == item.digest else _conflict(item))
        elif item.participant not in cohort:
            outcomes.append(Refused(Code.UNKNOWN, f"{item.participant!r} was not asked in round {item.step[0]}"))
        elif closed:
            outcomes.append(Refused(Code.GONE, f"round {item.step[0]} does not wait any more", "check in again"))
        else:
            known[key] = item.digest
            columns = dict(zip(("round", "attempt", "kind", "participant"), key, strict=True))
            new.append({**columns, "digest": item.digest, "size": item.size, "at": item.at})
            outcomes.append(Receipt())
    if new:
        connection.execute(_TAKEN, new)
    return outcomes


def _known(connection: Connection, items: list[_Asked]) -> dict[tuple[int, int, str, str], bytes]:
    keys = {(*item.step, item.participant) for item in items}
    rows = matching(connection, (*_KEY, ANSWERS.c.digest), _KEY, keys)
    return {(round, attempt, kind, name): bytes(digest) for round, attempt, kind, name, digest in rows}


def _door(connection: Connection, step: Step) -> tuple[frozenset[str], bool]:
    """Who may answer a step, and whether it is closed."""
    row = connection.execute(_DOOR, dict(zip(("r", "a", "k"), step, strict=True))).first()
    if row is None:
        return frozenset(), True
    return names_in(row.cohort), row.closed is not None or State(row.state).over


def _conflict(item: _Asked) -> Refused:
    what = f"{item.participant!r} has answered round {item.step[0]} ({item.step[2]}) before, with other bytes"
    return Refused(Code.CONFLICT, what, "check in again, and answer each assignment once")


def _close(connection: Connection, step: Step, at: int) -> None:
    row = connection.execute(_DOOR, dict(zip(("r", "a", "k"), step, strict=True))).first()
    if row is None:
        raise IllegalMove(f"round {step[0]} has no attempt {step[1]}: open it first")
    if row.closed is None:
        connection.execute(_CLOSED, dict(zip(("round", "attempt", "kind", "closed"), (*step, at), strict=True)))


def _taken(connection: Connection, step: Step) -> list[Answer]:
    this = (ANSWERS.c.round == step[0]) & (ANSWERS.c.attempt == step[1]) & (ANSWERS.c.kind == step[2])
    rows = connection.execute(select(ANSWERS).where(this)).all()
    return sorted((Answer(row.participant, bytes(row.digest), row.size, row.at) for row in rows), key=_name)


def _name(answer: Answer) -> str:
    return answer.participant


def _lose(connection: Connection, round: int, attempt: int, loss: Loss) -> bool:
    found(connection, round, attempt)
    this = {"round": round, "attempt": attempt, "kind": loss.kind.value, "participant": loss.participant}
    if connection.execute(select(LOSSES.c.at).filter_by(**this)).first() is not None:
        return False
    connection.execute(LOSSES.insert().values(**this, cause=loss.cause, text=loss.text, at=loss.at))
    return True
