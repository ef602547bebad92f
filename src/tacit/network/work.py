"""What a participant works on: assignments of one run, one after another, each noted in its log before it leaves."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from tacit.errors import MalformedMessage, SecureAggregationError, StorageError, TacitError
from tacit.learning.out_of_memory import out_of_memory
from tacit.network.agreement import Agreement
from tacit.network.consent.diary import Diary
from tacit.network.duties import Duties, Unwilling
from tacit.network.http.link import Link
from tacit.network.http.retrying import Unreachable
from tacit.network.office import INLINE, Assignment, Blob, Failure, Outcome, Refused, Reply
from tacit.network.training import digest_of

WAIT = 20.0
"""Seconds for which what is next is waited for."""
QUICK = 0.5
"""Seconds within which most is done; what takes longer is followed by check-ins meanwhile."""
TOGETHER = 64
"""Most assignments that are begun at once."""
LARGEST = 2**32
"""Most bytes of a model of which nothing else is known."""
KEPT = 8
"""Answers that are kept, to be given again where the coordinator did not get them."""


class Work:
    """The work of one participant, on one event loop at a time.

    Args:
        diary: where all is noted.
        told: called with a sentence for people.

    Attributes:
        agreement: the run's terms, and whether they are approved; None before they were read.
        duties: how assignments are answered; None before the terms were read.
        counted: in how many rounds it was counted.
        stuck: why the log cannot be written, empty where it can: nothing is sent meanwhile.
    """

    def __init__(self, diary: Diary, told: Callable[[str], None]) -> None:
        self._diary, self._told = diary, told
        self.agreement: Agreement | None = None
        self.duties: Duties | None = None
        self.counted, self._last = 0, (-1, -1)
        self.stuck = ""
        self._turn = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[Reply | None]] = {}
        self._asked: set[str] = set()
        self._awaited: tuple[str, asyncio.Future[None]] | None = None
        """The assignment whose answer is to ask what is next."""
        self._answers: OrderedDict[str, bytes] = OrderedDict()

    @property
    def run(self) -> str:
        """Of what run; empty before the terms were read."""
        return "" if self.agreement is None else self.agreement.terms.run

    @property
    def ids(self) -> tuple[str, ...]:
        """Assignments that are worked on."""
        return tuple(self._tasks)

    def begin(self, link: Link, assignments: Iterable[Assignment]) -> None:
        """Takes up what is new of all that is asked now; what is asked no longer is not begun."""
        asked = list(assignments)
        self._asked = {assignment.id for assignment in asked}
        for assignment in () if self.stuck else asked:
            if assignment.id not in self._tasks and len(self._tasks) < TOGETHER:
                self._tasks[assignment.id] = asyncio.create_task(self._do(link, assignment))
        self._forget_done()

    async def next(self) -> Reply | None:
        """What the answer to the only assignment was answered with: what is next. None where it is to be asked for."""
        if len(self._tasks) != 1:
            return None
        ((id, task),) = self._tasks.items()
        ready = asyncio.get_running_loop().create_future()
        self._awaited = id, ready
        await asyncio.wait({task, ready}, timeout=QUICK, return_when=asyncio.FIRST_COMPLETED)
        self._awaited = None
        reply = await task if ready.done() or task.done() else None
        if reply is None:
            self._forget_done()
        return reply

    async def rest(self, seconds: float) -> None:
        """Waits, or until something is done."""
        tasks = self._tasks.values() or [asyncio.get_running_loop().create_future()]
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    def cancel(self) -> None:
        """Lets go of everything: the next may be on another event loop."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks, self._turn = {}, asyncio.Lock()

    def _forget_done(self) -> None:
        self._tasks = {id: task for id, task in self._tasks.items() if not task.done()}

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

    def _wait(self, assignment: Assignment, body: bytes) -> float:
        """Seconds for which its answer waits for what is next: where that is all there is to do, and soon sent."""
        if self._awaited is None or self._awaited[0] != assignment.id or len(body) > INLINE:
            return 0.0
        self._awaited[1].set_result(None)
        return WAIT

    async def _answered(self, link: Link, assignment: Assignment, came: float) -> bytes:
        """What an assignment is answered with that came at a time of the event loop's clock."""
        if self.agreement is None or self.duties is None or not self.agreement.approval():
            raise Unwilling("the terms of this run are not approved here")
        blobs = {name: await self.fetched(link, blob) for name, blob in assignment.blobs.items()}
        left = max(0.001, assignment.seconds - (asyncio.get_running_loop().time() - came))
        return await asyncio.to_thread(self._worked, self.duties, replace(assignment, seconds=left), blobs)

    def _worked(self, duties: Duties, assignment: Assignment, blobs: dict[str, bytes]) -> bytes:
        """The answer; that it leaves is noted before it does: nothing leaves that is not in the log."""
        body = duties.answer(assignment, blobs)
        kind, round, attempt = str(assignment.kind), assignment.round, assignment.attempt
        digest, size = digest_of(body).hex(), len(body)
        self._diary.write("sent", run=self.run, round=round, attempt=attempt, kind=kind, digest=digest, size=size)
        return body

    def _keep(self, id: str, body: bytes) -> None:
        self._answers[id] = body
        while len(self._answers) > KEPT:
            self._answers.popitem(last=False)

    async def fetched(self, link: Link, blob: Blob) -> bytes:
        """The bytes of a blob.

        Raises:
            MalformedMessage: it has more than this run can need.
        """
        if blob.size > INLINE:
            duties = self.duties
            most = LARGEST if duties is None else await asyncio.to_thread(lambda: duties.largest)
            if blob.size > most:
                raise MalformedMessage(
                    f"the coordinator names {blob.size:,} bytes to fetch: this run has {most:,} at most"
                )
        return await link.blob(blob)

    # What came of it

    async def settle(self, outcome: Outcome | None) -> None:
        """Remembers what became of the last round."""
        if outcome is None or (outcome.round, outcome.attempt) == self._last:
            return
        key = outcome.round, outcome.attempt
        try:
            self._diary.write("counted", run=self.run, round=key[0], attempt=key[1], counted=outcome.counted)
        except StorageError as error:  # it is told again with every reply
            self.stuck = str(error)
            return
        self._last = key
        self.counted += outcome.counted
        if self.duties is not None:
            async with self._turn:
                await asyncio.to_thread(self.duties.settled, outcome)

    def look_at_log(self) -> None:
        """Whether a log that could not be written can be again."""
        if self.stuck:
            with suppress(StorageError):
                text = f"nothing was sent for a while: {self.stuck}"
                self._diary.write("error", run=self.run, kind="storage", text=text)
                self.stuck = ""

    async def _failed(self, link: Link, assignment: Assignment, error: Exception) -> None:
        """Says why there is no answer: to the coordinator without a word that may hold data, to its own log in full."""
        why = _failure(error)
        said = f"{type(error).__name__}: {error}"
        self._note_error(assignment, why.kind, said)
        self._told(f"round {assignment.round + 1}: {said}")
        with suppress(Refused, Unreachable):
            await link.fail(assignment.id, why)

    def _note_error(self, assignment: Assignment, kind: str, text: str) -> None:
        """Notes what went wrong; where the log itself cannot be written nothing is sent until it can."""
        try:
            self._diary.write("error", run=self.run, round=assignment.round, kind=kind, text=text)
        except StorageError as error:
            self.stuck = str(error)


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
