"""The coordinator: it knows who takes part, asks them, and carries the rounds out; an `Office` for the HTTP surface."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import platform
import random
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from safetensors.torch import save

from tacit.aggregation.secure.identity import Authority
from tacit.errors import StorageError, UsageError
from tacit.evaluation import Test
from tacit.federation import Federation
from tacit.learning.task import Task
from tacit.network.deployment import deployed, task_digest, task_of
from tacit.network.desk import Desk
from tacit.network.journal import Journal, State
from tacit.network.minutes import Minutes
from tacit.network.office import (
    Assignment,
    Blob,
    CheckIn,
    Code,
    Enrolled,
    Failure,
    Receipt,
    Refused,
    Reply,
    Withdrawal,
)
from tacit.network.remote import Remote
from tacit.network.roll import Roll
from tacit.network.rounds_thread import Progress, RoundsThread
from tacit.network.shelf import Shelf
from tacit.network.telling import status_of
from tacit.network.terms import Terms
from tacit.network.waiting_room import WaitingRoom
from tacit.plan import Plan, build
from tacit.population.schema import Schema
from tacit.record.folder import RunFolder
from tacit.record.run import Run
from tacit.rounds.securing import most_together, securing_of

T = TypeVar("T")
HOLD = 25.0
"""Most seconds for which a participant that checks in is held."""
REMAINS = (
    "The model keeps what it learned from the rounds in which you were counted: sums over several participants, from "
    "which your part cannot be taken out again. A model without you has to be trained anew.",
    "Of your reports themselves nothing was kept: in a secure sum the coordinator never saw one.",
    "The journal keeps your name, your public key, and in which rounds you were asked and answered.",
)


class Coordinator:
    """See `office.Office`.

    Args:
        plan: of the run, with the number of participants in [network].
        schema: of the examples.
        folder: of the run: journal, checkpoints, blobs, result.
        authority: certifies participants.
        task: of one's own, where the plan's scenario has none.
        test: what the model is measured on after a round; None measures nothing here.
        journal: where it is kept; an SQLite file in the folder when None.
        loopback: without TLS.
        clock: seconds since 1970.

    Raises:
        TacitError: the plan cannot be carried out between machines, or another coordinator leads here.
    """

    def __init__(
        self,
        plan: Plan,
        schema: Schema,
        folder: str | Path,
        authority: Authority,
        *,
        task: Task | None = None,
        test: Test | None = None,
        journal: str | Path | None = None,
        loopback: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        settings = build.network(plan)
        if settings.participants is None:
            raise UsageError("the plan does not say how many take part: add participants = N to [network]")
        if settings.schema is not None and settings.schema != schema.hash:
            raise UsageError(
                f"the plan is about the schema {settings.schema[:16]}..., and this is {schema.hash[:16]}..."
            )
        self.plan, self.schema, self.settings, self._test = plan, schema, settings, test
        self.folder, self._authority, self._clock = RunFolder(Path(folder)), authority, clock
        self._task = task_of(plan, schema, task)
        expected = self.federation(tuple(f"participant-{k}" for k in range(settings.participants)))
        sums = securing_of(expected)  # every problem of the plan was found by now
        self.sums: Mapping[str, Any] | None = None if sums is None else sums.facts(most_together(expected))
        """What the run says of its secure sums; None where the coordinator adds reports itself."""
        try:
            self.folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"the folder {folder} cannot be made: {error}") from error
        holder = f"{platform.node()}, process {os.getpid()}"
        self.journal = Journal.open(journal or self.folder.path / "journal.sqlite", holder=holder, clock=clock)
        try:
            self.shelf = Shelf(self.folder.path / "blobs")
            self.terms = self._agreed(loopback)
            self._terms = self.shelf.put(self.terms.encode())
        except BaseException:
            self.journal.close()
            raise
        self.roll = Roll(self.journal.participants(), settings.absence)
        self.minutes = Minutes(self.journal)
        self.waiting = WaitingRoom()
        self.desk = Desk(self.waiting.wake, self.roll.process, self._note_answer, broken=self.journal.broken)
        self._rounds: RoundsThread | None = None
        self._thread: threading.Thread | None = None
        self._told: set[str] = set()
        self._model: Blob | None = None
        self._idle = Progress()
        self.started = int(clock() * 1000)
        self.mutual = False
        """Whether participants show certificates of their own in TLS."""
        self.load: Callable[[], Mapping[str, Any]] = dict
        self.failures: Callable[[], Mapping[str, int]] = dict
        """What the process that serves it tells of itself."""
        self.over = threading.Event()
        """Set when the run has ended, or cannot go on in this process."""

    def federation(self, names: tuple[str, ...]) -> Federation:
        """The federation of the run with these participants."""
        known = hashlib.sha256("\x1f".join(names).encode("utf-8", "surrogatepass")).hexdigest()
        return deployed(self.plan, self._task, Remote(self.schema, names, known_as=f"participants:{known[:32]}"))

    def open(self) -> None:
        """Takes up work: called on the event loop that will serve. A run that was begun goes on."""
        self.waiting.open()
        roster = self.journal.recall("roster")
        if roster is not None:
            self._begin(tuple(json.loads(roster)))

    def close(self, reason: str = "the coordinator is closing down") -> None:
        """Ends the rounds at the next point from which they can go on, and gives the journal back."""
        self.desk.stop(reason)
        self.waiting.wake()
        if self._thread is not None:
            self._thread.join()
        self.journal.close()

    @property
    def progress(self) -> Progress:
        """How far the run has come."""
        return self._idle if self._rounds is None else self._rounds.progress

    @property
    def result(self) -> Run | None:
        """The run that has ended; None before.

        Raises:
            TacitError: the one that made it fail.
        """
        if self._rounds is None:
            return None
        if self._rounds.error is not None:
            raise self._rounds.error
        return self._rounds.result

    def everybody_knows(self) -> bool:
        """Whether all who take part have been told that the run has ended; nobody is, where it has only stopped."""
        stopped = self.progress.state not in ("finished", "failed")
        return self._rounds is None or stopped or set(self._rounds.names) <= self._told

    # What participants ask

    def key_of(self, participant: str) -> bytes:
        """See `Office.key_of`."""
        return self.roll.key_of(participant)

    async def fresh(self, participant: str, nonce: bytes, until: int) -> bool:
        """See `Office.fresh`."""
        return await self._durable(self.journal.fresh(participant, nonce, until))

    async def enrol(self, token: str, name: str, key: bytes) -> Enrolled:
        """See `Office.enrol`."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        record = await self._durable(self.journal.enrol(digest, name, key))
        self.minutes.tell("participant.enrolled", participant=record.name)
        self.roll.add(record)
        certificate = self._authority.certify(record.name, record.key)
        return Enrolled(record.name, certificate.authority, certificate.signature)

    def check_in(self, participant: str, said: CheckIn) -> Coroutine[Any, Any, Reply]:
        """See `Office.check_in`; no frame of it is kept while it waits."""
        if self.roll.seen(participant, said, self.terms.hash):
            self.desk.returned(participant)
        self._begin_if_ready()
        wait = said.wait if said.terms == self.terms.hash else 0.0
        later = wait > 0 and self.waiting.full_for(participant)
        return self._next(participant, wait, frozenset(said.working), later=later)

    def next(self, participant: str, wait: float) -> Coroutine[Any, Any, Reply]:
        """See `Office.next`."""
        return self._next(participant, wait, frozenset())

    async def _next(self, participant: str, wait: float, working: frozenset[str], *, later: bool = False) -> Reply:
        """What to do beside what is being worked on.

        Args:
            participant: who asks.
            wait: seconds for which to wait while there is nothing.
            working: what it works on.
            later: it is not to wait, but to come again. When is drawn, so that not all come at once.
        """
        self.roll.key_of(participant)  # it may have been revoked since its request came
        reply: Reply | None = self._reply(participant, working)
        assert reply is not None
        if wait <= 0 or _has_news(reply, working):
            return reply
        hold = min(wait, HOLD, self.settings.absence / 3)  # longer, and it would count as gone meanwhile
        if later:
            return replace(reply, wait=hold * random.uniform(0.5, 1.0))
        reply = None  # thousands wait: none keeps what it will not be told, and each costs a future and a timer
        await self.waiting.wait(participant, hold)
        self.roll.key_of(participant)  # it may have been revoked meanwhile
        self.roll.touch(participant)
        return self._reply(participant, working)

    def expected(self, participant: str, assignment: str) -> Assignment:
        """See `Office.expected`."""
        return self.desk.expected(participant, assignment)

    async def answer(self, participant: str, assignment: str, body: bytes | memoryview, digest: bytes) -> Receipt:
        """See `Office.answer`."""
        self.roll.touch(participant)
        return await self._durable(self.desk.take(participant, assignment, body, digest))

    async def fail(self, participant: str, assignment: str, why: Failure) -> Receipt:
        """See `Office.fail`."""
        self.desk.fail(participant, assignment, why)
        return Receipt()

    def blob(self, participant: str, sha256: str) -> Path | bytes:
        """See `Office.blob`."""
        path = self.shelf.path(sha256)
        if self._model is not None and sha256 == self._model.sha256:
            self._told.add(participant)
        if path is None:
            raise Refused(
                Code.UNKNOWN, "there is no blob of this content", "check in again: it is of a round that is over"
            )
        return path

    async def withdraw(self, participant: str) -> Withdrawal:
        """See `Office.withdraw`."""
        self.roll.add(await self._durable(self.journal.withdraw(participant)))
        self.minutes.tell("participant.withdrew", participant=participant)
        counted = await asyncio.to_thread(self._counted, participant)
        return Withdrawal(counted, REMAINS)

    def status(self) -> Mapping[str, Any]:
        """See `Office.status`."""
        return status_of(self)

    def now(self) -> int:
        """Milliseconds since 1970."""
        return int(self._clock() * 1000)

    def unready(self) -> list[str]:
        """See `Office.unready`."""
        problem = self.journal.problem
        return [] if problem is None else [problem]

    # What the rounds tell

    def _note_answer(self, assignment: Assignment, participant: str, digest: bytes, size: int) -> Future[Receipt]:
        return self.journal.answer(assignment.round, assignment.attempt, participant, assignment.kind, digest, size)

    def _reply(self, participant: str, working: frozenset[str]) -> Reply:
        """All that one is told; of what it works on already, blobs are named alone."""
        progress = self.progress
        if self.over.is_set() and self._model is None:
            self._told.add(participant)
        saving = progress.state == "finished" and self._model is None
        return Reply(
            "training" if saving else progress.state,
            len(progress.rows),
            self.plan.rounds,
            tuple(_named(one) if one.id in working else one for one in self.desk.open_for(participant)),
            self._terms,
            progress.outcomes.get(participant),
            self._model,
            0.0,
            progress.reason,
        )

    def _begin_if_ready(self) -> None:
        """Begins the run when so many have approved it as are to take part; who they are stays so."""
        if self._rounds is not None:
            return
        if self.roll.approvals < self.terms.participants:
            return
        ready = self.roll.ready(self.terms.hash)
        if len(ready) >= self.terms.participants:
            names = sorted(ready)[: self.terms.participants]
            self._begin(tuple(json.loads(self.journal.settle("roster", json.dumps(names)))))

    def _begin(self, names: tuple[str, ...]) -> None:
        self._rounds = RoundsThread(
            self.plan,
            self.federation,
            self.terms.run,
            names,
            self.folder,
            self.terms.hash,
            self._terms,
            (bytes.fromhex(self.terms.authority),),
            self.desk,
            self.shelf,
            self.minutes,
            self.roll,
            self._test,
            self._changed,
        )
        opened = {"terms": self.terms.hash, "scenario": self.plan.scenario, "rounds": self.plan.rounds}
        done = self.folder.rounds
        event, more = ("run.resumed", {"round": done}) if done else ("run.opened", opened)
        self.minutes.tell(event, run=self.terms.run, **more)
        self._thread = self._rounds.start()

    def _changed(self) -> None:
        """Called by the rounds when something is to be seen."""
        rounds = self._rounds
        if rounds is not None and rounds.result is not None and self._model is None:
            rounds.result.save(self.folder.path)
            self._model = self.shelf.put(save({n: t.contiguous() for n, t in rounds.result.tensors.items()}))
        ended = self.progress.state in ("finished", "failed")
        stopped = rounds is not None and rounds.error is not None and not ended
        if (ended or stopped) and not self.over.is_set():
            told = {"run": self.terms.run, "round": len(self.progress.rows), "reason": self.progress.reason}
            if ended:
                self.minutes.tell(f"run.{self.progress.state}", **told)
            else:  # the run has not ended: it goes on when the coordinator is started anew
                self.minutes.tell("coordinator.failed", problem=self.progress.reason)
            self.over.set()
            self.waiting.wake()

    def _agreed(self, loopback: bool) -> Terms:
        """The terms of this folder's run, which never change.

        Raises:
            UsageError: the folder is of a run with other terms.
        """
        run = str(self.journal.settle("run", secrets.token_hex(16)))
        assert self.settings.participants is not None
        terms = Terms(
            run,
            self.plan,
            self.schema,
            self.settings.participants,
            task_digest(self._task),
            self._authority.key.hex(),
            loopback,
        )
        kept = self.journal.settle("terms", terms.encode())
        if kept != terms.encode():
            raise UsageError(
                f"{self.folder.path} holds a run with other terms: another plan, schema, task or authority. Take it up "
                "with those, or give another folder"
            )
        return terms

    def _counted(self, participant: str) -> int:
        published = [one for one in self.journal.rounds() if one.state is State.PUBLISHED]
        return sum(participant in one.facts.get("counted", ()) for one in published)

    async def _durable(self, future: Future[T]) -> T:
        """What a write of the journal gives, when it is on disk.

        Raises:
            Refused: it cannot be written now.
        """
        try:
            return await asyncio.wrap_future(future)
        except StorageError as error:
            raise Refused(Code.BUSY, str(error), "come again later", after=5.0) from error


def _has_news(reply: Reply, working: frozenset[str]) -> bool:
    over = reply.state in ("finished", "failed")
    return over or any(one.id not in working for one in reply.assignments)


def _named(one: Assignment) -> Assignment:
    """An assignment without the blobs that came with it when it was told first."""
    blobs = {name: replace(blob, data=b"") if blob.data else blob for name, blob in one.blobs.items()}
    return replace(one, blobs=blobs)
