"""The desk between the rounds and the network: what is asked of participants, and what they answer.

The rounds run in a thread of their own and wait here; requests of participants are served on the event loop and never
wait. What an answer means is the business of whoever asked: it is handed over at once, in the thread that received it,
and refused there and then where it is wrong.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from tacit.errors import DuplicateConflict, RoundFailed, SecureAggregationError, StorageError
from tacit.network.journal.errors import Away
from tacit.network.office import ID, Assignment, Blob, Code, Failure, Kind, Receipt, Refused

KEPT = 10_000
"""Closed assignments that are remembered, so that a late answer is told from one that was never asked for."""
LOOK = 0.5
"""Seconds between two looks at who has gone."""


@dataclass(frozen=True)
class Asking:
    """What is asked of several participants at once.

    Attributes:
        kind: of the answers.
        round, attempt: of which.
        seconds: for which answers are waited for.
        limit: most bytes of an answer.
        payloads: by participant.
        take: takes an answer; raises a SecureAggregationError for one that is wrong.
        blobs: for everybody, by name.
        incarnations: by participant, where the answer must come from the process that answered before.
        noted: answers are made durable before they are acknowledged.
        counted: what is answered goes into a sum: nothing goes on before all of it is durable.
        last: nothing else of this kind is asked in the attempt, as it is for each group of a robust rule.
    """

    kind: Kind
    round: int
    attempt: int
    seconds: float
    limit: int
    payloads: Mapping[str, bytes]
    take: Callable[[str, bytes | memoryview], None]
    blobs: Mapping[str, Blob] = field(default_factory=dict)
    incarnations: Mapping[str, str] = field(default_factory=dict)
    noted: bool = True
    counted: bool = False
    last: bool = True


@dataclass
class Answers:
    """What became of an asking.

    Attributes:
        answered: who answered, in the order in which they did.
        failed: why the others did not.
        seconds: that it took.
        left: how many still may answer.
    """

    answered: list[str] = field(default_factory=list)
    failed: dict[str, Failure] = field(default_factory=dict)
    seconds: float = 0.0
    left: int = 0


@dataclass(frozen=True)
class Posted:
    """An asking that nobody waits for.

    Attributes:
        ids: of its assignments.
        answers: what became of it so far.
        until: when it is given up, by the desk's clock.
    """

    ids: tuple[str, ...]
    answers: Answers
    until: float


@dataclass
class _Open:
    """An assignment that waits for its answer, until a time of the desk's clock."""

    assignment: Assignment
    participant: str
    asking: Asking
    answers: Answers
    until: float


@dataclass(frozen=True)
class _Closed:
    """One that does not.

    Attributes:
        participant: whose it was.
        digest: SHA-256 of its answer; empty where none was taken.
        assignment: itself, without what it took.
    """

    participant: str
    digest: bytes
    assignment: Assignment


