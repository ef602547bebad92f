"""A participant: it decides for itself in what it takes part, trains on its own data, and answers what it is asked."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors.torch import load
from torch import Tensor

from tacit import __version__
from tacit.errors import MalformedMessage, SecureAggregationError, StorageError, TacitError, UsageError
from tacit.learning.out_of_memory import out_of_memory
from tacit.learning.task import Task
from tacit.network.agreement import Agreement, Refusal
from tacit.network.consent.diary import Diary
from tacit.network.consent.folder import Folder
from tacit.network.consent.log import Log
from tacit.network.consent.policy import Policy
from tacit.network.consent.reading import read_file
from tacit.network.duties import Duties, Unwilling
from tacit.network.enrolling import enrolled
from tacit.network.event_loop import NEW_LOOP
from tacit.network.http.link import Link
from tacit.network.http.retrying import Unreachable
from tacit.network.identity.enrolment import Enrolment
from tacit.network.office import ID, INLINE, Assignment, Blob, CheckIn, Code, Failure, Refused, Reply
from tacit.network.terms import Terms
from tacit.network.training import digest_of

WAIT = 20.0
"""Seconds for which a check-in is held by the coordinator, where nothing is to be done."""
PATIENCE = 15.0
"""Seconds for which one request is tried again; what was to be said is said again after the next check-in."""
QUICK = 0.5
"""Seconds within which most is done; what takes longer is followed by check-ins meanwhile."""
PAUSE = 2.0
"""Seconds between two check-ins while a person is waited for."""
TOGETHER = 64
"""Most assignments that are begun at once."""
LARGEST = 2**32
"""Most bytes of a model of which nothing else is known."""
TERMS = 16 * 2**20
"""Most bytes of the terms."""
KEPT = 8
"""Answers that are kept, to be given again where the coordinator did not get them."""
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
        self._agreement: Agreement | None = None
        self._duties: Duties | None = None
        self._note, self._away, self._agreed = "", False, False
        self._stuck = ""
        """Why the log cannot be written; empty where it can."""
        self._counted, self._last = 0, (-1, -1)
        self._working: dict[str, asyncio.Task[Reply | None]] = {}
        self._asked: set[str] = set()
        self._awaited: tuple[str, asyncio.Future[None]] | None = None
        """The assignment whose answer is to ask what is next."""
        self._answers: OrderedDict[str, bytes] = OrderedDict()

    @property
    def engine(self) -> str:
        """What runs its local steps; empty before it has trained."""
        return "" if self._duties is None else self._duties.engine

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
        self._turn = asyncio.Lock()
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
                    for task in self._working.values():
                        task.cancel()
        self._diary.write("ended", run=self._run, state=ended.state, why=ended.why)
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
            reply = await self._told_next(link)
        except Unreachable as error:
            if not self._away:
                self._told(f"{error}; trying again until it can")
            self._away = True
            return None
        except Refused as refused:
            if refused.code is Code.REVOKED:
                return Ended("withdrawn", str(refused), self._counted, None)
            if refused.after is None:
                raise
            await asyncio.sleep(refused.after)
            return None
        if self._away:
            self._away = False
            self._told("the coordinator is back")
        if reply.state in ("finished", "failed"):
            await self._settle(reply)
            try:
                model = None if reply.model is None else load(await self._fetched(link, reply.model))
            except Unreachable as error:
                self._told(f"{error}; the model is fetched again")
                return None
            except Refused as refused:
                if refused.code is not Code.REVOKED:
                    raise
                return Ended("withdrawn", str(refused), self._counted, None)
            return Ended(reply.state, reply.said, self._counted, model)
        await self._agree(link, reply)
        if self._duties is not None:
            await self._settle(reply)  # before anything is trained: what was counted is remembered first
        self._asked = {assignment.id for assignment in reply.assignments}
        for assignment in () if self._stuck else reply.assignments:
            if assignment.id not in self._working and len(self._working) < TOGETHER:
                self._working[assignment.id] = asyncio.create_task(self._do(link, assignment))
        self._forget_done()
        if self._note or self._stuck:
            await asyncio.sleep(PAUSE)
            self._look_at_log()
        elif reply.wait:  # many wait already: it comes again then, or when it has done something
            tasks = self._working.values() or [asyncio.get_running_loop().create_future()]
            await asyncio.wait(tasks, timeout=min(reply.wait, WAIT), return_when=asyncio.FIRST_COMPLETED)
        return None

    async def _told_next(self, link: Link) -> Reply:
        """What to do: told with the receipt of what is done in a moment, or asked for.

        Raises:
            Unreachable, Refused: by the check-in.
        """
        if len(self._working) == 1:
            ((id, task),) = self._working.items()
            ready = asyncio.get_running_loop().create_future()
            self._awaited = id, ready
            await asyncio.wait({task, ready}, timeout=QUICK, return_when=asyncio.FIRST_COMPLETED)
            self._awaited = None
            reply = await task if ready.done() or task.done() else None
            if reply is not None:
                return reply
            self._forget_done()
        return await link.check_in(self._said())

    @property
    def _run(self) -> str:
        return "" if self._agreement is None else self._agreement.terms.run

    def _said(self) -> CheckIn:
        approval = b"" if self._agreement is None else self._agreement.approval()
        note = self._note or self._stuck or self._resting() if approval else self._note
        return CheckIn(
            self._incarnation,
            self._agreement.terms.hash if approval and self._agreement is not None else "",
            approval,
            __version__,
            self.engine,
            WAIT if approval and not self._stuck else 0.0,
            tuple(self._working),
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
        if self._agreement is None:
            try:
                self._agreement = await self._read(link, reply)
            except Unreachable:
                return
        if self._agreed and self._agreement.approval():
            return
        try:
            self._note = await asyncio.to_thread(self._agreement.decide, approve=self._approve)
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
        self._duties = Duties(
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

    # What it does

    async def _do(self, link: Link, assignment: Assignment) -> Reply | None:
        """Answers an assignment, or says why not. Returns what to do next, where the answer asked for that."""
        came = asyncio.get_running_loop().time()
        try:
            async with self._turn:  # one after another: a process has one model and one memory
                if assignment.id not in self._asked:  # it was closed while others were done first
                    return None
                body = self._answers.get(assignment.id)
                if body is None:
                    body = await self._answered(link, assignment, came)
                    self._keep(assignment.id, body)
            return (await link.answer(assignment.id, body, self._wait(assignment, body))).reply
        except (Refused, Unreachable) as error:
            self._note_error(assignment, str(assignment.kind), str(error))
        except Exception as error:  # whatever a task of the user's raises: the others must not wait for this one
            await self._failed(link, assignment, error)
        return None

    def _forget_done(self) -> None:
        """Forgets what is done."""
        self._working = {id: task for id, task in self._working.items() if not task.done()}

    def _wait(self, assignment: Assignment, body: bytes) -> float:
        """Seconds for which its answer waits for what is next: where that is all there is to do, and soon sent."""
        if self._awaited is None or self._awaited[0] != assignment.id or len(body) > INLINE:
            return 0.0
        self._awaited[1].set_result(None)
        return WAIT

    async def _answered(self, link: Link, assignment: Assignment, came: float) -> bytes:
        """What an assignment is answered with that came at a time of the event loop's clock."""
        if self._agreement is None or self._duties is None or not self._agreement.approval():
            raise Unwilling("the terms of this run are not approved here")
        blobs = {name: await self._fetched(link, blob) for name, blob in assignment.blobs.items()}
        left = max(0.001, assignment.seconds - (asyncio.get_running_loop().time() - came))
        return await asyncio.to_thread(self._worked, self._duties, replace(assignment, seconds=left), blobs)

    def _worked(self, duties: Duties, assignment: Assignment, blobs: dict[str, bytes]) -> bytes:
        """The answer; that it leaves is noted before it does: nothing leaves that is not in the log."""
        body = duties.answer(assignment, blobs)
        kind, round, attempt = str(assignment.kind), assignment.round, assignment.attempt
        digest, size = digest_of(body).hex(), len(body)
        self._diary.write("sent", run=self._run, round=round, attempt=attempt, kind=kind, digest=digest, size=size)
        return body

    async def _fetched(self, link: Link, blob: Blob) -> bytes:
        """The bytes of a blob.

        Raises:
            MalformedMessage: it has more than this run can need.
        """
        if blob.size > INLINE:
            duties = self._duties
            most = LARGEST if duties is None else await asyncio.to_thread(lambda: duties.largest)
            if blob.size > most:
                raise MalformedMessage(
                    f"the coordinator names {blob.size:,} bytes to fetch: this run has {most:,} at most"
                )
        return await link.blob(blob)

    async def _failed(self, link: Link, assignment: Assignment, error: Exception) -> None:
        """Says why there is no answer: to the coordinator without a word that may hold data, to its own log in full."""
        why = _failure(error)
        said = f"{type(error).__name__}: {error}"
        self._note_error(assignment, why.kind, said)
        self._told(f"round {assignment.round + 1}: {said}")
        try:
            await link.fail(assignment.id, why)
        except (Refused, Unreachable):
            return

    def _note_error(self, assignment: Assignment, kind: str, text: str) -> None:
        """Notes what went wrong; where the log itself cannot be written nothing is sent until it can."""
        try:
            self._diary.write("error", run=self._run, round=assignment.round, kind=kind, text=text)
        except StorageError as error:
            self._stuck = str(error)

    def _look_at_log(self) -> None:
        """Whether a log that could not be written can be again."""
        if self._stuck:
            with suppress(StorageError):
                text = f"nothing was sent for a while: {self._stuck}"
                self._diary.write("error", run=self._run, kind="storage", text=text)
                self._stuck = ""

    def _keep(self, id: str, body: bytes) -> None:
        self._answers[id] = body
        while len(self._answers) > KEPT:
            self._answers.popitem(last=False)

    async def _settle(self, reply: Reply) -> None:
        """Remembers what became of the last round."""
        outcome = reply.outcome
        if outcome is None or (outcome.round, outcome.attempt) == self._last:
            return
        key = outcome.round, outcome.attempt
        try:
            self._diary.write("counted", run=self._run, round=key[0], attempt=key[1], counted=outcome.counted)
        except StorageError as error:  # it is told again with every reply
            self._stuck = str(error)
            return
        self._last = key
        self._counted += outcome.counted
        if self._duties is not None:
            async with self._turn:
                await asyncio.to_thread(self._duties.settled, outcome)


def _failure(error: Exception) -> Failure:
    """Why an assignment is not answered, with nothing of the data."""
    if isinstance(error, Unwilling):
        return Failure("refused", str(error))
    if out_of_memory(error):
        return Failure("memory", "not enough memory to train")
    if isinstance(error, SecureAggregationError):
        return Failure("refused" if type(error).__name__ == "PolicyError" else "session", str(error))
    kind = "data" if isinstance(error, TacitError) else "unexpected"
    return Failure(kind, f"{type(error).__name__}: the participant's own log says more")
