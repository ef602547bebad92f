"""A participant: it decides for itself in what it takes part, trains on its own data, and answers what it is asked."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors.torch import load
from torch import Tensor

from tacit import __version__
from tacit.errors import MalformedMessage, UsageError
from tacit.learning.task import Task
from tacit.network.agreement import Agreement, Refusal
from tacit.network.consent.diary import Diary
from tacit.network.consent.folder import Folder
from tacit.network.consent.log import Log
from tacit.network.consent.policy import Policy
from tacit.network.consent.reading import read_file
from tacit.network.duties import Duties
from tacit.network.enrolling import enrolled
from tacit.network.event_loop import NEW_LOOP
from tacit.network.http.link import Link
from tacit.network.http.retrying import Unreachable
from tacit.network.identity.enrolment import Enrolment
from tacit.network.office import ID, CheckIn, Code, Refused, Reply
from tacit.network.terms import Terms
from tacit.network.work import WAIT, Work

PATIENCE = 15.0
"""Seconds for which one request is tried again; what was to be said is said again after the next check-in."""
PAUSE = 2.0
"""Seconds between two check-ins while a person is waited for."""
TERMS = 16 * 2**20
"""Most bytes of the terms."""
Data = tuple[Any, Any] | Callable[[Terms], tuple[Any, Any]]
"""Inputs and targets (n, ...), or a function that makes them as the terms' schema says."""


@dataclass(frozen=True)
class Ended:
    """How a run ended for a participant.

    Attributes:
        state: "finished", "failed" or "withdrawn".
        why: in a sentence.
        rounds: in how many of its rounds this participant was counted, while it was there.
        model: the trained model by name of its parts; None where there is none.
    """

    state: str
    why: str
    rounds: int
    model: dict[str, Tensor] | None


