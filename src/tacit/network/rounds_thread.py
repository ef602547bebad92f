"""The rounds of a coordinator, in a thread of their own: begun, tried again where they fail, taken up after a crash."""

from __future__ import annotations

import errno
import hashlib
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.errors import RoundFailed, StorageError, TacitError, TacitWarning
from tacit.evaluation import Test
from tacit.federation import Federation
from tacit.network.buffering import Buffer
from tacit.network.desk import Desk, Stopped
from tacit.network.journal import State
from tacit.network.journal.errors import Away
from tacit.network.minutes import Minutes
from tacit.network.networked import Networked
from tacit.network.office import Blob, Outcome
from tacit.network.roll import Roll
from tacit.network.shelf import Shelf
from tacit.plan import Plan, build
from tacit.record import checkpoint as checkpoints
from tacit.record.callback import Callback
from tacit.record.folder import RunFolder
from tacit.record.run import Run

LOOK = 0.2
"""Seconds between two looks at whether enough participants are there."""
PAUSE = 1.0
"""Seconds before a round that failed is tried again; twice as many after every further try."""


class TooFewLeft(RoundFailed):
    """So many have left for good that no round can come about any more."""


@dataclass
class Progress:
    """How far a run has come; read by the event loop, written by the rounds.

    Attributes:
        state: "gathering", "training", "finished", "failed".
        reason: why it ended.
        rows: the history.
        outcomes: for everybody the last round that is over.
        facts: how the run is made.
    """

    state: str = "gathering"
    reason: str = ""
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class RoundsThread:
    """Carries a plan out with the participants of a coordinator.

    Attributes:
        plan: of the run.
        federation: makes it for these names, once they are known.
        run: names the run.
        names: of the participants, in order.
        folder: of the run.
        terms: their hash.
        agreed: the terms themselves, on the shelf.
        authorities: whose word for an identity is taken.
        desk, shelf, minutes, roll: of the coordinator.
        test: what the model is measured on after a round; None measures nothing here.
        changed: called when the progress has changed, in this thread.
    """

    plan: Plan
    federation: Callable[[tuple[str, ...]], Federation]
    run: str
    names: tuple[str, ...]
    folder: RunFolder
    terms: str
    agreed: Blob
    authorities: tuple[bytes, ...]
    desk: Desk
    shelf: Shelf
    minutes: Minutes
    roll: Roll
    test: Test | None
    changed: Callable[[], None]
    progress: Progress = field(default_factory=Progress)
    result: Run | None = None
    error: BaseException | None = None

    def start(self) -> threading.Thread:
        """Begins, in a new thread."""
        thread = threading.Thread(target=self._carry_out, name="rounds", daemon=True)
        thread.start()
        return thread

    def _carry_out(self) -> None:
        try:
            self.result = self._trained()
            self.progress.state, self.progress.reason = "finished", str(self.result.facts["ended"])
            self.changed()
        except Stopped as stopped:
            self.progress.reason = str(stopped)
        except StorageError as error:  # the run has not failed: it goes on when the coordinator is started anew
            self.result, self.error = None, error
            self.progress.state, self.progress.reason = "training", str(error)
        except OSError as error:  # of the coordinator's own disk: the same
            self.result, self.error = None, StorageError(f"the folder {self.folder.path} cannot be used: {error}")
            self.progress.state, self.progress.reason = "training", str(self.error)
        except TacitError as error:
            self.error = error
            why = f". What each participant said: tacit explain-round {self._done + 1} --dir {self.folder.path}"
            self.progress.state = "failed"
            self.progress.reason = f"{error}{why if isinstance(error, RoundFailed) else ''}"
        except BaseException as error:  # a fault of tacit or of the task: whoever waits is told, and raises it
            self.error = error
            self.progress.state, self.progress.reason = "failed", f"{type(error).__name__}: {error}"
        self.changed()

    def _trained(self) -> Run:
        """Goes through the rounds, again from the last that is done where one fails.

        Raises:
            RoundFailed: a round failed as often as it is tried.
            StorageError: something cannot be stored, and waiting does not help.
        """
        self.minutes.settle(self._done)
        self._publish(self._done)
        self.progress.outcomes = self.minutes.outcomes()
        while True:
            place = self._place()
            resumed = bool(checkpoints.found(self.folder.checkpoints))
            try:
                return self.federation(self.names).run(
                    self.plan.rounds,
                    self.test,
                    evaluate_every=self.plan.run.evaluate_every,
                    until=build.stopping(self.plan),
                    callbacks=[_Watching(self)],
                    checkpoint=self.folder.checkpoints,
                    checkpoint_every=1,
                    resume=resumed,
                    progress=False,
                    place=place,
                )
            except RoundFailed as error:
                failed: TacitError = error
            except StorageError as error:
                failed = error
            try:
                if isinstance(failed, RoundFailed):
                    self._again(failed)
                else:
                    self._stored_again(failed)
            except Away as error:  # while it was noted that the round had failed
                self._stored_again(error)

    def _again(self, error: RoundFailed) -> None:
        """Notes that a round failed, and waits before it is tried again.

        Raises:
            RoundFailed: it was tried often enough.
        """
        tried = self.minutes.abandoned(self._done, str(error))
        limit = build.network(self.plan).attempts
        if isinstance(error, TooFewLeft) or not 0 < tried < limit:
            raise error
        warnings.warn(f"{error}. Tried again ({tried} of {limit} times)", TacitWarning, stacklevel=2)
        self.changed()
        self.desk.wait(PAUSE * 2 ** (tried - 1))

    def _stored_again(self, error: TacitError) -> None:
        """Waits until there is space again, or the database is back.

        Raises:
            StorageError: it was something else, or the journal must be opened anew.
        """
        journal, away = self.minutes.journal, isinstance(error, Away) or _no_space(error)
        if journal.broken() is not None or not (away or journal.problem is not None or journal.scarce):
            raise error
        warnings.warn(f"{error}. The round is tried again when that is mended", TacitWarning, stacklevel=2)
        self.changed()
        if away:  # a read may fail before a write has: the journal learns of it by one
            with suppress(StorageError):
                journal.renew()
            self.desk.wait(LOOK)
        while journal.problem is not None or journal.scarce:
            self.desk.wait(LOOK)

    def _place(self) -> Networked:
        return Networked(
            self.run,
            self.names,
            self.desk,
            self.shelf,
            self.minutes,
            build.network(self.plan),
            self.authorities,
            self._there,
            lambda name: self.roll.process(name) or "",
            self.agreed,
            self._buffer,
        )

    @cached_property
    def _buffer(self) -> Buffer | None:
        """Of those who train, where rounds overlap; it outlives rounds that fail."""
        how = build.overlapping(self.plan)
        if how is None:
            return None
        patience = build.network(self.plan).patience
        mine = set(self.names)
        ready = lambda: [name for name in self.roll.ready(self.terms) if name in mine]  # noqa: E731
        return Buffer(how, self.desk, patience, ready, self.roll.process)

    def _there(self, round: int) -> NDArray[np.bool_]:
        """(N,) who is there, once as many are as a round needs.

        Raises:
            Stopped: the coordinator closes down.
        """
        needed = self._needed
        while True:
            ready = set(self.roll.ready(self.terms))
            there = np.array([name in ready for name in self.names], dtype=np.bool_)
            if there.sum() >= needed:
                return there
            if (left := self.roll.active(self.names)) < needed:
                raise TooFewLeft(
                    f"round {round + 1}: {needed} participants are needed, and {len(self.names) - left} of "
                    f"{len(self.names)} have withdrawn or were revoked: begin a run with those who are left"
                )
            self.desk.wait(LOOK)

    @property
    def _needed(self) -> int:
        """How many must be there for a round to begin."""
        sampling = build.selection(self.plan).sampling(len(self.names))
        how = build.aggregation(self.plan)
        rule = build.robust(self.plan)
        groups = 1 if rule is None else rule.groups or 1
        fewest = 1 if how is None else groups * how.fewest(sampling, groups)
        return max(1, min(len(self.names), fewest))

    @property
    def _done(self) -> int:
        """How many rounds the newest checkpoint holds."""
        return self.folder.rounds

    def _publish(self, done: int) -> None:
        """Notes that the model of the newest checkpoint is out, and tells those whose reports are in it."""
        attempts = self.minutes.journal.attempts(done - 1) if done else []
        summed = [one for one in attempts if one.state is State.SUMMED]
        if summed:
            tensors = checkpoints.found(self.folder.checkpoints)[-1] / "tensors.safetensors"
            model = hashlib.sha256(tensors.read_bytes()).hexdigest()
            self.progress.outcomes = self.progress.outcomes | self.minutes.published(summed[-1], model)
        self.changed()


def _no_space(error: BaseException) -> bool:
    """Whether a disk was full, under whatever failed."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)


class _Watching(Callback):
    """Publishes a round when its checkpoint is written, and keeps the progress."""

    def __init__(self, rounds: RoundsThread) -> None:
        self._rounds = rounds

    def on_start(self, rounds: int, facts: Mapping[str, Any]) -> None:
        """Shows what the run is, and what of it is done."""
        progress, folder = self._rounds.progress, self._rounds.folder
        progress.state, progress.facts = "training", dict(facts)
        kept = checkpoints.found(folder.checkpoints)
        progress.rows = list(checkpoints.read(kept[-1]).state["rows"]) if kept else []
        self._rounds.changed()

    def on_round_start(self, round: int) -> None:
        """Publishes the round before, which is in a checkpoint now."""
        self._rounds._publish(self._rounds._done)

    def on_round_end(self, row: Mapping[str, Any]) -> None:
        """Shows the round."""
        self._rounds.progress.rows = [*self._rounds.progress.rows, row]
        self._rounds.changed()

    def on_end(self, reason: str) -> None:
        """Publishes the last round, if it is in a checkpoint."""
        self._rounds._publish(self._rounds._done)
