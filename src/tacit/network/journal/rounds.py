"""The rounds of a run, each attempt a state machine whose every step is on disk before anything follows from it.

    OPEN -> COLLECTING -> [SHARED ->] [MASKED ->] SUMMED -> PUBLISHED, and from every state but the last: ABANDONED

What survives a crash by it: an attempt has one set of survivors, written before anybody is asked to unmask; rounds and
attempts are opened in order, and each round is published once, after all before it that were.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, Update, bindparam, func, select

from tacit.network.journal.chain import as_json, log
from tacit.network.journal.errors import IllegalMove
from tacit.network.journal.part import Part, plain
from tacit.network.journal.schema import ROUNDS


class State(StrEnum):
    """How far an attempt has come."""

    OPEN = "open"
    """Its cohort is drawn."""
    COLLECTING = "collecting"
    """Assignments may leave."""
    SHARED = "shared"
    """Secrets were shared; masked reports are taken."""
    MASKED = "masked"
    """Who survived is written; the sum may be unmasked for them, and for nobody else."""
    SUMMED = "summed"
    """The sum is known, and what it makes of the model is written elsewhere."""
    PUBLISHED = "published"
    """The model is out."""
    ABANDONED = "abandoned"
    """Nothing of it is used."""

    @property
    def over(self) -> bool:
        """Whether nothing follows."""
        return self in (State.PUBLISHED, State.ABANDONED)


NEXT: Mapping[State, frozenset[State]] = {
    State.OPEN: frozenset({State.COLLECTING, State.ABANDONED}),
    State.COLLECTING: frozenset({State.SHARED, State.MASKED, State.SUMMED, State.ABANDONED}),
    State.SHARED: frozenset({State.MASKED, State.ABANDONED}),
    State.MASKED: frozenset({State.SUMMED, State.ABANDONED}),
    State.SUMMED: frozenset({State.PUBLISHED, State.ABANDONED}),
    State.PUBLISHED: frozenset(),
    State.ABANDONED: frozenset(),
}
"""Which states may follow which."""


_ONE = select(ROUNDS).where(ROUNDS.c.round == bindparam("r"), ROUNDS.c.attempt == bindparam("a"))


@dataclass(frozen=True)
class Attempt:
    """One attempt at a round, as it is written.

    Attributes:
        round: from 0.
        attempt: from 0, of this round.
        state: how far it has come.
        cohort: who was asked.
        down: digest of the broadcast.
        survivors: whose reports are in the sum; None where that was not decided.
        model: sha256 of the model that was published; None before.
        reason: why it was abandoned.
        facts: what was said with its moves, as JSON values.
        opened, moved: when it was opened, and when it last changed, in milliseconds since 1970.
    """

    round: int
    attempt: int
    state: State
    cohort: tuple[str, ...]
    down: str
    survivors: tuple[str, ...] | None
    model: str | None
    reason: str
    facts: Mapping[str, Any]
    opened: int
    moved: int


class Rounds(Part):
    """The attempts of a journal.

    `open_round`, `fix_survivors`, `move` and `publish` return when what they write is on disk. `opening`, `fixing` and
    `moving` do the same for whoever need not wait, and give futures: what is written after them is never on disk
    without them.
    """

    def open_round(self, round: int, attempt: int, cohort: Sequence[str], down: str) -> Attempt:
        """Opens an attempt.

        Args:
            round: from 0; none that was published, or is below one that was opened.
            attempt: how often this round was opened before.
            cohort: who will be asked; no name twice.
            down: digest of what they are sent.

        Raises:
            IllegalMove: it is not the turn of this attempt, an earlier one of this round is not abandoned, or the
                cohort is empty or names somebody twice.
        """
        return self.opening(round, attempt, cohort, down).result()

    def opening(self, round: int, attempt: int, cohort: Sequence[str], down: str) -> Future[Attempt]:
        """See `open_round`."""
        at = self._ms()
        return self._later("open_round", lambda one: _open(one, round, attempt, tuple(cohort), down, at), minor=True)

    def move(self, round: int, attempt: int, state: State, *, reason: str = "", **facts: Any) -> Attempt:
        """Moves an attempt to its next state.

        Args:
            round, attempt: which.
            state: any but PUBLISHED, for which there is `publish`.
            reason: why it is abandoned: needed there, and nowhere else.
            facts: JSON values to keep with it, in the place of older ones of the same names.

        Raises:
            IllegalMove: this state may not follow the one it has; it is masked before there are survivors.
            TypeError, ValueError: the facts are no JSON values.
        """
        return self.moving(round, attempt, state, reason=reason, **facts).result()

    def moving(self, round: int, attempt: int, state: State, *, reason: str = "", **facts: Any) -> Future[Attempt]:
        """See `move`."""
        as_json(facts)
        if bool(reason) is not (state is State.ABANDONED) or state is State.PUBLISHED:
            raise IllegalMove("a reason belongs to ABANDONED, and a model to PUBLISHED, which is publish()")
        at, why = self._ms(), plain(reason)
        return self._later("move", lambda connection: _move(connection, round, attempt, state, why, facts, at))

    def abandon(self, round: int, attempt: int, reason: str, **facts: Any) -> Attempt:
        """Gives an attempt up: `move` to ABANDONED."""
        return self.move(round, attempt, State.ABANDONED, reason=reason, **facts)

    def fix_survivors(self, round: int, attempt: int, names: Iterable[str]) -> tuple[str, ...]:
        """Writes whose reports the sum is made of: once, and before anybody is asked to unmask it.

        Returns:
            The names, in order. The same set may be given again.

        Raises:
            IllegalMove: another set was written, somebody is not of the cohort, or the attempt is not collecting.
        """
        return self.fixing(round, attempt, names).result()

    def fixing(self, round: int, attempt: int, names: Iterable[str]) -> Future[tuple[str, ...]]:
        """See `fix_survivors`."""
        chosen, at = tuple(sorted(set(names))), self._ms()
        return self._later("fix_survivors", lambda connection: _fix(connection, round, attempt, chosen, at))

    def publish(self, round: int, attempt: int, model: str) -> Attempt:
        """Writes that the model of an attempt is out. The same model may be published again, which changes nothing.

        Args:
            round, attempt: which; SUMMED.
            model: sha256 of the model.

        Raises:
            IllegalMove: it is not summed, was published with another model, or a later round was published.
        """
        at = self._ms()
        return self._now("publish", lambda connection: _publish(connection, round, attempt, model, at))

    def rounds(self, after: int = -1) -> list[Attempt]:
        """All attempts at rounds after one, in order."""
        return self._read(lambda connection: _attempts(connection, ROUNDS.c.round > after))

    def attempts(self, round: int) -> list[Attempt]:
        """All attempts at a round, in order."""
        return self._read(lambda connection: _attempts(connection, ROUNDS.c.round == round))

    def unfinished(self) -> list[Attempt]:
        """The attempts that are neither published nor abandoned: what a coordinator that starts finds to settle."""
        over = [state.value for state in State if state.over]
        return self._read(lambda connection: _attempts(connection, ROUNDS.c.state.not_in(over)))

    def survivors(self, round: int, attempt: int) -> tuple[str, ...] | None:
        """Whose reports the sum of an attempt is made of; None where that was not decided."""
        return self._read(lambda connection: found(connection, round, attempt)).survivors

    def counted(self, name: str) -> int:
        """In how many rounds that were published somebody is among the survivors."""
        query = select(ROUNDS.c.survivors).where(ROUNDS.c.state == State.PUBLISHED.value)
        sets = self._read(lambda connection: connection.scalars(query).all())
        return sum(name in json.loads(names) for names in sets if names is not None)


def found(connection: Connection, round: int, attempt: int) -> Attempt:
    """An attempt, as it is written.

    Raises:
        IllegalMove: there is none.
    """
    row = connection.execute(_ONE, {"r": round, "a": attempt}).first()
    if row is None:
        raise IllegalMove(f"round {round} has no attempt {attempt}: open it first")
    return _attempt(row)


@lru_cache(maxsize=8)
def names_in(text: str) -> frozenset[str]:
    """The names of a cohort as it is written, as a set; kept, as each answer asks for it."""
    return frozenset(_in_order(text))


@lru_cache(maxsize=8)
def _in_order(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _open(connection: Connection, round: int, attempt: int, cohort: tuple[str, ...], down: str, at: int) -> Attempt:
    if not cohort or len(set(cohort)) != len(cohort):
        raise IllegalMove(f"the cohort of round {round} has {len(cohort)} names, {len(set(cohort))} different ones")
    last = connection.scalar(select(func.max(ROUNDS.c.round)))
    before = _attempts(connection, ROUNDS.c.round == round)
    if round < (0 if last is None else last) or attempt != len(before):
        raise IllegalMove(
            f"round {round}, attempt {attempt} cannot be opened: round {last} was opened last, and round {round} had "
            f"{len(before)} attempts"
        )
    if any(one.state is not State.ABANDONED for one in before):
        raise IllegalMove(f"round {round} cannot be tried again: attempt {attempt - 1} is {before[-1].state}")
    row = {"round": round, "attempt": attempt, "state": State.OPEN.value, "cohort": json.dumps(cohort), "down": down}
    connection.execute(ROUNDS.insert().values(**row, reason="", facts="{}", opened=at, moved=at))
    log(connection, at, "round.opened", _said(round, attempt, cohort=len(cohort), down=down))
    return found(connection, round, attempt)


def _move(
    connection: Connection, round: int, attempt: int, state: State, reason: str, facts: Mapping[str, Any], at: int
) -> Attempt:
    now = found(connection, round, attempt)
    _require(now, state in NEXT[now.state], f"become {state}")
    if state is State.MASKED:
        _require(now, now.survivors is not None, "be unmasked before it is written who survived")
    kept = {**now.facts, **facts}
    _change(connection, now, state=state.value, reason=reason, facts=as_json(kept), moved=at)
    said = {"reason": reason} if reason else {}
    log(connection, at, f"round.{state.value}", _said(round, attempt, **said, facts=dict(facts)))
    return replace(now, state=state, reason=reason, facts=json.loads(as_json(kept)), moved=at)


def _fix(connection: Connection, round: int, attempt: int, names: tuple[str, ...], at: int) -> tuple[str, ...]:
    now = found(connection, round, attempt)
    if now.survivors is not None:
        _require(now, now.survivors == names, "have other survivors than those that were written")
        return names
    _require(now, now.state in (State.COLLECTING, State.SHARED), "be given survivors")
    _require(now, bool(names) and set(names) <= set(now.cohort), "have survivors that are nobody of its cohort")
    _change(connection, now, survivors=json.dumps(names), moved=at)
    log(connection, at, "round.survivors", _said(round, attempt, survivors=len(names)))
    return names


def _publish(connection: Connection, round: int, attempt: int, model: str, at: int) -> Attempt:
    now = found(connection, round, attempt)
    if now.state is State.PUBLISHED:
        _require(now, now.model == model, "be published with another model")
        return now
    _require(now, now.state is State.SUMMED, "be published")
    last = connection.scalar(select(func.max(ROUNDS.c.round)).where(ROUNDS.c.state == State.PUBLISHED.value))
    _require(now, last is None or last < round, f"be published after round {last}")
    _change(connection, now, state=State.PUBLISHED.value, model=model, moved=at)
    log(connection, at, "round.published", _said(round, attempt, model=model))
    return replace(now, state=State.PUBLISHED, model=model, moved=at)


def _require(now: Attempt, holds: bool, what: str) -> None:
    if not holds:
        raise IllegalMove(f"round {now.round}, attempt {now.attempt} is {now.state}: it cannot {what}")


def _change(connection: Connection, now: Attempt, **columns: Any) -> None:
    connection.execute(_changing(tuple(columns)), {"r": now.round, "a": now.attempt, **columns})


@lru_cache(maxsize=16)
def _changing(columns: tuple[str, ...]) -> Update:
    """A statement that changes these columns of an attempt, built once."""
    this = (ROUNDS.c.round == bindparam("r")) & (ROUNDS.c.attempt == bindparam("a"))
    return ROUNDS.update().where(this).values({name: bindparam(name) for name in columns})


def _said(round: int, attempt: int, **facts: Any) -> str:
    return as_json({"round": round, "attempt": attempt, **facts})


def _attempts(connection: Connection, condition: Any) -> list[Attempt]:
    query = select(ROUNDS).where(condition).order_by(ROUNDS.c.round, ROUNDS.c.attempt)
    return [_attempt(row) for row in connection.execute(query)]


def _attempt(row: Row[Any]) -> Attempt:
    survivors = None if row.survivors is None else _in_order(row.survivors)
    return Attempt(
        row.round,
        row.attempt,
        State(row.state),
        _in_order(row.cohort),
        row.down,
        survivors,
        row.model,
        row.reason,
        json.loads(row.facts),
        row.opened,
        row.moved,
    )