class Participant:
    """One participant of a federation, with its data, for as long as a run lasts.

        tacit.Participant("tacit+https://...", (x, y), name="clinic").run()

    Args:
        where: an invitation's text the first time; after that it may be left out, for the folder knows.
        data: its inputs and targets (n, ...), or a function that makes them from the terms.
        name: under which it enrols.
        folder: of its key, policy, log and ledger; the user's own when None.
        task: a `tacit.Task` of one's own, where the plan's scenario has none.
        train: a function of one's own for the local steps, which knows NumPy alone: see `learning.foreign`.
        policy: what it admits; that in the folder when None.
        approve: approves what the policy admits, without asking a person.
        certificate: file of its own, where the coordinator asks for one in TLS.
        key: file of that certificate's key.
        told: called with a sentence for people, now and then.

    Raises:
        UsageError: it is not enrolled, and there is no invitation.
    """

    def __init__(
        self,
        where: str | None = None,
        data: Data | None = None,
        *,
        name: str | None = None,
        folder: str | Path | None = None,
        task: Task | None = None,
        train: Callable[..., Any] | None = None,
        policy: Policy | None = None,
        approve: bool = False,
        certificate: Path | None = None,
        key: Path | None = None,
        told: Callable[[str], None] = lambda text: None,
    ) -> None:
        if data is None:
            raise UsageError("a participant has data: give (x, y), or a function of the terms that makes them")
        self._folder = Folder.at(folder).make()
        if where is not None and not self._folder.enrolment.is_file():
            if not name:
                raise UsageError("give the name under which this participant enrols, name='clinic-3', say")
            enrolled(where, name, self._folder.path, certificate, key)
        self._enrolment = Enrolment.read(self._folder.path)
        self.name, self._identity = self._enrolment.name, self._enrolment.identity(self._folder.path)
        self._data, self._task, self._train, self._pair = data, task, train, (certificate, key)
        self.policy, self._approve, self._told = policy or read_file(self._folder.policy), approve, told
        self._diary = Diary(Log(self._folder.log), self.policy.time_zone)
        self._incarnation = secrets.token_hex(ID // 2)
        self._note, self._away, self._agreed = "", False, False
        self._work = Work(self._diary, told)

    @property
    def engine(self) -> str:
        """What runs its local steps; empty before it has trained."""
        duties = self._work.duties
        return "" if duties is None else duties.engine

    def run(self) -> Ended:
        """Takes part until the run has ended, whatever breaks in between.

        Raises:
            Refusal: its policy, or its person, says no.
            TacitError: this participant cannot take part, with the reason.
        """
        with asyncio.Runner(loop_factory=NEW_LOOP) as runner:
            return runner.run(self.attend())

    async def attend(self) -> Ended:
        """The same as `run`, on a running event loop."""
        with self._folder.held():
            return await self._attend()

    async def _attend(self) -> Ended:
        self._diary.write(
            "started", coordinator=self._enrolment.url, version=__version__, incarnation=self._incarnation
        )
        with self.policy.spending(self._folder.ledger) as self._spending:
            async with self._link() as link:
                try:
                    while (ended := await self._attended(link)) is None:
                        pass
                finally:
                    self._work.cancel()
        self._diary.write("ended", run=self._work.run, state=ended.state, why=ended.why)
        return ended

    def _link(self) -> Link:
        enrolment = self._enrolment
        context, cache = enrolment.context(*self._pair), self._folder.cache
        return Link(
            self._identity,
            url=enrolment.url,
            context=context,
            cache=cache,
            insecure=enrolment.insecure,
            patience=PATIENCE,
        )

    async def _attended(self, link: Link) -> Ended | None:
        """What the coordinator tells, and what follows from it."""
        try:
            reply = await self._work.next() or await link.check_in(self._said())
        except Unreachable as error:
            if not self._away:
                self._told(f"{error}; trying again until it can")
            self._away = True
            return None
        except Refused as refused:
            if refused.code is Code.REVOKED:
                return Ended("withdrawn", str(refused), self._work.counted, None)
            if refused.after is None:
                raise
            await asyncio.sleep(refused.after)
            return None
        if self._away:
            self._away = False
            self._told("the coordinator is back")
        if reply.state in ("finished", "failed"):
            return await self._ended(link, reply)
        await self._agree(link, reply)
        if self._work.duties is not None:
            await self._work.settle(reply.outcome)  # before anything is trained: what was counted is remembered first
        self._work.begin(link, reply.assignments)
        if self._note or self._work.stuck:
            await asyncio.sleep(PAUSE)
            self._work.look_at_log()
        elif reply.wait:  # many wait already: it comes again then, or when it has done something
            await self._work.rest(min(reply.wait, WAIT))
        return None

    async def _ended(self, link: Link, reply: Reply) -> Ended | None:
        """What is left of a run that has ended; None where the model cannot be fetched yet."""
        await self._work.settle(reply.outcome)
        counted = self._work.counted
        try:
            model = None if reply.model is None else load(await self._work.fetched(link, reply.model))
        except Unreachable as error:
            self._told(f"{error}; the model is fetched again")
            return None
        except Refused as refused:
            if refused.code is not Code.REVOKED:
                raise
            return Ended("withdrawn", str(refused), counted, None)
        return Ended(reply.state, reply.said, counted, model)

    def _said(self) -> CheckIn:
        work, terms = self._work, ""
        approval = b"" if work.agreement is None else work.agreement.approval()
        if work.agreement is not None and approval:
            terms = work.agreement.terms.hash
        note = self._note or work.stuck or self._resting() if approval else self._note
        return CheckIn(
            self._incarnation,
            terms,
            approval,
            __version__,
            self.engine,
            WAIT if approval and not work.stuck else 0.0,
            work.ids,
            note[:500],
        )

    def _resting(self) -> str:
        """Why its policy lets it not train now; empty where it does."""
        now = datetime.now(UTC)
        return self.policy.may_train(now, self._diary.today(now)) or ""

    # What it agrees to

    async def _agree(self, link: Link, reply: Reply) -> None:
        """Looks at the terms of the run, and approves them where its policy, or its person, does."""
        if reply.terms is None:
            return
        if self._work.agreement is None:
            try:
                self._work.agreement = await self._read(link, reply)
            except Unreachable:
                return
        agreement = self._work.agreement
        if self._agreed and agreement.approval():
            return
        try:
            self._note = await asyncio.to_thread(agreement.decide, approve=self._approve)
        except Refusal as refusal:
            self._note = " ".join(str(refusal).split())
            await link.check_in(self._said())
            raise
        self._agreed = not self._note

    async def _read(self, link: Link, reply: Reply) -> Agreement:
        """Reads the terms, and makes the data that they ask for."""
        assert reply.terms is not None
        if reply.terms.size > TERMS:
            raise MalformedMessage(f"the coordinator's terms have {reply.terms.size:,} bytes: {TERMS:,} at most")
        terms = await asyncio.to_thread(Terms.decode, await link.blob(reply.terms))
        given = self._data
        data = await asyncio.to_thread(given, terms) if callable(given) else given
        own = terms.schema.check(*data)
        agreement = Agreement(
            terms,
            len(own[1]),
            folder=self._folder,
            identity=self._identity,
            authority=self._enrolment.authority,
            policy=self.policy,
            diary=self._diary,
            spending=self._spending,
            told=self._told,
        )
        self._work.duties = Duties(
            terms,
            own,
            identity=self._identity,
            authority=self._enrolment.authority,
            policy=self.policy,
            memory=self._folder.memory,
            diary=self._diary,
            spending=self._spending,
            task=self._task,
            train=self._train,
        )
        return agreement