class Desk:
    """Open assignments, and those that were closed.

    Args:
        wake: tells participants that there is something for them, from any thread.
        incarnation: the present process of a participant, and None while it is gone.
        taken: notes that an answer was taken, as (assignment, participant, digest, size); in the order of its calls.
        clock: seconds that only ever grow.
        broken: why no answer can be noted any more, whatever is waited for; None while all is well.
    """

    def __init__(
        self,
        wake: Callable[[Iterable[str]], None],
        incarnation: Callable[[str], str | None],
        taken: Callable[[Assignment, str, bytes, int], Future[Receipt]],
        clock: Callable[[], float] = time.monotonic,
        broken: Callable[[], StorageError | None] = lambda: None,
    ) -> None:
        self._wake, self._incarnation, self._clock, self._taken = wake, incarnation, clock, taken
        self._broken = broken
        self._change = threading.Condition()
        self._open: dict[str, _Open] = {}
        self._of: dict[str, dict[str, _Open]] = {}
        self._closed: OrderedDict[str, _Closed] = OrderedDict()
        self._durable: dict[str, Future[Receipt]] = {}
        self._stopped: str | None = None

    def ask(self, asking: Asking) -> Answers:
        """Asks, and waits until everybody has answered, has failed or is gone, or the time is over.

        Raises:
            Stopped: the coordinator closes down.
            StorageError: no answer can be noted any more.
        """
        answers, began = Answers(), self._clock()
        ids = self._opened(asking, answers)
        self._wake(list(asking.payloads))
        try:
            with self._change:
                while answers.left and self._stopped is None:
                    rest = began + asking.seconds - self._clock()
                    if rest <= 0:
                        break
                    self._change.wait(min(rest, LOOK))
                    self._fail_gone(ids)
                    self._require_whole()
                self._close(ids)
                if asking.counted:
                    self._require_noted(ids)
        finally:
            self._close(ids)
        answers.seconds = self._clock() - began
        if self._stopped is not None:
            raise Stopped(self._stopped)
        return answers

    def post(self, asking: Asking) -> Posted:
        """Asks, and does not wait."""
        answers = Answers()
        posted = Posted(tuple(self._opened(asking, answers)), answers, self._clock() + asking.seconds)
        self._wake(list(asking.payloads))
        return posted

    def left(self, posted: Posted) -> bool:
        """Whether something that was posted still waits; what is over time, or asked of whoever is gone, does not."""
        with self._change:
            self._fail_gone(posted.ids)
            if posted.answers.left and self._clock() >= posted.until:
                self._close(posted.ids)
            return bool(posted.answers.left)

    def now(self) -> float:
        """The time, in seconds that only grow."""
        return self._clock()

    def stop(self, reason: str) -> None:
        """Ends every wait, now and from now on."""
        with self._change:
            self._stopped = reason
            self._change.notify_all()

    def wait(self, seconds: float) -> None:
        """Waits, unless the coordinator closes down.

        Raises:
            Stopped: it does.
            StorageError: nothing can be noted any more.
        """
        with self._change:
            if self._stopped is None:
                self._change.wait(seconds)
            if self._stopped is not None:
                raise Stopped(self._stopped)
        self._require_whole()

    def open_for(self, participant: str) -> tuple[Assignment, ...]:
        """What a participant is asked for now, with the time that is left for it."""
        with self._change:
            mine, now = self._of.get(participant, {}).values(), self._clock()
            return tuple(replace(one.assignment, seconds=max(0.001, one.until - now)) for one in mine)

    def expected(self, participant: str, id: str) -> Assignment:
        """See `Office.expected`; an assignment that was answered may be answered again, with the same bytes."""
        with self._change:
            found = self._open.get(id)
            if found is not None and found.participant == participant:
                return found.assignment
            closed = self._closed.get(id)
        if closed is not None and closed.participant == participant:
            if closed.digest:
                return closed.assignment
            raise Refused(Code.GONE, "this assignment is closed", "check in again, and answer what is asked then")
        raise Refused(Code.UNKNOWN, f"{participant!r} was never given the assignment {id!r}", "check in again")

    def take(self, participant: str, id: str, body: bytes | memoryview, digest: bytes) -> Future[Receipt]:
        """Takes an answer: it is handed to whoever asked, and noted before anybody else can close the asking.

        Returns:
            A receipt, when it is durable that the answer was taken.

        Raises:
            Refused: another answer than before, one that is wrong, late, or was not asked for.
        """
        with self._change:
            self.expected(participant, id)
            found = self._open.get(id)
            if found is None:
                return self._repeated(participant, id, digest, len(body))
            try:
                found.asking.take(participant, body)
            except DuplicateConflict as error:
                raise Refused(Code.CONFLICT, str(error)) from error
            except SecureAggregationError as error:
                raise Refused(Code.MALFORMED, str(error), "send what the protocol asks for, or say why not") from error
            durable = self._noted(found, participant, digest, len(body))
            found.answers.answered.append(participant)
            self._drop(found, digest)
            self._durable[id] = durable
            durable.add_done_callback(lambda done: self._written(id, done))
            return durable

    def _written(self, id: str, done: Future[Receipt]) -> None:
        """Forgets a receipt once the answer is durable: what is asked for again is known by its digest then."""
        with self._change:
            if done.exception() is None:
                self._durable.pop(id, None)
            self._change.notify_all()

    def _noted(self, found: _Open, participant: str, digest: bytes, size: int) -> Future[Receipt]:
        """The receipt of an answer; at once where nothing follows from it that must be durable."""
        if found.asking.noted:
            return self._taken(found.assignment, participant, digest, size)
        receipt: Future[Receipt] = Future()
        receipt.set_result(Receipt())
        return receipt

    def _repeated(self, participant: str, id: str, digest: bytes, size: int) -> Future[Receipt]:
        """The receipt of an answer that was taken before; noted once more where that could not be written."""
        if self._closed[id].digest != digest:
            raise Refused(Code.CONFLICT, "this assignment was answered before, with other bytes")
        again: Future[Receipt] = Future()
        first = self._durable.get(id)
        if first is not None and first.done() and first.exception() is not None:
            first = self._durable[id] = self._taken(self._closed[id].assignment, participant, digest, size)
            first.add_done_callback(lambda done: self._written(id, done))
        if first is None:
            again.set_result(Receipt(again=True))
        else:
            first.add_done_callback(lambda done: _passed_on(done, again))
        return again

    def fail(self, participant: str, id: str, why: Failure) -> Assignment | None:
        """Notes that an assignment will not be answered; None where it is closed already."""
        self.expected(participant, id)
        with self._change:
            found = self._open.get(id)
            if found is None:
                return None
            found.answers.failed[participant] = why
            self._drop(found, b"")
            return found.assignment

    def returned(self, participant: str) -> None:
        """A participant came back as another process: what only the earlier one could answer has failed."""
        with self._change:
            for one in list(self._of.get(participant, {}).values()):
                was = one.asking.incarnations.get(participant)
                if was is not None and was != self._incarnation(participant):
                    self._give_up(one, "restarted", "it was started anew, and its keys are gone with the old process")

    def _require_whole(self) -> None:
        error = self._broken()
        if error is not None:
            raise error

    def _require_noted(self, ids: Iterable[str]) -> None:
        """Waits until every answer is durable.

        Raises:
            Away: one could not be noted; who gave it was told so, and it must not be counted.
            RoundFailed: the journal does not take it.
        """
        while self._stopped is None:
            waiting = [self._durable[id] for id in ids if id in self._durable]
            if not waiting:
                return
            for one in waiting:
                if one.done() and (error := one.exception()) is not None:
                    passes = isinstance(error, StorageError) or getattr(error, "code", None) is Code.BUSY
                    kind = Away if passes else RoundFailed
                    raise kind(f"an answer could not be noted, and is not counted: {error}") from error
            self._change.wait(LOOK)

    def _opened(self, asking: Asking, answers: Answers) -> list[str]:
        ids, until = [], self._clock() + asking.seconds
        with self._change:
            for participant, payload in asking.payloads.items():
                assignment = Assignment(
                    secrets.token_hex(ID // 2),
                    asking.kind,
                    asking.round,
                    asking.attempt,
                    asking.seconds,
                    asking.limit,
                    payload,
                    asking.blobs,
                )
                one = _Open(assignment, participant, asking, answers, until)
                self._open[assignment.id] = one
                self._of.setdefault(participant, {})[assignment.id] = one
                ids.append(assignment.id)
            answers.left = len(ids)
        for participant in asking.incarnations:
            self.returned(participant)
        return ids

    def _fail_gone(self, ids: Iterable[str]) -> None:
        """Fails what is asked of participants that are gone."""
        for id in ids:
            one = self._open.get(id)
            if one is not None and self._incarnation(one.participant) is None:
                self._give_up(one, "absent", "nothing was heard of it any more")

    def _close(self, ids: Iterable[str]) -> None:
        with self._change:
            for id in ids:
                one = self._open.get(id)
                if one is not None:
                    self._give_up(one, "late", f"no answer came within {one.asking.seconds:g} seconds")

    def _give_up(self, one: _Open, kind: str, text: str) -> None:
        one.answers.failed[one.participant] = Failure(kind, text)
        self._drop(one, b"")

    def _drop(self, one: _Open, digest: bytes) -> None:
        id = one.assignment.id
        del self._open[id]
        mine = self._of[one.participant]
        del mine[id]
        if not mine:
            del self._of[one.participant]
        kept = replace(one.assignment, payload=b"", blobs={})
        self._closed[id] = _Closed(one.participant, digest, kept)
        while len(self._closed) > KEPT:
            old, _ = self._closed.popitem(last=False)
            self._durable.pop(old, None)
        one.answers.left -= 1
        if not one.answers.left:  # nobody waits for less
            self._change.notify_all()


def _passed_on(done: Future[Receipt], again: Future[Receipt]) -> None:
    error = done.exception()
    if error is None:
        again.set_result(Receipt(again=True))
    else:
        again.set_exception(error)


class Stopped(Exception):
    """The coordinator closes down; the run can be taken up again."""
